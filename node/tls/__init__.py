"""TLS for connections in both directions, as a profile of PS3.15 requires it.

Guarantees: TLS 1.2 or later; both sides present a certificate that an authority of `tls.trust`
vouches for; a handshake ends within its deadline; changed files are used from the next connection
on. Certificates are bound to callers and targets by fingerprint or name.
Does not check: revocation.
"""

from node.tls.certificates import Certificate, Lifetime, lifetime
from node.tls.connect import HANDSHAKE_SECONDS, Session, TargetTls, complete, session_of
from node.tls.credentials import WARN_EVERY_S, Credentials, page_lifetime
from node.tls.faults import fault_of

__all__ = [
    "HANDSHAKE_SECONDS",
    "WARN_EVERY_S",
    "Certificate",
    "Credentials",
    "Lifetime",
    "Session",
    "TargetTls",
    "complete",
    "fault_of",
    "lifetime",
    "page_lifetime",
    "session_of",
]
