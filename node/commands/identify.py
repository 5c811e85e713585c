"""Turn what a person typed, a UID, an accession number or a job number, into a study or a job."""

import argparse
import re
from collections.abc import Collection

import sqlalchemy as sa

from node import queue
from node.commands.options import LARGEST
from node.commands.terminal import local_time
from node.config import DataConfig
from node.errors import NotFound
from node.identifiers import MOST_CHARACTERS, open_identifiers
from node.states import State

MOST_LISTED = 10
UID = re.compile(r"[0-9]+(\.[0-9]+)+")  # `node.dicom` knows more, and takes a second to import


def job_or_study(text: str) -> str:
    """Parse an argument of a command: a job number, a UID or an accession number."""
    if problem(text):
        message = f"{text!r} is no job number, UID or accession number: {problem(text)}"
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
    if problem(text):
        message = f"{text!r} is neither a UID nor an accession number: {problem(text)}"
        return NotFound(message, advice="`segnode find` searches by other criteria.")
    at = queue.forgotten_at(engine, text, open_identifiers(data, create=False))
    if at is not None:
        message = f"the history of {text} was forgotten on {local_time(at)}"
        return NotFound(
            message, advice="`data.keep` sets how long it is kept. Send the study again."
        )
    if _is_uid(text):
        message = f"{text} was never received: no image of it was accepted"
        return NotFound(message, advice="`segnode status` lists rejected callers.")
    if data.index == "none":
        message = f"no study is found by {text!r}: accession numbers are not kept"
        return NotFound(message, advice="Search by UID, or set data.index for later studies.")
    message = f"no study with the accession number {text!r} was received"
    return NotFound(message, advice="`segnode find` searches by patient ID, date and others.")


def problem(text: str) -> str:
    """Return why a text can be neither a UID nor an accession number; empty if it can be one."""
    if not text.strip():
        return "it is empty"
    if len(text) > MOST_CHARACTERS:
        return f"it has more than {MOST_CHARACTERS} characters"
    if not text.isprintable() or "\\" in text:
        return "it has a backslash or a control character"
    if re.fullmatch(r"[0-9.]*\.[0-9.]*", text) and not UID.fullmatch(text):
        return "its numbers and dots are no valid UID"
    return ""


def _is_uid(text: str) -> bool:
    return UID.fullmatch(text) is not None


def _exists(engine: sa.Engine, number: int) -> bool:
    try:
        queue.get(engine, number)
    except queue.NoSuchJob:
        return False
    return True


def _described(job: queue.Job) -> str:
    to = f" to {job.target}" if job.target else ""
    return f"{job.id} ({job.kind.value}{to}, {job.state.value})"
