"""Decide who may see the page, and whether a form comes from the page itself."""

import base64
import binascii
import hmac
import ipaddress
import secrets
import threading
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from starlette.datastructures import Headers

from node.config import PageConfig
from node.web.refusals import Refused
from node.web.users import USER, Passwords

COOKIE = "segnode_form"
TOKEN_BYTES = 32
MOST_FAILURES, FAILURES_S = 10, 300.0  # wrong passwords from one address in so many seconds
MOST_ADDRESSES = 1000
LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
NOBODY = "a person on this machine"  # who acts without a login


class Access:
    """The rules of one page."""

    def __init__(self, page: PageConfig) -> None:
        """Read the users.

        Raises:
            Misconfigured: the file of the users cannot be read.
        """
        self._page = page
        self._passwords = Passwords(Path(page.users)) if page.users else None
        self._failures = _Failures()
        self._secret = secrets.token_bytes(TOKEN_BYTES)

    def visitor(self, peer: str, headers: Headers) -> str:
        """Return the name of the person who sent a request.

        Raises:
            Refused: the person may not see the page; the text says why.
        """
        self._check_host(headers.get("host", ""))
        if self._page.proxies:
            return self._from_proxy(peer, headers)
        if self._passwords is not None:
            return self._from_password(self._passwords, peer, headers)
        return NOBODY

    def _check_host(self, host: str) -> None:
        """Refuse other host names if there are no users: another site may lead a browser here."""
        if self._page.proxies or self._passwords is not None:
            return
        if _name_of(host) not in LOCAL_NAMES | {self._page.host}:
            text = "This page answers under localhost and 127.0.0.1 only."
            raise Refused(421, text, "Type the address of the page yourself.")

    def _from_proxy(self, peer: str, headers: Headers) -> str:
        if not _is_same_address(peer, self._page.proxies):
            text = "This page is reached through its reverse proxy only."
            raise Refused(403, text, "Use the proxy's address, or correct page.proxies.")
        name = headers.get(self._page.user_header, "")
        if not USER.fullmatch(name):
            text = f"The reverse proxy sent no usable name in {self._page.user_header}."
            raise Refused(403, text, "Let the proxy set that header after it checked the user.")
        return name

    def _from_password(self, passwords: Passwords, peer: str, headers: Headers) -> str:
        if self._failures.are_too_many(peer, time.monotonic()):
            text = "Too many wrong passwords came from this address."
            raise Refused(429, text, "Wait five minutes.")
        name, password = _basic(headers.get("authorization", ""))
        if not name:
            raise Refused(401, "Please log in.", "Type your name and password.")
        if not passwords.accepts(name, password):
            self._failures.add(peer, time.monotonic())
            raise Refused(401, "This name and password do not match.", "Try again.")
        return name

    def check_form(self, visitor: str, headers: Headers, token: str) -> None:
        """Refuse a form that another site sent, or an expired one.

        Raises:
            Refused: the origin or the token is not that of this page.
        """
        _check_site(headers, headers.get("origin", ""))
        cookie = cookie_of(headers)
        if not cookie or not hmac.compare_digest(
            self.token(visitor, cookie).encode(), token.encode()
        ):
            text = "This form has expired, so nothing was changed."
            raise Refused(403, text, "Open the page again, and allow its cookie.")

    def check_origin(self, headers: Headers) -> None:
        """Refuse a request that a browser sent for another site; a program sends no origin.

        Raises:
            Refused: the origin is not that of this page.
        """
        _check_site(headers, headers.get("origin", f"://{headers.get('host', '')}"))

    def token(self, visitor: str, cookie: str) -> str:
        """Return the token of the forms of one browser and person."""
        return hmac.new(self._secret, f"{cookie}\0{visitor}".encode(), "sha256").hexdigest()


def _check_site(headers: Headers, origin: str) -> None:
    site = headers.get("sec-fetch-site", "same-origin")
    if origin.partition("://")[2] != headers.get("host", "") or site != "same-origin":
        text = "This form did not come from this page, so nothing was changed."
        raise Refused(403, text, "Open the page yourself, then try again.")


class _Failures:
    """Counts wrong passwords by address; the oldest addresses are forgotten."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, list[float]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, peer: str, now: float) -> None:
        with self._lock:
            self._times.setdefault(peer, []).append(now)
            self._times.move_to_end(peer)
            while len(self._times) > MOST_ADDRESSES:
                self._times.popitem(last=False)

    def are_too_many(self, peer: str, now: float) -> bool:
        with self._lock:
            recent = [at for at in self._times.get(peer, ()) if now - at < FAILURES_S]
            if peer in self._times:
                self._times[peer] = recent
            return len(recent) >= MOST_FAILURES


def cookie_of(headers: Headers) -> str:
    """Return the cookie of the page's forms; empty if the browser sent none that is usable."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    value = cookie.value if cookie is not None else ""
    is_ours = len(value) == 2 * TOKEN_BYTES and all(c in "0123456789abcdef" for c in value)
    return value if is_ours else ""


def new_cookie() -> str:
    """Return the value of a new cookie."""
    return secrets.token_hex(TOKEN_BYTES)


def _basic(header: str) -> tuple[str, str]:
    """Return name and password of HTTP Basic authentication (RFC 7617); empty without them."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        decoded = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    name, _, password = decoded.partition(":")
    return name, password


def _name_of(host: str) -> str:
    """Return a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _is_same_address(peer: str, allowed: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped == ipaddress.ip_address(one) for one in allowed)
