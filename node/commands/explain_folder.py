"""`segnode explain FOLDER`: what the node would do with a folder of files, rule by rule.

Nothing is received, stored or recorded. The same limited process reads the images as in a running
node, and the same code plans. Pixels are compared for duplicates only: a problem of the pixels
shows when the node segments.
"""

import filecmp
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from node import measured, status
from node.arrival import Decision, SeriesFindings, decision_for, facts_of, plan
from node.commands.terminal import Progress, Report, say
from node.config import Config
from node.errors import Conflicting, NodeError, NotFound, ReaderKilled
from node.housekeeping.sizes import with_sizes
from node.housekeeping.study import other_patients_in
from node.measured import Measurement
from node.package import Use, uses
from node.reader import FileIdentity, Reader, SeriesReading
from node.series.patients import differ
from node.states import ArrivalOutcome

FILES_PER_REQUEST = 200
MOST_NAMED = 20  # files in the summary; `--json` has all of them
TWO_CONTENTS = "one SOP Instance UID has two different contents: "


@dataclass(frozen=True)
class SkippedFile:
    """A file that is part of no series, with the reason."""

    file: str
    reason: str


@dataclass
class FolderSeries:
    """The files of one series below the folder, relative to it, and what the reader found."""

    study_uid: str
    series_uid: str
    files: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # by instance
    left_out: list[SkippedFile] = field(default_factory=list)
    reading: SeriesReading = field(default_factory=SeriesReading)
    problem: NodeError | None = None  # duplicates that contradict each other, or a killed reader


@dataclass(frozen=True)
class Explained:
    """What would happen with one series, and the values that rules compare."""

    study_uid: str
    series_uid: str
    files: int
    left_out: Sequence[SkippedFile]
    compared: Mapping[str, object]
    rules: Sequence[Mapping[str, object]]  # the rules that are compared, in order
    outcome: str
    code: str
    reason: str
    advice: str
    package: str
    size: str
    engine: str
    why: str
    send_to: Sequence[str]


def explain_folder(
    config: Config, folder: Path, caller: str, progress: Progress
) -> tuple[list[Explained], list[SkippedFile]]:
    """Return what would happen with each series below `folder`, and the other files.

    Raises:
        NotFound: there is no DICOM instance.
        Misconfigured: a package of the rules is absent or altered.
    """
    with progress.running("verifying the packages"):
        used = with_sizes(
            status.open_read_only(config.data), {use.rule: use for use in uses(config)}
        )
    paths = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    base = folder.parent if folder.is_file() else folder
    with Reader(log_level="CRITICAL") as reader, progress.stages() as report:
        all_series, skipped = _series_below(config, reader, base, paths, report)
        if not all_series:
            named = "; ".join(f"{one.file}: {one.reason}" for one in skipped[:MOST_NAMED])
            message = f"no DICOM instance in {folder}" + (f" ({named})" if named else "")
            raise NotFound(message, advice="Name the folder that holds the images.")
        for at, series in enumerate(all_series, 1):
            _survey(config, reader, base, series)
            report(f"surveying {len(all_series)} series", at / len(all_series))
    measurements = measured.read(config.data, measured.this_host(config.limits.threads))
    return [
        _explained(config, series, all_series, used, measurements, caller) for series in all_series
    ], skipped


def _series_below(
    config: Config, reader: Reader, base: Path, paths: Sequence[Path], report: Report
) -> tuple[list[FolderSeries], list[SkippedFile]]:
    """Group the files by series."""
    by_uids: dict[tuple[str, str], FolderSeries] = {}
    skipped, small = [], []
    for path in paths:
        name = str(path.relative_to(base))
        if path.stat().st_size > config.node.largest_instance:
            skipped.append(
                SkippedFile(name, "larger than node.largest_instance: it would be rejected")
            )
        else:
            small.append(name)
    for at in range(0, len(small), FILES_PER_REQUEST):
        names = small[at : at + FILES_PER_REQUEST]
        for name, one in zip(names, _identities(reader, base, names), strict=True):
            if not one.series_uid:
                skipped.append(SkippedFile(name, one.problem))
                continue
            key = (one.study_uid, one.series_uid)
            series = by_uids.setdefault(key, FolderSeries(*key))
            series.files[one.sop_instance_uid].append(name)
        report(f"reading {len(small)} files", (at + len(names)) / len(small))
    return list(by_uids.values()), skipped


def _identities(reader: Reader, base: Path, names: Sequence[str]) -> Iterator[FileIdentity]:
    """Yield the identity of each file; where one kills the reader, each is read alone."""
    try:
        yield from reader.identify(base, names)
    except (NodeError, OSError) as exc:
        if len(names) == 1:
            reason = exc.message if isinstance(exc, NodeError) else exc.strerror
            yield FileIdentity(problem=reason or "the file cannot be read")
            return
        for name in names:
            yield from _identities(reader, base, [name])


