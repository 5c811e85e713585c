"""The gate of every request: access, limits, forms, and the headers of every answer."""

from contextlib import suppress
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.web.access import COOKIE, Access, cookie_of, new_cookie
from node.web.answers import answer_to
from node.web.refusals import Refused

MOST_BODY_BYTES = 64 << 10
MOST_FIELDS = 50
API, JSON, FORM = "/api/", "application/json", "application/x-www-form-urlencoded"
MOST_TARGET_CHARACTERS = 2000  # path and query
OPEN_PATHS = {"/healthz", "/readyz"}  # they contain nothing about patients
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # not no-referrer: browsers would then send forms with `Origin: null`
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets a request through to the pages, or answers it with a refusal."""

    def __init__(self, app: ASGIApp, access: Access, *, is_tls: bool) -> None:
        """Guard `app`."""
        self._app, self._access, self._is_tls = app, access, is_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # there are no web sockets
            return
        request = Request(scope, receive)
        cookie = cookie_of(request.headers) or new_cookie()
        secure = _secured(send, "" if cookie == cookie_of(request.headers) else self._set(cookie))
        try:
            if request.url.path not in OPEN_PATHS:
                await self._admit(request, cookie)
        except Exception as exc:  # noqa: BLE001  the server: one request must not end it
            await answer_to(request, exc)(scope, receive, secure)
            return
        with suppress(Exception):  # answered and logged by the handlers of the application
            await self._app(scope, receive, secure)

    async def _admit(self, request: Request, cookie: str) -> None:
        """Name the visitor and read the form, or raise Refused."""
        if len(request.url.path) + len(request.url.query) > MOST_TARGET_CHARACTERS:
            raise Refused(414, "This address is too long.", "Begin at the overview.")
        peer = request.client.host if request.client else ""
        visitor = await run_in_threadpool(self._access.visitor, peer, request.headers)
        request.state.visitor = visitor
        request.state.token = self._access.token(visitor, cookie)
        request.state.form = {}
        if request.method == "POST" and request.url.path.startswith(API):
            # another site cannot send this type without asking first, which is refused
            self._access.check_origin(request.headers)
            request.state.body = await _body(request, JSON, "JSON")
        elif request.method == "POST":
            request.state.form = await _form(request)
            token = request.state.form.pop("token", "")
            self._access.check_form(visitor, request.headers, token)
        elif request.method not in ("GET", "HEAD"):
            raise Refused(405, f"This page does not understand {request.method}.", "")

    def _set(self, cookie: str) -> str:
        secure = "; Secure" if self._is_tls else ""
        return f"{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _secured(send: Send, cookie: str) -> Send:
    """Return a `send` that adds the headers of every answer."""

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if cookie and "text/html" in headers.get("content-type", ""):
                headers.append("Set-Cookie", cookie)
        await send(message)

    return secured


async def _form(request: Request) -> dict[str, str]:
    """Read a form; of a repeated field the last value counts.

    Raises:
        Refused: it is too large, or no form.
    """
    body = await _body(request, FORM, "a form of this page")
    try:
        fields = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS,
            encoding="utf-8", errors="strict",
        )  # fmt: skip
    except (UnicodeDecodeError, ValueError) as exc:
        raise Refused(400, "This form cannot be read.", "Open the page again.") from exc
    return {name: value.replace("\0", "") for name, value in fields}


async def _body(request: Request, kind: str, name: str) -> bytes:
    """Read a body of one media type.

    Raises:
        Refused: it is too large, or of another type.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip()
    if given != kind:
        raise Refused(415, f"This is not {name}.", f"Send it as {kind}.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise Refused(413, "This form is too large.", "Shorten what you typed.")
    return body
