"""The sections `page` and `alerts`: what people and other programs see of the node."""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from node.conversion import KeyPath

_HEADER = r"^([A-Za-z][A-Za-z0-9-]{0,63})?$"
_TIME_OF_DAY = r"^(([01]\d|2[0-3]):[0-5]\d)?$"
MONITOR_MEANINGS = {  # pattern -> the message for a value that does not match it
    _HEADER: "write the name of an HTTP header, like X-Remote-User",
    _TIME_OF_DAY: 'write hours and minutes in quotes, like "07:00"',
}
_WEBHOOK = re.compile(r"https?://[^\s/@]+(:\d+)?(/\S*)?")


class PageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `page`: the page for people, the metrics and the health checks, over HTTP."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8080
    users: Path | None = None  # file of `segnode user`; needed unless `host` is this machine
    certificate: Path | None = None  # PEM; with users the page needs TLS outside of this machine
    key: Path | None = None
    user_header: Annotated[str, Meta(pattern=_HEADER)] = ""  # set by a reverse proxy
    proxies: tuple[str, ...] = ()  # addresses of that proxy; nobody else may connect

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `alerts`: changes of the conditions as JSON, without patient data."""

    webhook: str = ""  # URL; empty: no alerts
    digest_at: Annotated[str, Meta(pattern=_TIME_OF_DAY)] = ""  # local time; empty: no digest


def resolved_page(page: PageConfig, base: Path) -> PageConfig:
    """Return the section with its files relative to `base`."""
    files = {
        name: (base / path).resolve()
        for name in ("users", "certificate", "key")
        if (path := getattr(page, name)) is not None
    }
    return msgspec.structs.replace(page, **files)


def monitor_problems(page: PageConfig, alerts: AlertsConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the contradictions in the two sections, as (path of the key, sentence)."""
    if page.enabled:
        yield from _page_problems(page)
    if alerts.webhook and not _WEBHOOK.fullmatch(alerts.webhook):
        yield ("alerts", "webhook"), "write a URL that begins with https:// or http://"
    if alerts.digest_at and not alerts.webhook:
        yield ("alerts", "digest_at"), "a digest requires alerts.webhook"


def _page_problems(page: PageConfig) -> Iterator[tuple[KeyPath, str]]:
    is_proxied = bool(page.user_header and page.proxies)
    if not (page.is_local or page.users or is_proxied):
        problem = (
            "outside of this machine the page requires users: write host: 127.0.0.1, or a file of "
            "`segnode user` as page.users, or a reverse proxy as page.proxies and page.user_header"
        )
        yield ("page", "host"), problem
    if not page.is_local and page.users and not page.certificate:
        problem = (
            "passwords require TLS outside of this machine: write page.certificate and page.key, "
            "or use a reverse proxy on this machine with host: 127.0.0.1"
        )
        yield ("page", "certificate"), problem
    if bool(page.certificate) != bool(page.key):
        given = "certificate" if page.certificate else "key"
        yield ("page", given), "write both page.certificate and page.key, or none of them"
    if bool(page.user_header) != bool(page.proxies):
        given = "user_header" if page.user_header else "proxies"
        yield ("page", given), "write both page.user_header and page.proxies, or none of them"
    if page.users and page.user_header:
        yield ("page", "users"), "write either page.users or page.user_header"
    for index, proxy in enumerate(page.proxies):
        try:
            ipaddress.ip_address(proxy)
        except ValueError:
            yield ("page", "proxies", index), f"{proxy!r} is no address, like 10.1.2.3"
