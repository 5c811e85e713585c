"""How well a package segments labelled cases, through the pipeline that the hospital runs.

Promises: one shape of report for `report.json`, `--json` and the card. Leaves distances to
`kd.evaluation.measure` and intervals to `kd.evaluation.intervals`.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from kd.data.cases import Pair
from kd.data.ids import LEFT_OUT
from kd.errors import BadCase, KdError
from kd.evaluation.intervals import difference, interval, ratio
from kd.evaluation.measure import TOLERANCE_MM, Agreement, agreement
from kd.recipe.read import TEACHER
from node.package import Package
from node.package.manifest import Interval, Manifest, Metrics, Segment
from node.pipeline import open_student, segment
from node.student import Student

MEASURES = ("dice", "nsd", "hd95_mm")
BEFORE_THE_INTERVAL = 1.96  # standard deviations of Bland-Altman's limits of agreement


@dataclass(frozen=True)
class Score:
    """One case, one size."""

    case: str
    structures: tuple[Agreement | None, ...]  # in the manifest's order; None: nobody has drawn it
    seconds: float  # from volume to labels
    subject: str = ""  # whom the case shows; empty: somebody of whom there is no other

    @property
    def whose(self) -> str:
        """Return what tells subjects apart."""
        return self.subject or self.case

    def mean(self, name: str) -> float:
        """Return the mean of one measure over the structures that can be judged."""
        return float(np.mean([getattr(found, name) for found in self.structures if found]))


@dataclass(frozen=True)
class Footprint:
    """What one size costs on this machine, on the reference case, with one process of its own."""

    seconds: float  # of one segmentation, the model already loaded; median of several
    peak_mb: float  # largest resident memory of the process, interpreter included
    threads: int


@dataclass(frozen=True)
class Validation:
    """Everything measured about the sizes of one package."""

    scores: dict[str, list[Score]]
    costs: dict[str, Footprint]

    def dice_gaps(self, size: str) -> list[float]:
        """Return each case's mean Dice of `size` minus the teacher's."""
        pairs = zip(self.scores[size], self.scores[TEACHER], strict=True)
        return [mine.mean("dice") - theirs.mean("dice") for mine, theirs in pairs]

    def gaps(self) -> dict[str, list[float]]:
        """Return `dice_gaps` of every student."""
        return {size: self.dice_gaps(size) for size in self.scores if size != TEACHER}


def validate(
    package: Package,
    pairs: Sequence[Pair],
    sizes: Sequence[str],
    *,
    segments: Sequence[Segment] | None = None,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Validation:
    """Score every size, and measure what each costs on this machine.

    Raises:
        BadPackage: a network does not fit the manifest.
        BadCase: a structure is drawn in no case.
        KdError: a size could not be measured.
    """
    scores = score_all(package, pairs, sizes, segments=segments, threads=threads, say=say)
    return Validation(scores, {size: footprint(package, size, threads) for size in sizes})


def score_all(
    package: Package,
    pairs: Sequence[Pair],
    sizes: Sequence[str],
    *,
    segments: Sequence[Segment] | None = None,
    threads: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Score]]:
    """Segment each pair with each size and compare with its labels on the image's own grid.

    Only `segments` are judged, by default all of the package: a reference may know fewer. Give
    `report_of` and `rows` a manifest of the same ones.

    Raises:
        BadPackage: a network does not fit the manifest.
        BadCase: a structure is drawn in no case.
    """
    judged = segments or package.manifest.segments
    for part in judged:
        if all(part.number in pair.unknown for pair in pairs):
            message = f"{part.label} is drawn in none of the {len(pairs)} cases"
            raise BadCase(message, advice="Judge it on cases that have it")
    scores = {}
    for size in sizes:
        student = open_student(package, size, threads)
        scores[size] = [_score(package, student, pair, judged) for pair in pairs]
        found = interval([score.mean("dice") for score in scores[size]], _whose(scores[size]))
        say(f"{size}: mean Dice {found.words()}")
    return scores


def report_of(manifest: Manifest, found: Validation) -> dict[str, Any]:
    """Return all numbers in the one shape; retention is there if the teacher was measured."""
    labels = [part.label for part in manifest.segments]
    teacher = found.scores.get(TEACHER)
    sizes = {}
    for size, scores in found.scores.items():
        said = next(s for name, s in manifest.sizes.items() if name == size)
        cost = found.costs.get(size)
        sizes[size] = {
            "parameters": said.parameters,
            "macs_per_patch": said.macs_per_patch,
            **{name: _measure(scores, name, labels) for name in MEASURES},
            "volume_ml": {label: _bland_altman(scores, i) for i, label in enumerate(labels)},
        }
        if cost is not None:
            sizes[size] |= {
                "seconds": cost.seconds,
                "threads": cost.threads,
                "peak_mb": cost.peak_mb,
            }
        if teacher is not None:  # of itself it keeps all
            sizes[size] |= _against_teacher(scores, teacher)
    return {
        "task": manifest.task,
        "version": manifest.version,
        "cases": max(len(scores) for scores in found.scores.values()),
        "subjects": max(len(set(_whose(scores))) for scores in found.scores.values()),
        "tolerance_mm": TOLERANCE_MM,
        "sizes": sizes,
    }


def metrics_of(manifest: Manifest, found: Validation) -> dict[str, Metrics]:
    """Return what the manifest repeats of a validation."""
    numbers = report_of(manifest, found)["sizes"]
    return {
        size: Metrics(
            cases=len(found.scores[size]),
            dice=_read(said["dice"]),
            dice_per_segment={k: _read(v) for k, v in said["dice"]["per_structure"].items()},
            retention=_read(said["retention"]) if "retention" in said else None,
        )
        for size, said in numbers.items()
    }


def compare(
    package: Package,
    size: str,
    pairs: Sequence[Pair],
    found: Validation,
    segments: Sequence[Segment] | None = None,
) -> tuple[dict[str, Any], list[Score]]:
    """Measure another network of `size` on the cases of `found`, on which `segments` were judged.

    Returns:
        Its numbers: accuracy, volumes, what the released network of that size is better by, and
        its retention where there is a teacher; and its single cases.
    """
    student = open_student(package, size, threads=1)
    judged = segments or package.manifest.segments
    scores = [_score(package, student, pair, judged) for pair in pairs]
    labels = [part.label for part in judged]
    numbers = {
        **{name: _measure(scores, name, labels) for name in MEASURES},
        "volume_ml": {label: _bland_altman(scores, i) for i, label in enumerate(labels)},
        "released_minus_this": paired(found.scores[size], scores),
    }
    if TEACHER in found.scores:
        numbers |= _against_teacher(scores, found.scores[TEACHER])
    return numbers, scores


def paired(mine: Sequence[Score], theirs: Sequence[Score], name: str = "dice") -> dict[str, Any]:
    """Return the mean difference of one measure over the same cases, mine - theirs."""
    ours, others = ([s.mean(name) for s in side] for side in (mine, theirs))
    gap = difference(ours, others, _whose(mine))
    result: dict[str, Any] = msgspec.to_builtins(gap)
    return result


def rows(manifest: Manifest, by_run: dict[str, list[Score]]) -> list[str]:
    """Return the lines of a CSV: one per run (a size is one), case and structure."""
    lines = ["run,case,subject,structure,dice,nsd,hd95_mm,found_ml,true_ml,seconds"]
    for run, scores in by_run.items():
        for score in scores:
            for part, one in zip(manifest.segments, score.structures, strict=True):
                if one is None:
                    continue
                numbers = (one.dice, one.nsd, one.hd95_mm, one.found_ml, one.true_ml)
                cells = [f"{n:.5f}" for n in numbers]
                lines.append(
                    ",".join(
                        [run, score.case, score.whose, part.label, *cells, f"{score.seconds:.3f}"]
                    )
                )
    return lines


def footprint(package: Package, size: str, threads: int) -> Footprint:
    """Measure in a fresh process, which has loaded neither torch nor any other case.

    Raises:
        KdError: the process failed.
    """
    command = [
        sys.executable,
        "-m",
        "kd.evaluation.footprint",
        str(package.folder),
        size,
        str(threads),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        message = f"size {size} could not be measured: {done.stderr.strip()[-200:]}"
        raise KdError(message)
    measured = json.loads(done.stdout)
    return Footprint(measured["seconds"], measured["peak_mb"], threads)


def _score(package: Package, student: Student, pair: Pair, segments: Sequence[Segment]) -> Score:
    result = segment(pair.image, package, student)
    truth = pair.labels.array
    found = np.where(truth == LEFT_OUT, LEFT_OUT, result.labels.array)
    structures = tuple(
        agreement(found == part.number, truth == part.number, pair.labels.grid)
        if part.number not in pair.unknown
        else None
        for part in segments
    )
    return Score(pair.name, structures, sum(result.seconds.values()), pair.subject)


def _measure(scores: list[Score], name: str, labels: list[str]) -> dict[str, Any]:
    """Return one measure: mean over structures and cases, and each structure on its own."""
    parts = {}
    for i, label in enumerate(labels):
        values = [getattr(one, name) for one in _known(scores, i)]
        whose = _whose([score for score in scores if score.structures[i] is not None])
        parts[label] = msgspec.to_builtins(interval(values, whose))
    whole = interval([s.mean(name) for s in scores], _whose(scores))
    return msgspec.to_builtins(whole) | {"per_structure": parts}


def _whose(scores: Sequence[Score]) -> list[str]:
    """Return the subject of each score."""
    return [score.whose for score in scores]


def _known(scores: list[Score], at: int) -> list[Agreement]:
    """Return one structure in all cases in which it can be judged."""
    return [one for score in scores if (one := score.structures[at]) is not None]


def _against_teacher(scores: list[Score], teacher: list[Score]) -> dict[str, Any]:
    """Return retention and paired differences; the cases are the same, in the same order."""
    mine, theirs = ([s.mean("dice") for s in side] for side in (scores, teacher))
    result: dict[str, Any] = {"retention": msgspec.to_builtins(ratio(mine, theirs, _whose(scores)))}
    for name in MEASURES:
        result[f"{name}_difference"] = paired(scores, teacher, name)
    return result


def _bland_altman(scores: list[Score], at: int) -> dict[str, float]:
    """Return bias and limits of agreement of one structure's volume, found minus true, in ml."""
    gaps = np.array([one.found_ml - one.true_ml for one in _known(scores, at)])
    spread = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    bias = float(gaps.mean())
    return {
        "bias": bias,
        "low": bias - BEFORE_THE_INTERVAL * spread,
        "high": bias + BEFORE_THE_INTERVAL * spread,
    }


def _read(said: dict[str, Any]) -> Interval:
    return Interval(mean=said["mean"], ci=(said["ci"][0], said["ci"][1]))
