"""Turn what a person typed, a UID, an accession number or a job number, into a study or a job."""

import argparse
from collections.abc import Collection

import sqlalchemy as sa

from node import queue
from node.commands.options import LARGEST
from node.config import DataConfig
from node.errors import NotFound
from node.identifiers import open_identifiers
from node.states import State

MOST_LISTED = 10


def job_or_study(text: str) -> str:
    """Parse an argument of a command: a job number, a UID or an accession number."""
    if problem := queue.identifier_problem(text):
        message = f"{text!r} is no job number, UID or accession number: {problem}"
        raise argparse.ArgumentTypeError(message)
    return text


def study_of(engine: sa.Engine, data: DataConfig, text: str) -> str:
    """Return the Study Instance UID for an accession number; other texts are returned as they are.

    Raises:
        NotFound: several studies have this accession number.
    """
    try:
        return queue.resolve_uid(engine, text, open_identifiers(data, create=False))
    except queue.AmbiguousStudy as exc:
        listed = ", ".join(exc.uids[:MOST_LISTED])
        raise NotFound(str(exc), advice=f"Give the UID of one: {listed}.") from exc


def jobs_of(engine: sa.Engine, uid: str, limit: int = 1000) -> list[queue.Job]:
    """Return the jobs of a study or series, the newest first."""
    of_study = queue.list_jobs(engine, study_uid=uid, limit=limit)
    return of_study or queue.list_jobs(engine, series_uid=uid, limit=limit)


def job_of(
    engine: sa.Engine, data: DataConfig, text: str, states: Collection[State], action: str
) -> int:
    """Return the number of a job, or of the only job of a study that is in one of `states`.

    Raises:
        NotFound: there is no such job, or the text fits several.
    """
    uid = study_of(engine, data, text)
    jobs = jobs_of(engine, uid)
    is_number = text.isdecimal() and 1 <= int(text[:20]) < LARGEST
    if is_number and (not jobs or _exists(engine, int(text))):
        if jobs:
            message = f"{text} is the number of a job, and the accession number of a study"
            raise NotFound(message, advice=f"Give the UID of the study, {uid}, or see `find`.")
        return int(text)
    if not jobs:
        raise nothing_known(engine, data, text)
    fitting = [job for job in jobs if job.state in states]
    if len(fitting) == 1:
        return fitting[0].id
    listed = ", ".join(_described(job) for job in (fitting or jobs)[:MOST_LISTED])
    message = f"{len(fitting) or 'no'} jobs of this study fit `jobs {action}`: {listed}"
    raise NotFound(message, advice=f"Give the number of one: `segnode jobs {action} N`.")


def nothing_known(engine: sa.Engine, data: DataConfig, text: str) -> NotFound:
    """Return why nothing is known of a text: no identifier, forgotten, or never received."""
    return queue.nothing_known(engine, text, open_identifiers(data, create=False))


def _exists(engine: sa.Engine, number: int) -> bool:
    try:
        queue.get(engine, number)
    except queue.NoSuchJob:
        return False
    return True


def _described(job: queue.Job) -> str:
    to = f" to {job.target}" if job.target else ""
    return f"{job.id} ({job.kind.value}{to}, {job.state.value})"
