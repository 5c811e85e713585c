"""Convert a decided series to the rows that the queue records in one transaction."""

import hashlib
from datetime import date

import msgspec

from node import queue
from node.arrival import Decision, in_words
from node.config import Config
from node.encoding import chosen_encoding
from node.engines import ONNXRUNTIME
from node.housekeeping.snapshot import SeriesSnapshot, shortfall
from node.identifiers import MOST_CHARACTERS, Identifiers
from node.inbox import read_series
from node.states import ArrivalOutcome

NO_SHAPE = (0, 0, 0)  # of a series without sound geometry, which has no result


def rows(
    snapshot: SeriesSnapshot,
    decision: Decision,
    config: Config,
    now: float,
    created_at: float | None = None,
) -> tuple[queue.NewArrival, queue.NewSegmentJob | None]:
    """Return the arrival, and the job of a planned series.

    `created_at` is the time of the result (default: `now`).
    """
    record = read_series(snapshot.folder.path)
    assert record is not None  # a snapshot exists only for folders that have one
    package = decision.package
    job = job_of(snapshot, decision, config, now if created_at is None else created_at)
    arrival = queue.NewArrival(
        study_uid=record.study,
        series_uid=record.series,
        series_key=snapshot.folder.key,
        inputs_digest=snapshot.digest,
        instances=len(snapshot.files),
        outcome=ArrivalOutcome.PLANNED if job else decision.outcome,
        first_at=min(record.first_seen, now),
        last_at=min(snapshot.folder.mtime_ns / 1e9, now),
        modality=snapshot.modality,
        caller_ae=snapshot.caller,
        code=decision.code,
        reason=decision.reason,
        advice=decision.advice,
        rule=decision.rule,
        package=package.name if package else "",
        size=decision.size,
    )
    return arrival, job


def makes_job(decision: Decision, config: Config) -> bool:
    """Return whether a series gets a job: for its result, or for a notice that there is none."""
    if decision.outcome is ArrivalOutcome.UNSUITABLE:
        return any(config.targets[name].notice for name in decision.send_to)
    return decision.outcome is ArrivalOutcome.PLANNED


def facts(snapshot: SeriesSnapshot, decision: Decision) -> list[tuple[str, str]]:
    """Return further events of the history: missing images, and why earlier rules did not match."""
    details = [(queue.NOTE, shortfall(snapshot))]
    if decision.rule:  # without one, the reason names all rules
        details.append((queue.EARLIER_RULES, in_words(decision.earlier)))
    return [(event, detail) for event, detail in details if detail]


def study_index(snapshot: SeriesSnapshot, identifiers: Identifiers) -> queue.StudyIndex:
    """Return what a search for the study of a series compares, in the form of `data.index`."""
    findings = snapshot.findings
    if findings is None or identifiers.mode == "none":
        return queue.StudyIndex()
    is_text = identifiers.mode == "plain"
    return queue.StudyIndex(
        kept_as=identifiers.mode,
        accession=identifiers.stored_form(findings.study.accession_number),
        patient_id=identifiers.stored_form(findings.study.patient_id),
        study_date=_iso_date(findings.study.study_date),
        description=findings.study_description[:MOST_CHARACTERS] if is_text else "",
        words=identifiers.stored_words(
            findings.study_description, findings.series_description, findings.protocol_name
        ),
    )


def _iso_date(text: str) -> str:
    """Return a date of DICOM as YYYY-MM-DD; empty if there is no such day."""
    if len(text) != len("YYYYMMDD") or not text.isdecimal():
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def job_of(
    snapshot: SeriesSnapshot, decision: Decision, config: Config, created_at: float
) -> queue.NewSegmentJob | None:
    """Return the job of a series, whose result will name `created_at`; None if it gets none."""
    if not makes_job(decision, config):
        return None
    assert decision.package is not None  # a rule with a model decided
    shape = decision.grid.shape if decision.grid else NO_SHAPE
    targets = tuple(_destination(config, name, shape) for name in decision.send_to)
    unsuitable = None
    if decision.outcome is ArrivalOutcome.UNSUITABLE:
        unsuitable = queue.Reason(
            code=decision.code, message=decision.reason, advice=decision.advice
        )
    payload = queue.SegmentPayload(
        series_key=snapshot.folder.key,
        files=tuple(file.path.name for file in snapshot.files),
        inputs_digest=snapshot.digest,
        package=decision.package.name,
        package_digest=decision.package.digest,
        size=decision.size,
        engine=decision.engine or ONNXRUNTIME,
        why=decision.why,
        targets=targets,
        rule=decision.rule,
        caller=snapshot.caller,
        unsuitable=unsuitable,
        created_at=created_at,
    )
    same_work = (
        snapshot.folder.key,
        snapshot.digest,
        decision.package.digest,
        decision.size,
        targets,
        *([] if unsuitable is None else [unsuitable]),
    )
    dedup_key = hashlib.sha256(msgspec.json.encode(same_work)).hexdigest()
    return queue.NewSegmentJob(dedup_key=dedup_key, payload=payload, priority=decision.priority)


def _destination(config: Config, name: str, shape: tuple[int, int, int]) -> queue.Destination:
    target = config.targets[name]
    encoding = chosen_encoding(target.seg, shape, empty_frames=target.empty_frames)
    return queue.Destination(
        name=name,
        encoding=encoding,
        report=target.report,
        rtstruct=target.rtstruct,
        picture=target.picture,
        seg=target.seg != "none",
        notice=target.notice,
    )
