"""`segnode find`: search for studies."""

import argparse
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from node import queue, status
from node.commands.identify import nothing_known
from node.commands.options import add_config, add_json, load_config, print_json, whole
from node.commands.terminal import local_time, print_table, say
from node.errors import NotFound
from node.identifiers import open_identifiers
from node.queue import StudyMatch, StudySearch
from node.states import Ending

Days = tuple[date | None, date | None]  # inclusive; None: open


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `find` to the command line."""
    find = commands.add_parser(
        "find",
        help="search for studies: accession number, patient ID, date, description, ending",
        description="List the studies that meet all criteria, the one received last first. "
        "Changes nothing.",
        epilog="exit status: 0 a study was found; 1 none was found",
    )
    find.add_argument(
        "text", nargs="?", default="", help="accession number, patient ID, or a study or series UID"
    )
    find.add_argument("--accession", default="", metavar="NUMBER", help="accession number")
    find.add_argument("--patient", default="", metavar="ID", help="patient ID")
    find.add_argument(
        "--description", default="", metavar="WORDS", help="words of study, series or protocol"
    )
    find.add_argument("--caller", default="", metavar="AE", help="AE title of the sender")
    find.add_argument("--target", default="", metavar="NAME", help="a target of results")
    find.add_argument("--ending", choices=[ending.value for ending in Ending])
    find.add_argument(
        "--received", type=days, metavar="DAY[..DAY]", help="day of arrival, like 2026-11-30"
    )
    find.add_argument("--study-date", type=days, metavar="DAY[..DAY]", help="day of the study")
    find.add_argument("--limit", type=whole, default=30, help="number of studies (default: 30)")
    add_config(find)
    add_json(find)
    find.set_defaults(run=_find)


def days(text: str) -> Days:
    """Parse a day or a range of days; an end may be left out, as in `2026-11-01..`."""
    first, dots, last = text.partition("..")
    try:
        begin = date.fromisoformat(first) if first else None
        end = date.fromisoformat(last) if last else None
    except ValueError:
        begin = end = None
    if begin is None and end is None:
        message = f"{text!r} is no day: write 2026-11-30, 2026-11-01..2026-11-30 or 2026-11-01.."
        raise argparse.ArgumentTypeError(message)
    return (begin, end) if dots else (begin, begin)


def midnight(day: date | None, later_days: int = 0) -> float | None:
    """Return when a day begins in the zone of this machine, in Unix seconds."""
    if day is None:
        return None
    at = datetime.combine(day + timedelta(days=later_days), datetime.min.time())
    return at.astimezone().timestamp()


def search_of(chosen: argparse.Namespace) -> StudySearch:
    """Return the criteria that were typed."""
    received: Days = chosen.received or (None, None)
    study: Days = chosen.study_date or (None, None)
    return StudySearch(
        text=chosen.text,
        accession=chosen.accession,
        patient_id=chosen.patient,
        description=chosen.description,
        caller=chosen.caller,
        target=chosen.target,
        ending=Ending(chosen.ending) if chosen.ending else None,
        received_from=midnight(received[0]),
        received_to=midnight(received[1], later_days=1),
        study_from=study[0].isoformat() if study[0] else "",
        study_to=study[1].isoformat() if study[1] else "",
    )


def _find(chosen: argparse.Namespace) -> int:
    config = load_config(chosen)
    engine = status.open_read_only(config.data)
    identifiers = open_identifiers(config.data, create=False)
    search = search_of(chosen)
    studies = queue.find_studies(engine, search, identifiers, limit=chosen.limit)
    if not studies and search == StudySearch(text=search.text) and search.text:
        raise nothing_known(engine, config.data, search.text)
    if not studies:
        advice = "Leave out a criterion."
        if config.data.index == "none":
            advice += " data.index is none: accession number, patient ID and others are not kept."
        elif config.data.index == "hashed":
            advice += " Give identifiers and words in full: data.index is hashed."
        message = "no study meets the criteria"
        raise NotFound(message, advice=advice)
    if chosen.json:
        print_json(studies)
        return 0
    _print(studies)
    if len(studies) == chosen.limit:
        say(f"The newest {chosen.limit} are listed; --limit lists more.")
    return 0


def _print(studies: Sequence[StudyMatch]) -> None:
    """Print one row for each study; columns without any value are left out."""
    columns = {
        "received": [local_time(study.last_at) for study in studies],
        "study date": [study.study_date for study in studies],
        "accession": [study.accession for study in studies],
        "patient": [study.patient_id for study in studies],
        "description": [study.description for study in studies],
        "modality": [" ".join(study.modalities) for study in studies],
        "caller": [study.caller_ae for study in studies],
        "series": [series_in_words(study) for study in studies],
        "study": [study.study_uid for study in studies],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    print_table(list(shown), list(zip(*shown.values(), strict=True)))


def series_in_words(study: StudyMatch) -> str:
    """Return the number of series by ending, like `1 delivered, 2 no-rule`."""
    parts = [f"{count} {ending.value}" for ending, count in sorted(study.endings.items())]
    if study.arriving:
        parts.append(f"{study.arriving} arriving")
    return ", ".join(parts)
