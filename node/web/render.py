"""Render a template: everything is escaped, times have a zone, control characters are replaced."""

import hashlib
import time
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from node.clock import local_time
from node.conditions import Condition, ConditionCode, duration
from node.event_words import in_words, object_words
from node.queue import Job, as_plain

HERE = Path(__file__).parent
STYLE = HERE / "static" / "page.css"
_PLACES = {
    ConditionCode.TARGET_REFUSES: "/targets/{}",
    ConditionCode.TARGET_SILENT: "/targets/{}",
    ConditionCode.TARGET_DELAYS: "/targets/{}",
    ConditionCode.SERIES_HELD: "/studies?ending=held",
    ConditionCode.JOBS_FAILED: "/jobs?state=failed",
    ConditionCode.QUEUE_OLD: "/jobs?state=queued&kind=segment",
    ConditionCode.PACKAGE_BAD: "/packages",
    ConditionCode.RULE_PAUSED: "/rules",
    ConditionCode.DRIFT: "/rules",
    ConditionCode.SOURCE_QUIET: "/studies?caller={}",
}


@cache
def style_version() -> str:
    """Return a short digest of the style sheet, so that browsers load a new one after an update."""
    return hashlib.sha256(STYLE.read_bytes()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_printable,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"when": when, "ago": ago, "count": _count, "in_words": in_words}
    environment.filters |= {"marked": marked, "place": place_of, "lasting": duration}
    environment.filters |= {"sentence": _sentence, "object_name": object_name}
    return environment


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """Return a page."""
    shared = {
        "visitor": getattr(request.state, "visitor", ""),
        "token": getattr(request.state, "token", ""),
        "style_version": style_version(),
        "now": time.time(),
        "here": request.url.path,
    }
    text = _environment().get_template(template).render(**shared, **values)
    return HTMLResponse(text, status)


def when(at: float | None) -> str:
    """Return Unix seconds as local time with its zone."""
    if at is None:
        return "not recorded"
    return local_time(at)


def ago(at: float | None, now: float) -> str:
    """Return how long ago a time was."""
    return "never" if at is None else f"{duration(now - at)} ago"


def marked(text: str) -> Markup:
    """Return a text with its `commands` marked as code; everything else is escaped."""
    parts = str(escape(_printable(text))).split("`")
    if len(parts) % 2 == 0:  # an odd backtick of a peer
        return Markup("`").join(Markup(part) for part in parts)  # noqa: S704  escaped above
    code = (f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts))
    return Markup("".join(code))  # noqa: S704  escaped above


def place_of(condition: Condition) -> str:
    """Return the address of the rows that a condition is about; empty if there is none."""
    return _PLACES.get(condition.code, "").format(quote(condition.subject))


def object_name(job: Job) -> str:
    """Return what a delivery sends, by its SOP class."""
    return object_words(as_plain(job.payload).get("sop_class_uid", ""))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def _printable(value: Any) -> Any:
    """Replace control characters in texts: they come from peers."""
    if type(value) is not str:  # markup is ours
        return value
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in value)
