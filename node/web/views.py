"""The pages that only show."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from node import queue, status, volumes
from node.conditions import LiveView
from node.config import Config
from node.identifiers import open_identifiers
from node.queue import StudyMatch, StudySearch
from node.states import TRANSITIONS, Ending, Kind, State
from node.web.actions import ACTIONS
from node.web.packages import shown_packages
from node.web.refusals import Refused
from node.web.render import STYLE, render

ROWS = 50  # of a list
LARGEST_ID = (1 << 63) - 1
MOST_SERIES, MOST_EVENTS = 200, 500  # of one study
PREVIEW = "preview.png"
_E = TypeVar("_E", Ending, Kind, State)


def config_of(request: Request) -> Config:
    """Return the configuration of the node."""
    config: Config = request.app.state.config
    return config


def live_of(request: Request) -> LiveView:
    """Return the live view of the node."""
    live: LiveView = request.app.state.live
    return live


def overview(request: Request) -> Response:
    """Show what needs attention, then loops, queue, targets, sources, disk and newest series."""
    view = live_of(request).at(time.time())
    ids = {}
    if view.snapshot is not None:
        uids = [one.arrival.study_uid for one in view.snapshot.series]
        ids = queue.arrival_ids(live_of(request).engine(), uids)
    return render(request, "overview.html", view=view, seen=view.snapshot, ids=ids, State=State)


async def health(_: Request) -> Response:
    """Answer that this process works."""
    return PlainTextResponse("ok\n")


def readiness(request: Request) -> Response:
    """Answer whether the listener accepts images; this reads no database."""
    if status.listens(config_of(request).data.dir / "inbox"):
        return PlainTextResponse("ready\n")
    return PlainTextResponse("the listener does not run\n", 503)


def style(_: Request) -> Response:
    """Return the style sheet."""
    return FileResponse(
        STYLE, media_type="text/css", headers={"Cache-Control": "max-age=31536000, immutable"}
    )


def studies(request: Request) -> Response:
    """List the studies that were received last, with filters that hold no patient data."""
    query = request.query_params
    filters = {name: query.get(name, "").strip()[:64] for name in ("ending", "caller", "target")}
    search = StudySearch(
        ending=_choice(Ending, filters["ending"], "ending"),
        caller=filters["caller"],
        target=filters["target"],
    )
    shown = _studies(request, search, query.get("after", ""))
    return render(
        request, "studies.html", filters=filters, endings=list(Ending),
        targets=list(config_of(request).targets), **shown,
    )  # fmt: skip


def search(request: Request) -> Response:
    """Show the form of a search, and what it found: by POST, so that no URL holds patient data."""
    names = ("text", "description", "caller", "study_from", "study_to")
    form: Mapping[str, str] = request.state.form
    typed = {name: form.get(name, "").strip()[:200] for name in names}
    for name in ("study_from", "study_to"):
        if typed[name] and not _is_date(typed[name]):
            raise Refused(400, "A date is wrong.", "Write it as YYYY-MM-DD, like 2026-11-30.")
    shown: dict[str, Any] = {"studies": [], "ids": {}, "next": None}
    if any(typed.values()):
        shown = _studies(request, _criteria(typed), form.get("after", ""))
    return render(
        request, "search.html", typed=typed, is_searched=any(typed.values()),
        index=config_of(request).data.index, **shown,
    )  # fmt: skip


def _criteria(typed: Mapping[str, str]) -> StudySearch:
    return StudySearch(
        text=typed["text"],
        description=typed["description"],
        caller=typed["caller"],
        study_from=typed["study_from"],
        study_to=typed["study_to"],
    )


def _studies(request: Request, search: StudySearch, after: str) -> dict[str, Any]:
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


def study(request: Request) -> Response:
    """Show one study: its series, results, deliveries and history."""
    engine = live_of(request).engine()
    this = arrival_of(request)
    series = queue.histories(engine, study_uid=this.study_uid, limit=MOST_SERIES)[::-1]
    identifiers = open_identifiers(config_of(request).data, create=False)
    named = queue.find_studies(engine, StudySearch(text=this.study_uid), identifiers, limit=1)
    return render(
        request, "study.html", this=this, series=series,
        named=named[0] if named else None, plain=queue.as_plain,
        volumes=volumes.table,
        events=queue.events_of(engine, study_uid=this.study_uid, limit=MOST_EVENTS),
        arriving=[
            one for one in queue.arriving_series(engine) if one.study_uid == this.study_uid
        ],
        has_preview=lambda one: _preview_file(request, one) is not None,
    )  # fmt: skip


def preview(request: Request) -> Response:
    """Return the picture of one result."""
    engine = live_of(request).engine()
    this = arrival_of(request)
    histories = queue.histories(engine, series_key=this.series_key)
    history = next((one for one in histories if one.arrival.id == this.id), None)
    file = _preview_file(request, history) if history is not None else None
    if file is None:
        raise Refused(404, "There is no picture of this result.", "It was deleted, or never made.")
    return FileResponse(file, media_type="image/png")


def _preview_file(request: Request, history: queue.SeriesHistory) -> Path | None:
    if history.segment is None or not history.segment.result:
        return None
    objects = queue.as_plain(history.segment.result).get("objects", ())
    outbox = (config_of(request).data.dir / "outbox").resolve()
    for name in objects[:1]:
        file = (config_of(request).data.dir / name).resolve().with_name(PREVIEW)
        if file.is_relative_to(outbox) and file.is_file():
            return file
    return None


def jobs(request: Request) -> Response:
    """List jobs, the newest first."""
    query = request.query_params
    filters = {name: query.get(name, "").strip()[:64] for name in ("state", "kind", "target")}
    listed = queue.jobs_before(
        live_of(request).engine(),
        number(query["after"]) if query.get("after") else None,
        state=_choice(State, filters["state"], "state"),
        kind=_choice(Kind, filters["kind"], "kind"),
        target=filters["target"],
        limit=ROWS + 1,
    )
    return render(
        request, "jobs.html", jobs=listed[:ROWS], filters=filters, states=list(State),
        kinds=list(Kind), targets=list(config_of(request).targets),
        next=listed[ROWS - 1].id if len(listed) > ROWS else None,
    )  # fmt: skip


def job(request: Request) -> Response:
    """Show one job: its facts, its events, and what a person can do."""
    engine = live_of(request).engine()
    this = job_of(request)
    allowed = [
        action for action in ACTIONS.values() if any(
            (this.state, transition) in TRANSITIONS for transition in action.transitions
        )
    ]  # fmt: skip
    return render(
        request, "job.html", job=this, actions=allowed, plain=queue.as_plain,
        events=queue.events_of(engine, job_id=this.id, limit=MOST_EVENTS),
    )  # fmt: skip


def target(request: Request) -> Response:
    """Show one target: its state, and the jobs that go to it."""
    name = request.path_params["name"]
    view = live_of(request).at(time.time())
    states = view.snapshot.targets if view.snapshot is not None else ()
    shown = next((one for one in states if one.name == name), None)
    if shown is None:
        raise Refused(404, "There is no such target.", "The overview lists the targets.")
    listed = queue.jobs_before(live_of(request).engine(), None, target=name, limit=ROWS)
    conditions = [one for one in view.conditions if one.subject == name]
    return render(request, "target.html", target=shown, jobs=listed, conditions=conditions)


def packages(request: Request) -> Response:
    """Show the installed packages with their evidence and the sizes measured on this machine."""
    view = live_of(request).at(time.time())
    models = view.snapshot.models if view.snapshot is not None else ()
    shown = shown_packages(config_of(request).model.dir, models)
    return render(
        request, "packages.html", packages=shown, folder=str(config_of(request).model.dir)
    )


def number(text: str) -> int:
    """Return the number of a row.

    Raises:
        Refused: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= LARGEST_ID):
        raise Refused(404, "There is no such row.", "Begin at the overview.")
    return int(text)


def job_of(request: Request) -> queue.Job:
    """Return the job that the URL names.

    Raises:
        Refused: there is none.
    """
    try:
        return queue.get(live_of(request).engine(), number(request.path_params["id"]))
    except queue.NoSuchJob as exc:
        raise Refused(404, f"{str(exc).capitalize()}.", "It was deleted with its study.") from exc


def arrival_of(request: Request) -> queue.Arrival:
    """Return the arrival that the URL names.

    Raises:
        Refused: there is none.
    """
    try:
        return queue.get_arrival(live_of(request).engine(), number(request.path_params["id"]))
    except LookupError as exc:
        raise Refused(404, "There is no such study.", "It was deleted, or never came.") from exc


def _choice(kind: type[_E], text: str, name: str) -> _E | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as exc:
        listed = ", ".join(one.value for one in kind)
        raise Refused(400, f"There is no such {name}.", f"Choose one of: {listed}.") from exc


def _is_date(text: str) -> bool:
    try:
        time.strptime(text, "%Y-%m-%d")
    except ValueError:
        return False
    return len(text) == 10
