"""Decide whether a caller may open an association (PS3.8 9.3.4).

Each rejection states what an administrator can do, down to the line of YAML.
"""

import ipaddress
import json
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass

from node.config import Caller, Config
from node.tls import Certificate

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_YAML_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Result, source and diagnostic of an A-ASSOCIATE-RJ, with message and advice."""

    result: int
    source: int
    diagnostic: int
    message: str
    advice: str = ""


def rejection(
    config: Config, called: str, calling: str, host: str, certificate: Certificate | None = None
) -> Rejection | None:
    """Return why this caller is rejected; None if it is accepted.

    `certificate` is the one that it presented; None: it calls without TLS.
    """
    if called.strip() != config.node.ae_title:
        message = f"called AE title {_quoted(called)}, this node is {_quoted(config.node.ae_title)}"
        advice = "Correct the called AE title at the sender, or node.ae_title here."
        hint = _spelling(called, [config.node.ae_title])
        return Rejection(1, 1, 7, message, f"{hint}{advice}")
    if config.callers == "any":
        return None
    if caller_of(config, calling.strip(), host, certificate) is not None:
        return None
    namesakes = [caller for caller in config.callers if caller.ae == calling.strip()]
    here = [caller for caller in namesakes if _is_host(caller, host)]
    if here:
        message, advice = _wrong_certificate(config, here[0], certificate)
        return Rejection(1, 1, 3, message, advice)
    known = "may not call from this host" if namesakes else "is not among the callers"
    message = f"the calling AE title {_quoted(calling)} {known}"
    advice = f"If it may send, add to callers: {yaml_line(calling, host, certificate)}"
    if not calling.strip():
        advice = "Give the sender a calling AE title."
    hint = _spelling(calling, [caller.ae for caller in config.callers])
    return Rejection(1, 1, 3, message, f"{hint}{advice}")


def _spelling(ae: str, allowed: list[str]) -> str:
    """Return how a title differs from an allowed one in a way that is hard to see."""
    if "?" in ae:
        return "A ? stands for a character that no AE title may have, such as a line break. "
    if any(one != ae.strip() and one.lower() == ae.strip().lower() for one in allowed):
        return "Capital and small letters are different in AE titles. "
    return ""


def caller_of(
    config: Config, calling: str, host: str, certificate: Certificate | None
) -> Caller | None:
    """Return the entry of `callers` for this peer; None if there is none."""
    for caller in () if config.callers == "any" else config.callers:
        if (
            caller.ae == calling
            and _is_host(caller, host)
            and _has_certificate(caller, certificate)
        ):
            return caller
    return None


def _has_certificate(caller: Caller, certificate: Certificate | None) -> bool:
    """Return whether a caller may call with this certificate; one that names none always may."""
    if certificate is None:
        return not caller.certificate
    return certificate.is_for(caller.certificate)


def _wrong_certificate(
    config: Config, caller: Caller, certificate: Certificate | None
) -> tuple[str, str]:
    """Return message and advice."""
    if certificate is None:
        message = (
            f"the caller {_quoted(caller.ae)} called without TLS, and must present a certificate"
        )
        return message, f"Let it call port {config.tls.port} with TLS."
    message = f"the caller {_quoted(caller.ae)} presented another certificate than node.yaml names"
    advice = (
        "If this caller has a new certificate, correct `certificate` of the caller: "
        f"{certificate.fingerprint}"
    )
    return message, advice


def busy(message: str, advice: str = "") -> Rejection:
    """Return the transient rejection "local limit exceeded": the sender may retry later."""
    return Rejection(2, 3, 2, message, advice)


def yaml_line(ae: str, host: str, certificate: Certificate | None = None) -> str:
    """Return the line of YAML that allows this caller, with this certificate only."""
    bound = f", certificate: {_yaml(certificate.fingerprint)}" if certificate else ""
    return f"- {{ae: {_yaml(ae.strip())}, host: {_yaml(host)}{bound}}}"


class Slots:
    """Counts open associations, in total and per host."""

    def __init__(self, most: int, most_per_host: int) -> None:
        """Allow `most` associations, and `most_per_host` of one host."""
        self._most = most
        self._most_per_host = most_per_host
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def limit(self, most: int, most_per_host: int) -> None:
        """Change the limits; open associations go on."""
        with self._lock:
            self._most, self._most_per_host = most, most_per_host

    def take(self, host: str) -> str:
        """Take a slot; return an empty text, or why there is none."""
        with self._lock:
            if self._taken.total() >= self._most:
                return f"all {self._most} associations are in use (node.max_associations)"
            if self._taken[host] >= self._most_per_host:
                most = self._most_per_host
                return f"{most} associations of this host are open (node.max_associations_per_host)"
            self._taken[host] += 1
            return ""

    def give_back(self, host: str) -> None:
        """Free one slot of `host`."""
        with self._lock:
            self._taken[host] -= 1
            if self._taken[host] <= 0:
                del self._taken[host]


def plain_host(address: str) -> str:
    """Return an address as a person writes it: without zone, IPv4 instead of IPv4-mapped IPv6."""
    address = address.partition("%")[0]
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _is_host(caller: Caller, host: str) -> bool:
    """Compare by address; a caller without host may call from any host."""
    if not caller.host:
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(caller.host, strict=False)
    except ValueError:
        pass
    try:
        addresses = socket.getaddrinfo(caller.host, None, type=socket.SOCK_STREAM)
    except OSError:  # an unknown name matches no address
        return False
    return host in {plain_host(str(entry[4][0])) for entry in addresses}


def _yaml(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text)


def _quoted(ae: str) -> str:
    return json.dumps(ae.strip())
