"""Answer errors with a page of words; an unexpected error is logged by its type and place."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from node.errors import NodeError, NotFound
from node.web.refusals import Refused
from node.web.render import render

_CHALLENGE = {"WWW-Authenticate": 'Basic realm="segnode", charset="UTF-8"'}
_OF_STATUS = {
    404: ("There is no such page.", "Begin at the overview."),
    405: ("This page cannot be used like this.", "Begin at the overview."),
}
log = logging.getLogger("node.web")


def answer_to(request: Request, error: Exception) -> Response:
    """Return the page that says why a request was not fulfilled."""
    refusal = _words_of(error)
    headers = _CHALLENGE if refusal.status == 401 else {}
    if request.method == "HEAD":
        return PlainTextResponse("", refusal.status, headers)
    if request.url.path.startswith("/api/"):
        body = {"status": refusal.status, "text": refusal.text, "advice": refusal.advice}
        return JSONResponse(body, refusal.status, headers)
    page = render(request, "refusal.html", refusal.status, refusal=refusal)
    page.headers.update(headers)
    return page


def _words_of(error: Exception) -> Refused:
    """Return the words for any error."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, HTTPException):  # of the framework, such as an unknown path
        return Refused(error.status_code, *_OF_STATUS.get(error.status_code, (error.detail, "")))
    if isinstance(error, NotFound):
        return Refused(409, f"Nothing was changed: {error.message}.", error.advice)
    if isinstance(error, NodeError):  # such as a database that cannot be read
        return Refused(503, f"{error.message}.", error.advice)
    log.error("a page failed", exc_info=error)  # its type and place only
    text = f"Internal error ({type(error).__name__})."
    return Refused(500, text, "Please report it with the line of the log.")
