"""What a person wants done once more: planned by other rules, or made and sent again."""

import sqlalchemy as sa

from node import housekeeping, queue
from node.config import Config
from node.errors import NodeError
from node.inbox import Inbox, SeriesRecord, read_series
from node.package import uses
from node.queue import Job
from node.sender import is_intact
from node.states import Kind


class NothingFound(NodeError):
    """What was asked for is not known here."""

    code = "nothing-found"


def replan(
    config: Config, engine: sa.Engine, uid: str, content: housekeeping.Content | None, now: float
) -> list[tuple[str, int | None]]:
    """Apply today's rules to each series of a study; return its UID and job.

    Raises:
        NothingFound: no image of it is in the inbox.
    """
    inbox = Inbox(config.data.dir / "inbox")
    sweep = housekeeping.Sweep(config, engine, inbox, uses(config))
    told: list[tuple[str, int | None]] = []
    for folder in inbox.series_folders():
        record = read_series(folder.path)
        if record is not None and uid in (record.study, record.series):
            recorded = sweep.decide_again(folder, now, content)
            if recorded is not None:
                told.append((record.series, recorded.job_id))
                _note_choice(engine, record, content, now)
    if not told:
        message = f"no image of {uid} is in the inbox"
        raise NothingFound(
            message, advice="Send the study again; data.keep says how long it stays."
        )
    return told


def _note_choice(
    engine: sa.Engine, record: SeriesRecord, content: housekeeping.Content | None, now: float
) -> None:
    """Tell in the history that a person, not the node, said which images are right."""
    if content is not None:
        detail = f"by an operator, with what came {content} of each instance"
        queue.add_note(
            engine, "replan", detail, now, study_uid=record.study, series_uid=record.series
        )  # fmt: skip


def resend(config: Config, engine: sa.Engine, job_id: int, now: float) -> Job:
    """Send a result again; where its file is gone or altered, make it again first.

    Returns the job that was queued: the delivery itself, or its segmentation.

    Raises:
        NothingFound: the file is gone, and the images that it was made of are too.
        LookupError, ValueError: as `queue.resend`.
    """
    job = queue.get(engine, job_id)
    if job.kind is Kind.DELIVER:
        payload = job.deliver_payload()
        if is_intact(payload, config.data.dir / payload.file):
            return queue.resend(engine, job_id, now)
        assert job.parent_id is not None  # the database says so of every delivery
        job = queue.get(engine, job.parent_id)
    source = job.segment_payload()
    folder = config.data.dir / "inbox" / "series" / source.series_key
    absent = sum(not (folder / name).is_file() for name in source.files)
    if absent:  # found out now: it would end the history of a result that was delivered as failed
        message = f"{absent} of the {len(source.files)} images are no longer in the inbox"
        advice = f"Send the series again, then `segnode jobs resend {job_id}`."
        raise NothingFound(message, advice=advice)
    return queue.resend(engine, job.id, now)
