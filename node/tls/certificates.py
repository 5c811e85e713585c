"""Fingerprint, names and end of certificates, from files and from peers."""

import hashlib
import re
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from node.config import CertificateName

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_UTC_TIME, _CONTEXT_0 = 0x17, 0xA0  # X.690: tags
_DAY_S = 86400.0
RENEW = "Renew it; a new file is used without a restart."


@dataclass(frozen=True)
class Certificate:
    """One certificate."""

    fingerprint: str  # SHA-256, 64 lower-case hexadecimal digits
    ends_at: float  # Unix seconds
    names: tuple[str, ...] = ()  # common name and alternative names; of a verified peer only

    def is_for(self, expected: CertificateName) -> bool:
        """Return whether this is the certificate that node.yaml names."""
        return expected.is_of(self.fingerprint, self.names)

    @property
    def title(self) -> str:
        """The first name, or the fingerprint, for messages."""
        return f"{self.names[0]!r}" if self.names else f"SHA-256 {self.fingerprint}"


@dataclass(frozen=True)
class Lifetime:
    """When a certificate ends, as a fact and in words."""

    name: str
    ends_at: float  # Unix seconds
    is_ending: bool  # within `tls.warn_before`, or already over
    is_over: bool
    text: str
    advice: str = RENEW


def lifetime(name: str, certificate: Certificate, now: float, warn_before: float) -> Lifetime:
    """Describe the end of a certificate at `now`, in Unix seconds."""
    left_s = certificate.ends_at - now
    day = time.strftime("%Y-%m-%d", time.gmtime(certificate.ends_at))
    days = f"{left_s / _DAY_S:.0f} days" if left_s >= 2 * _DAY_S else f"{left_s / 3600:.0f} hours"
    text = f"ended on {day}" if left_s <= 0 else f"ends on {day}, in {days}"
    return Lifetime(name, certificate.ends_at, left_s < warn_before, left_s <= 0, text)


def lifetimes(
    own: tuple[Certificate, ...], trusted: tuple[Certificate, ...], now: float, warn_before: float
) -> tuple[Lifetime, Lifetime]:
    """Describe the certificate of this node with its intermediates, and the trusted ones.

    Of each group the first to end counts. A trusted one that is over counts only if all are: the
    others may be its successors.
    """
    running = [one for one in trusted if one.ends_at > now] or list(trusted)
    groups = (("certificate of this node", own), ("first of the trusted certificates", running))
    first, second = (
        lifetime(name, min(group, key=lambda one: one.ends_at), now, warn_before)
        for name, group in groups
    )
    return first, second


def read_certificates(pem: str) -> tuple[Certificate, ...]:
    """Return the certificates of a PEM file.

    Raises:
        ValueError: a block is damaged.
    """
    certificates = []
    for block in _BLOCK.findall(pem):
        der = ssl.PEM_cert_to_DER_cert(block)
        certificates.append(Certificate(_fingerprint(der), _end_of(der)))
    return tuple(certificates)


def of_peer(connection: ssl.SSLSocket) -> Certificate:
    """Return the certificate that a peer presented, after the handshake has verified it."""
    der = connection.getpeercert(binary_form=True)
    facts: dict[str, Any] | None = connection.getpeercert()
    assert der
    assert facts
    subject = [value for part in facts["subject"] for key, value in part if key == "commonName"]
    others = [value for _, value in facts.get("subjectAltName", ())]
    names = tuple(dict.fromkeys((*subject, *others)))
    return Certificate(_fingerprint(der), ssl.cert_time_to_seconds(facts["notAfter"]), names)


def _fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def _end_of(der: bytes) -> float:
    """Return `notAfter` in Unix seconds (RFC 5280 4.1): ssl reads it of verified peers only."""
    try:
        fields = _children(_children(der)[0][1])[0][1]  # of the TBSCertificate
        items = _children(fields, limit=6)
        validity = items[4 if items[0][0] == _CONTEXT_0 else 3][
            1
        ]  # an explicit version comes first
        tag, raw = _children(validity)[1]
        text = raw.decode("ascii")
        if tag == _UTC_TIME:
            text = ("20" if text < "50" else "19") + text
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except (IndexError, UnicodeDecodeError) as exc:
        message = "no X.509 certificate"
        raise ValueError(message) from exc


def _children(der: bytes, limit: int = 3) -> list[tuple[int, bytes]]:
    """Return the first elements of a DER sequence's content, as tag and content."""
    children: list[tuple[int, bytes]] = []
    at = 0
    while at < len(der) and len(children) < limit:
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:  # the length of the length
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        children.append((tag, der[at : at + length]))
        at += length
    return children
