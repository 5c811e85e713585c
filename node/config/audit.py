"""The section `audit`: audit messages of DICOM PS3.15 A.5 to the syslog server of the hospital."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from node.conversion import KeyPath

SyslogTransport = Literal["tls", "tcp", "udp"]


class SyslogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `audit.syslog`: the server that receives the messages (RFC 5424)."""

    host: str = ""  # empty: no messages
    port: Annotated[int, Meta(ge=1, le=65535)] = 6514  # IANA: syslog over TLS (RFC 5425)
    transport: SyslogTransport = "tls"
    trust: Path | None = None  # PEM of its authorities; None: those of the system


class AuditConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `audit`."""

    syslog: SyslogConfig = field(default_factory=SyslogConfig)


def resolved_audit(audit: AuditConfig, base: Path) -> AuditConfig:
    """Return the section with its file relative to `base`."""
    if audit.syslog.trust is None:
        return audit
    trust = (base / audit.syslog.trust).resolve()
    return AuditConfig(syslog=msgspec.structs.replace(audit.syslog, trust=trust))


def audit_problems(audit: AuditConfig) -> Iterator[tuple[KeyPath, str]]:
    """Yield the contradictions in the section, as (path of the key, sentence)."""
    syslog = audit.syslog
    if syslog.trust is not None and syslog.transport != "tls":
        yield ("audit", "syslog", "trust"), "trust requires transport: tls"
    if any(character.isspace() or character == "/" for character in syslog.host):
        yield ("audit", "syslog", "host"), "write a host name or an address, like 10.1.2.5"