def _survey(config: Config, reader: Reader, base: Path, series: FolderSeries) -> None:
    """Choose one file of each instance, and read them as housekeeping does."""
    files = []
    try:
        for names in series.files.values():
            chosen = names[-1] if config.complete.copies == "last" else names[0]
            for other in names:
                if other != chosen and not _same(reader, base / chosen, base / other):
                    advice = "Send the right one alone, or choose by `segnode jobs replan`."
                    message = f"{TWO_CONTENTS}{chosen} and {other}"
                    series.problem = Conflicting(message, advice=advice)
                elif other != chosen:
                    series.left_out.append(SkippedFile(other, f"the same image as {chosen}"))
            files.append(chosen)
        series.reading = reader.survey(base, files)
    except ReaderKilled as exc:
        series.problem = exc


def _same(reader: Reader, one: Path, other: Path) -> bool:
    return filecmp.cmp(one, other, shallow=False) or reader.same_image(one, other)


def _explained(
    config: Config,
    series: FolderSeries,
    all_series: Sequence[FolderSeries],
    used: Mapping[str, Use],
    measurements: Sequence[Measurement],
    caller: str,
) -> Explained:
    findings = series.reading.findings
    caller = caller or (findings.source_ae if findings else "")
    decision = _decision(config, series, all_series, used, measurements, caller)
    package = decision.package
    return Explained(
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        files=len(series.files),
        left_out=series.left_out,
        compared=_compared(findings, caller) if findings else {},
        rules=list(_rules(config, decision)),
        outcome=decision.outcome,
        code=decision.code,
        reason=decision.reason,
        advice=decision.advice,
        package=package.name if package else "",
        size=decision.size,
        engine=decision.engine,
        why=decision.why,
        send_to=decision.send_to,
    )


def _decision(
    config: Config,
    series: FolderSeries,
    all_series: Sequence[FolderSeries],
    used: Mapping[str, Use],
    measurements: Sequence[Measurement],
    caller: str,
) -> Decision:
    """Decide as housekeeping does: unreadable images, then patients, then the rules."""
    findings, unreadable = series.reading.findings, series.reading.problem
    if isinstance(series.problem, ReaderKilled):
        killed = series.problem
        return Decision(ArrivalOutcome.HELD, killed.code, killed.message, killed.advice)
    problem = unreadable.error if unreadable else series.problem
    if problem is not None:
        return decision_for(problem)
    assert findings is not None  # else an unreadable file is the problem
    others = [one.series_uid for one in all_series if _is_of_another_patient(series, one)]
    if others:
        return decision_for(other_patients_in(others))
    return plan(findings, caller, config.rules, used, measurements)


def _is_of_another_patient(series: FolderSeries, other: FolderSeries) -> bool:
    one, two = series.reading.findings, other.reading.findings
    if other is series or other.study_uid != series.study_uid or one is None or two is None:
        return False
    return any(differ(a, b) for a in one.patients for b in two.patients)


def _compared(findings: SeriesFindings, caller: str) -> dict[str, object]:
    """Return what rules compare, by the key of the condition."""
    facts = facts_of(findings, caller)
    values: dict[str, object] = {
        "modality": facts.modality,
        "caller": facts.caller,
        **{key: list(texts) for key, texts in facts.texts.items()},
        "patient_age": facts.patient_age_years,
        "plane": facts.plane,
        "slice_spacing": facts.slice_spacing_mm,
        "pixel_spacing": facts.pixel_spacing_mm,
        "slices": facts.slices,
    }
    return {key: value for key, value in values.items() if value not in (None, "", [])}


def _rules(config: Config, decision: Decision) -> Iterator[dict[str, object]]:
    for one in decision.earlier:
        yield {"rule": one.rule, "matches": False, "reason": one.reason}
    for rule in config.rules:
        if rule.name == decision.rule:
            yield {"rule": rule.name, "matches": True, "reason": f"use: {rule.use}"}


def print_explained(explained: Sequence[Explained], skipped: Sequence[SkippedFile]) -> None:
    """Print each series with its rules and its outcome, then the files of no series."""
    for one in explained:
        _print_series(one)
        _print_outcome(one)
        say()
    if skipped:
        say(f"{len(skipped)} {'file is' if len(skipped) == 1 else 'files are'} part of no series:")
    for file in skipped[:MOST_NAMED]:
        say(f"  {file.file}: {file.reason}")
    if len(skipped) > MOST_NAMED:
        say(f"  and {len(skipped) - MOST_NAMED} more; --json lists all of them")


def _print_series(one: Explained) -> None:
    say(f"series {one.series_uid} of study {one.study_uid}")
    say(f"  {one.files} {'image' if one.files == 1 else 'images'}")
    for left_out in one.left_out:
        say(f"  left out: {left_out.file} ({left_out.reason})")
    for key, value in one.compared.items():
        say(f"  {key}: {_shown(value)}")
    for rule in one.rules:
        answer = "matches" if rule["matches"] else "does not match"
        say(f"  rule {rule['rule']} {answer}: {rule['reason']}")
    if not one.rules:
        say("  no rule is compared")


def _print_outcome(one: Explained) -> None:
    if one.outcome == ArrivalOutcome.PLANNED:
        say(f"  would be segmented: {one.package}, size {one.size}; {one.why}")
        say(f"  would be sent to {', '.join(one.send_to)}")
        return
    say(f"  would end as {one.outcome} ({one.code}): {one.reason}")
    if one.advice:
        say(f"  {one.advice}")


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
