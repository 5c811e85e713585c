"""Make a TLS connection of an accepted or opened one, and describe it."""

import socket
import ssl
from dataclasses import dataclass

from node.config import CertificateName, Target
from node.errors import WrongCertificate
from node.tls.certificates import Certificate, of_peer
from node.tls.credentials import Credentials
from node.tls.faults import fault_of

HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True)
class Session:
    """The facts about a TLS connection."""

    version: str
    cipher: str
    certificate: Certificate  # of the peer

    def __str__(self) -> str:
        """Return version and cipher suite."""
        return f"{self.version}, {self.cipher}"


def session_of(connection: socket.socket | None) -> Session | None:
    """Return the facts about a connection; None if it has no TLS."""
    cipher = connection.cipher() if isinstance(connection, ssl.SSLSocket) else None
    if not isinstance(connection, ssl.SSLSocket) or cipher is None:
        return None
    version = (connection.version() or "").replace("TLSv", "TLS ")
    return Session(version, cipher[0], of_peer(connection))


def complete(connection: ssl.SSLSocket) -> Certificate:
    """Complete a handshake within its deadline; return the certificate of the peer.

    Raises:
        OSError: it failed; see `fault_of`.
    """
    connection.settimeout(HANDSHAKE_SECONDS)
    connection.do_handshake()
    return of_peer(connection)


class TargetTls:
    """TLS for the connections to one target."""

    def __init__(self, credentials: Credentials, target: Target) -> None:
        """Use our certificate from `credentials`."""
        self._credentials, self._target = credentials, target
        self.certificate: Certificate | None = None  # that the target presented last

    def secure(self, connection: socket.socket) -> ssl.SSLSocket:
        """Complete the handshake within its deadline, and check that this is the target.

        Raises:
            PeerUnreachable: the handshake failed.
            WrongCertificate: the certificate is not the one that node.yaml names.
        """
        bound = self._target.certificate
        context = self._credentials.client(checks_host=not bound)
        # as a certificate names it: without the zone of an address, without the last dot of a name
        host = self._target.host.partition("%")[0].removesuffix(".")
        secured = context.wrap_socket(
            connection, server_hostname=host, do_handshake_on_connect=False
        )
        try:
            certificate = complete(secured)
            _check(certificate, bound)
        except (OSError, WrongCertificate) as exc:
            secured.close()
            raise fault_of(exc) from exc
        self.certificate = certificate
        return secured


def _check(certificate: Certificate, expected: CertificateName) -> None:
    if not certificate.is_for(expected):
        message = f"its certificate is {certificate.title}, not {str(expected)!r}"
        advice = (
            "If the target has a new certificate, correct `certificate` of this target: "
            f"{certificate.fingerprint}"
        )
        raise WrongCertificate(message, advice=advice)
