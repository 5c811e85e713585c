"""Replan a study with the current rules, or send a result again, for an operator."""

import sqlalchemy as sa

from node import housekeeping, queue
from node.config import Config
from node.errors import NotFound
from node.inbox import Inbox, SeriesRecord, read_series
from node.package import uses
from node.queue import OPERATOR, Job
from node.reader import Reader
from node.retract import refuse_retracted
from node.sender import is_intact
from node.states import Content, Kind


def replan(  # noqa: PLR0913  the choice of a person has two parts
    config: Config,
    engine: sa.Engine,
    uid: str,
    now: float,
    content: Content | None = None,
    part: int | None = None,
    *,
    by: str = OPERATOR,
) -> list[tuple[str, int | None]]:
    """Apply the current rules to each series of a study; return its UID and job.

    The history names `by`, the person who chose this.

    Raises:
        NotFound: no image of it is in the inbox, or no series has that part.
        ReaderKilled: images of it killed the process that reads them.
    """
    inbox = Inbox(config.data.dir / "inbox")
    planned: list[tuple[str, int | None]] = []
    with Reader(log_level="WARNING") as reader:
        sweep = housekeeping.Sweep(config, engine, inbox, uses(config), reader)
        for folder in inbox.series_folders():
            record = read_series(folder.path)
            if record is not None and uid in (record.study, record.series):
                recorded = sweep.replan(folder, now, content, part)
                if recorded is not None:
                    planned.append((record.series, recorded.job_id))
                    _note_replan(engine, record, _in_words(content, part), now, by)
    if not planned and part is not None:
        message = f"no series of {uid} in the inbox has a part {part}"
        raise NotFound(message, advice="`segnode explain UID` lists the parts.")
    if not planned:
        message = f"no image of {uid} is in the inbox"
        raise NotFound(message, advice="Send the study again; data.keep sets how long it is kept.")
    return planned


def _in_words(content: Content | None, part: int | None) -> str:
    """Return the choice of a person; empty if nothing was chosen."""
    version = f"the {content} version of each instance" if content is not None else ""
    images = f"the images of part {part} alone" if part is not None else ""
    return " and ".join(filter(None, (version, images)))


def _note_replan(engine: sa.Engine, record: SeriesRecord, choice: str, now: float, by: str) -> None:
    """Record in the history that a person applied the current rules, and chose the images."""
    detail = f"with {choice}" if choice else "with the current rules"
    queue.add_note(
        engine, "replan", detail, now, study_uid=record.study, series_uid=record.series, by=by
    )  # fmt: skip


def resend(
    config: Config,
    engine: sa.Engine,
    job_id: int,
    now: float,
    by: str = OPERATOR,
    *,
    may_be_retracted: bool = False,
) -> Job:
    """Send a result again; where its file is missing or altered, segment again first.

    A result that a person retracted is sent only with `may_be_retracted`.

    Returns the job that was queued: the delivery itself, or its segmentation.

    Raises:
        NotFound: the file is missing, and so are images that it was made from.
        Retracted: a person retracted it.
        LookupError, ValueError: as `queue.resend`.
    """
    job = queue.get(engine, job_id)
    if not may_be_retracted:
        refuse_retracted(engine, job)
    if job.kind is Kind.DELIVER:
        payload = job.deliver_payload()
        if is_intact(payload, config.data.dir / payload.file):
            return queue.resend(engine, job_id, now, by)
        assert job.parent_id is not None  # a constraint of the database
        job = queue.get(engine, job.parent_id)
    source = job.segment_payload()
    folder = config.data.dir / "inbox" / "series" / source.series_key
    absent = sum(not (folder / name).is_file() for name in source.files)
    if absent:  # else the job would fail, and with it a history that ended as delivered
        message = f"{absent} of the {len(source.files)} images are no longer in the inbox"
        advice = f"Send the series again, then `segnode jobs resend {job_id}`."
        raise NotFound(message, advice=advice)
    return queue.resend(engine, job.id, now, by)
