"""Why nothing is known of a text that a person typed: no identifier, forgotten, never received."""

import re

from sqlalchemy import Engine

from node.clock import local_time
from node.errors import NotFound
from node.identifiers import MOST_CHARACTERS, Identifiers
from node.queue.find import forgotten_at

UID = re.compile(r"[0-9]+(\.[0-9]+)+")  # `node.dicom` has more, and takes a second to import


def nothing_known(engine: Engine, text: str, identifiers: Identifiers) -> NotFound:
    """Return why no study has this UID, accession number or patient ID, and what to do."""
    if problem := identifier_problem(text):
        message = f"{text!r} is neither a UID nor an accession number: {problem}"
        return NotFound(message, advice="`segnode find` searches by other criteria.")
    at = forgotten_at(engine, text, identifiers)
    if at is not None:
        message = f"the history of {text} was forgotten on {local_time(at)}"
        return NotFound(
            message, advice="`data.keep` sets how long it is kept. Send the study again."
        )
    if UID.fullmatch(text.strip()):
        message = f"{text.strip()} was never received: no image of it was accepted"
        return NotFound(message, advice="`segnode status` lists rejected callers.")
    if identifiers.mode == "none":
        message = f"no study is found by {text!r}: accession numbers are not kept"
        return NotFound(message, advice="Search by UID, or set data.index for later studies.")
    message = f"no study with the accession number or patient ID {text!r} was received"
    return NotFound(message, advice="Search by other criteria, such as date or description.")


def identifier_problem(text: str) -> str:
    """Return why a text can be neither a UID nor an accession number; empty if it can be one."""
    if not text.strip():
        return "it is empty"
    if len(text) > MOST_CHARACTERS:
        return f"it has more than {MOST_CHARACTERS} characters"
    if not text.isprintable() or "\\" in text:
        return "it has a backslash or a control character"
    if re.fullmatch(r"[0-9.]*\.[0-9.]*", text.strip()) and not UID.fullmatch(text.strip()):
        return "its numbers and dots are no valid UID"
    return ""
