"""Read certificate, key and trusted certificates, and again when one of the files changes."""

import logging
import shlex
import ssl
import stat
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from node.config import PageConfig, TlsConfig
from node.errors import ExposedKey, KeyMismatch, Misconfigured, UnusableCertificate
from node.private import is_wide
from node.tls.certificates import (
    Certificate,
    Lifetime,
    lifetime,
    lifetimes,
    read_certificates,
)

LARGEST_FILE_BYTES = 1 << 20
WARN_EVERY_S = 86400.0
# TLS 1.2. Of TLS 1.3 OpenSSL's own are used: Python cannot choose them
CIPHERS = {
    "bcp195": (  # RFC 9325 4.2
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    "bcp195-modified": (  # PS3.15 B.13; suites that this OpenSSL lacks (Camellia) are left out
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-ECDSA-CAMELLIA256-GCM-SHA384", "ECDHE-RSA-CAMELLIA256-GCM-SHA384",
        "ECDHE-ECDSA-CAMELLIA128-GCM-SHA256", "ECDHE-RSA-CAMELLIA128-GCM-SHA256",
    ),
}  # fmt: skip
SECURITY_LEVEL = 2  # of OpenSSL: RSA keys of 2048 bits or more, no SHA-1 in signatures

log = logging.getLogger("node.tls")

_Stamp = tuple[tuple[int, int, int], ...]  # of each file: time of the change, inode, bytes


@dataclass(frozen=True)
class _Loaded:
    """The content of the files, ready for use."""

    server: ssl.SSLContext
    client: ssl.SSLContext  # checks the name of the host
    bound_client: ssl.SSLContext  # does not: `certificate` of the target decides
    own: tuple[Certificate, ...]
    trusted: tuple[Certificate, ...]


class Credentials:
    """What this node presents to peers, and the certificates that it trusts."""

    def __init__(self, config: TlsConfig) -> None:
        """Read the files.

        Raises:
            UnusableCertificate, KeyMismatch, ExposedKey: they cannot be used.
        """
        self._config = config
        self._lock = threading.Lock()
        self._stamp = _stamp(config)
        self._loaded = _load(config)
        self._warned_at = 0.0  # monotonic

    @property
    def server(self) -> ssl.SSLContext:
        """The context for connections from callers."""
        return self._current().server

    def client(self, *, checks_host: bool) -> ssl.SSLContext:
        """Return the context for connections to targets."""
        current = self._current()
        return current.client if checks_host else current.bound_client

    def lifetimes(self, now: float) -> tuple[Lifetime, Lifetime]:
        """Describe when the certificates of this node, and the trusted ones, end."""
        current = self._current()
        return lifetimes(current.own, current.trusted, now, self._config.warn_before)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint of the certificate of this node."""
        return self._current().own[0].fingerprint

    def warn(self, now: float) -> None:
        """Log, once a day, which certificates end soon; `now` is in Unix seconds."""
        if self._warned_at and time.monotonic() - self._warned_at < WARN_EVERY_S:
            return
        self._warned_at = time.monotonic()
        for one in self.lifetimes(now):
            if one.is_ending:
                level = logging.ERROR if one.is_over else logging.WARNING
                facts = {"code": "certificate-ends", "advice": one.advice}
                log.log(level, "TLS: the %s %s", one.name, one.text, extra=facts)

    def _current(self) -> _Loaded:
        """Return the content of the files; if they changed and cannot be used, the content before.

        A key and its certificate are never replaced at the same moment.
        """
        with self._lock:
            stamp = _stamp(self._config)
            if stamp == self._stamp:
                return self._loaded
            self._stamp = stamp
            try:
                self._loaded = _load(self._config)
            except Misconfigured as exc:
                problem = exc
            else:
                self._warned_at = 0.0
                log.info("changed TLS files are used from now on")
                return self._loaded
        facts = {"code": problem.code, "advice": problem.advice}
        log.error("changed TLS files are not used: %s", problem.message, extra=facts)
        return self._loaded


def page_lifetime(page: PageConfig, now: float, warn_before: float) -> Lifetime | None:
    """Describe when the certificate of the page ends; None if the page has none.

    Raises:
        UnusableCertificate: the file cannot be read.
    """
    if not page.enabled or page.certificate is None:
        return None
    own = _certificates("page.certificate", page.certificate)
    first = min(own, key=lambda one: one.ends_at)
    ending = lifetime("certificate of the page", first, now, warn_before)
    return replace(ending, advice="Renew it, and restart the node.")


def _stamp(config: TlsConfig) -> _Stamp:
    stamps = []
    for path in (config.certificate, config.key, config.trust):
        try:
            status = path.stat() if path else None
        except OSError:
            status = None
        stamps.append((status.st_mtime_ns, status.st_ino, status.st_size) if status else (0, 0, 0))
    return tuple(stamps)


def _load(config: TlsConfig) -> _Loaded:
    assert config.certificate
    assert config.key
    assert config.trust
    own = _certificates("tls.certificate", config.certificate)
    trusted = _certificates("tls.trust", config.trust)
    _check_key(config.key)
    server = _context(ssl.PROTOCOL_TLS_SERVER, config)
    server.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    server.num_tickets = 0  # a resumed session would skip the certificate of the caller
    client = _context(ssl.PROTOCOL_TLS_CLIENT, config)
    client.hostname_checks_common_name = False  # RFC 9525
    bound = _context(ssl.PROTOCOL_TLS_CLIENT, config)
    bound.check_hostname = False
    return _Loaded(server, client, bound, own, trusted)


def _context(protocol: int, config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join((*CIPHERS[config.profile], f"@SECLEVEL={SECURITY_LEVEL}")))
    context.verify_mode = ssl.CERT_REQUIRED
    # `trust` may hold a certificate that is no authority: the peer that presents it is known
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    assert config.certificate
    try:
        context.load_cert_chain(config.certificate, config.key)
        context.load_verify_locations(config.trust)
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None)
        if reason == "KEY_VALUES_MISMATCH":
            message = f"the key {config.key} does not belong to the certificate"
            advice = "Name the key with which this certificate was requested, as tls.key."
            raise KeyMismatch(f"{message} {config.certificate}", advice=advice) from exc
        message = f"{config.certificate}, {config.key} or {config.trust} cannot be used: {reason}"
        raise UnusableCertificate(message, advice="Write them again as PEM files.") from exc
    return context


def _certificates(key: str, path: Path) -> tuple[Certificate, ...]:
    try:
        certificates = read_certificates(_text(key, path))
    except ValueError:
        certificates = ()
    if not certificates:
        message = f"{key}: {path} holds no readable certificate"
        advice = "It must be PEM, and begin with -----BEGIN CERTIFICATE-----."
        raise UnusableCertificate(message, advice=advice)
    return certificates


def _check_key(path: Path) -> None:
    text = _text("tls.key", path)
    if "PRIVATE KEY-----" not in text:
        message = f"tls.key: {path} holds no private key"
        advice = "It must be PEM, and begin with -----BEGIN PRIVATE KEY-----."
        raise UnusableCertificate(message, advice=advice)
    if "ENCRYPTED" in text:
        message = f"tls.key: {path} has a password, which nobody types when the node starts"
        advice = "Write it without: openssl pkey -in OLD -out NEW, then chmod 600 NEW."
        raise UnusableCertificate(message, advice=advice)
    if is_wide(path):
        mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
        message = f"tls.key: other users of this machine may read {path} (mode {mode})"
        raise ExposedKey(message, advice=f"Type: chmod 600 {shlex.quote(str(path))}")


def _text(key: str, path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            message = f"{key}: {path} is larger than {LARGEST_FILE_BYTES} bytes"
            raise UnusableCertificate(message, advice="Name a PEM file with few certificates.")
        return path.read_text(encoding="latin-1")  # any bytes: the PEM blocks in it are ASCII
    except OSError as exc:
        message = f"{key}: {path} cannot be read ({exc.strerror})"
        advice = "Correct the path, or let the node's user read the file."
        raise UnusableCertificate(message, advice=advice) from exc
