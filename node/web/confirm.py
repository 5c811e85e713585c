"""Ask before an action, perform it, and record who did it."""

import logging
import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from node import queue
from node.rule_states import LONGEST_REASON, check_rule, is_reason
from node.states import Content, IllegalTransition
from node.web.access import NOBODY
from node.web.actions import ACTIONS, Action
from node.web.refusals import Refused
from node.web.render import render
from node.web.views import arrival_of, config_of, job_of, live_of

REFUSED = (
    LookupError, IllegalTransition, queue.SameWork, queue.AlreadySuperseded, queue.Archived
)  # fmt: skip
SEE_OTHER = 303  # the browser loads the page again, and a reload repeats nothing
log = logging.getLogger("node.web")


def job_action(request: Request) -> Response:
    """Ask about one action of a job; after the answer perform it and return to the job."""
    name = request.path_params["action"]
    if name not in ACTIONS:
        raise Refused(404, "There is no such action.", "The page of the job lists them.")
    action, job = ACTIONS[name], job_of(request)
    if request.method != "POST":
        return render(
            request, "confirm.html", title=f"{action.label}: job {job.id}", job=job,
            consequence=action.consequence, label=action.label, back=f"/jobs/{job.id}",
        )  # fmt: skip
    moved = _perform(request, action, job.id)
    return RedirectResponse(f"/jobs/{moved}", SEE_OTHER)


def _perform(request: Request, action: Action, job_id: int) -> int:
    """Return the number of the job that was moved."""
    engine, by = live_of(request).engine(), _by(request)
    try:
        job = action.perform(config_of(request), engine, job_id, time.time(), by)
    except REFUSED as exc:
        text = f"Nothing was changed: {exc}."
        raise Refused(409, text, "Open the job again: its state may have changed.") from exc
    log.info("%s by a person on the page", action.name, extra={"job": job_id})
    return job.id


def study_replan(request: Request) -> Response:
    """Ask how to plan a study again; after the answer plan it and return to the study."""
    this = arrival_of(request)
    if request.method != "POST":
        return render(request, "replan.html", this=this)
    chosen = request.state.form.get("use", "")
    if chosen not in ("", *Content):
        raise Refused(400, "There is no such version.", "Choose one of those on the page.")
    from node import replan  # noqa: PLC0415  late: its libraries would delay the page

    replan.replan(
        config_of(request), live_of(request).engine(), this.study_uid, time.time(),
        Content(chosen) if chosen else None, by=_by(request),
    )  # fmt: skip
    log.info("replan by a person on the page", extra={"study": this.study_uid})
    return RedirectResponse(f"/studies/{this.id}", SEE_OTHER)


def rule_action(request: Request) -> Response:
    """Ask before a rule is paused or resumed; after the answer do it and list the rules."""
    name, action = request.path_params["name"], request.path_params["action"]
    if action not in ("pause", "resume"):
        raise Refused(404, "There is no such action.", "The page of the rules lists them.")
    check_rule(config_of(request), name)
    if request.method != "POST":
        return render(request, "rule.html", name=name, action=action, longest=LONGEST_REASON)
    engine, by = live_of(request).engine(), _by(request)
    if action == "pause":
        because = request.state.form.get("because", "").strip()
        if not is_reason(because):
            text = f"A reason is one line of at most {LONGEST_REASON} characters."
            raise Refused(400, f"Nothing was changed: {text}", "Shorten it.")
        is_changed = queue.pause_rule(engine, name, because, time.time(), by)
    else:
        is_changed = queue.resume_rule(engine, name, time.time(), by)
    if not is_changed:
        already = "is paused already" if action == "pause" else "is not paused"
        raise Refused(409, f"Nothing was changed: rule {name} {already}.", "Open the rules again.")
    log.info("%s of rule %s by a person on the page", action, name)
    live_of(request).forget()
    return RedirectResponse("/rules", SEE_OTHER)


def _by(request: Request) -> str:
    """Return who acts, for the history."""
    visitor: str = request.state.visitor
    return "page" if visitor == NOBODY else f"page:{visitor}"
