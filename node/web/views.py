"""The pages that only show."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from node import queue, status, volumes
from node.conditions import LiveView
from node.config import Config
from node.identifiers import open_identifiers
from node.queue import StudySearch
from node.rule_states import rule_states
from node.states import TRANSITIONS, Ending, Kind, State
from node.web.actions import ACTIONS
from node.web.packages import package_rows
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
    """Show what needs attention, then targets, newest series, queue, sources, loops and disk."""
    view = live_of(request).at(time.time())
    ids, named = {}, {}
    if view.snapshot is not None:
        uids = [one.arrival.study_uid for one in view.snapshot.series]
        ids = queue.arrival_ids(live_of(request).engine(), uids)
        named = queue.studies_of(live_of(request).engine(), uids)
    return render(
        request,
        "overview.html",
        view=view,
        snapshot=view.snapshot,
        ids=ids,
        studies=named,
        State=State,
    )


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
        volumes=volumes.table, cut_structures=volumes.cut_structures,
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
    listed, filters, following = jobs_after(request)
    return render(
        request, "jobs.html", jobs=listed, filters=filters, states=list(State),
        kinds=list(Kind), targets=list(config_of(request).targets), next=following,
    )  # fmt: skip


def jobs_after(request: Request) -> tuple[list[queue.Job], dict[str, str], int | None]:
    """Return one screen of jobs, its filters, and after which job the next screen begins.

    Raises:
        Refused: a filter has an unknown value.
    """
    query = request.query_params
    filters = filters_of(query, "state", "kind", "target")
    listed = queue.jobs_before(
        live_of(request).engine(),
        number(query["after"]) if query.get("after") else None,
        state=choice_of(State, filters["state"], "state"),
        kind=choice_of(Kind, filters["kind"], "kind"),
        target=filters["target"],
        limit=ROWS + 1,
    )
    return listed[:ROWS], filters, listed[ROWS - 1].id if len(listed) > ROWS else None


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


def rules(request: Request) -> Response:
    """List the rules with their packages, sizes and pauses."""
    listed = rule_states(config_of(request), live_of(request).engine())
    return render(request, "rules.html", rules=listed)


def packages(request: Request) -> Response:
    """Show the installed packages with their evidence and the sizes measured on this machine."""
    view = live_of(request).at(time.time())
    models = view.snapshot.models if view.snapshot is not None else ()
    shown = package_rows(config_of(request).model.dir, models)
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


def filters_of(query: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return the filters of a list by name; control characters are left out."""
    texts = {name: query.get(name, "").strip()[:64] for name in names}
    return {name: "".join(filter(str.isprintable, text)) for name, text in texts.items()}


def choice_of(kind: type[_E], text: str, name: str) -> _E | None:
    """Return the value that a filter names, or None if it is empty.

    Raises:
        Refused: there is no such value; `name` says of what.
    """
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as exc:
        listed = ", ".join(one.value for one in kind)
        raise Refused(400, f"There is no such {name}.", f"Choose one of: {listed}.") from exc
