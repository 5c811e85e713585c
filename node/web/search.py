"""The lists of studies: with filters that hold no patient data, and by a search that is sent."""

import datetime
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from node import queue
from node.errors import NotFound
from node.identifiers import open_identifiers
from node.queue import StudyMatch, StudySearch
from node.states import Ending
from node.web.refusals import Refused
from node.web.render import render
from node.web.views import ROWS, choice_of, config_of, filters_of, live_of, number

TYPED = ("text", "description", "caller", "study_from", "study_to")  # fields of the search


def studies(request: Request) -> Response:
    """List the studies that were received last, with filters that hold no patient data."""
    query = request.query_params
    filters = filters_of(query, "ending", "caller", "target")
    search = StudySearch(
        ending=choice_of(Ending, filters["ending"], "ending"),
        caller=filters["caller"],
        target=filters["target"],
    )
    shown = studies_after(request, search, query.get("after", ""))
    return render(
        request, "studies.html", filters=filters, endings=list(Ending),
        targets=list(config_of(request).targets), **shown,
    )  # fmt: skip


def search(request: Request) -> Response:
    """Show the form of a search, and what it found: by POST, so that no URL holds patient data."""
    form: Mapping[str, str] = request.state.form
    typed = {name: form.get(name, "").strip()[:200] for name in TYPED}
    check_dates(typed["study_from"], typed["study_to"])
    is_searched = any(typed.values())
    after = form.get("after", "")
    shown: dict[str, Any] = {"studies": [], "ids": {}, "next": None}
    if is_searched:
        shown = studies_after(request, criteria_of(typed), after)
    unknown = unknown_of(request, typed) if is_searched and not shown["studies"] else None
    return render(
        request, "search.html", typed=typed, is_searched=is_searched, is_continued=bool(after),
        index=config_of(request).data.index, unknown=unknown, **shown,
    )  # fmt: skip


def unknown_of(request: Request, typed: Mapping[str, str]) -> NotFound:
    """Return why nothing was found, and what to do."""
    if [name for name in TYPED if typed[name]] != ["text"]:
        return NotFound("no study meets all criteria", advice="Leave out a criterion.")
    identifiers = open_identifiers(config_of(request).data, create=False)
    return queue.nothing_known(live_of(request).engine(), typed["text"], identifiers)


def check_dates(first: str, last: str) -> None:
    """Check two study dates; an empty one limits nothing.

    Raises:
        Refused: one is no date, or the first is after the last.
    """
    for text in (first, last):
        if text and not _is_date(text):
            raise Refused(400, "A date is wrong.", "Write it as YYYY-MM-DD, like 2026-11-30.")
    if first and last and first > last:
        text = "The first study date is after the last one."
        raise Refused(400, text, "Exchange the two dates.")


def criteria_of(typed: Mapping[str, str]) -> StudySearch:
    """Return the search for what was typed, by the names of `TYPED`."""
    return StudySearch(
        text=typed["text"],
        description=typed["description"],
        caller=typed["caller"],
        study_from=typed["study_from"],
        study_to=typed["study_to"],
    )


def studies_after(request: Request, search: StudySearch, after: str) -> dict[str, Any]:
    """Return one screen of studies, their numbers, and where the next screen begins."""
    engine = live_of(request).engine()
    identifiers = open_identifiers(config_of(request).data, create=False)
    before: StudyMatch | None = None
    if after:
        uid = queue.get_arrival(engine, number(after)).study_uid
        before = next(iter(queue.find_studies(
            engine, StudySearch(text=uid), identifiers, limit=1
        )), None)  # fmt: skip
    studies = queue.find_studies(engine, search, identifiers, limit=ROWS + 1, before=before)
    ids = queue.arrival_ids(engine, [one.study_uid for one in studies])
    last = next((one for one in reversed(studies[:ROWS]) if one.study_uid in ids), None)
    has_more = len(studies) > ROWS and last is not None
    return {
        "studies": studies[:ROWS],
        "ids": ids,
        "next": ids[last.study_uid] if has_more and last is not None else None,
    }


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text  # it reads other forms too
    except ValueError:
        return False
