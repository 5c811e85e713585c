"""Syslog messages (RFC 5424) over UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425)."""

import os
import select
import socket
import ssl

from node.audit.message import utc
from node.config.audit import SyslogConfig
from node.errors import Transient

SECURITY, NOTICE = 10, 5  # facility and severity (PS3.15 A.6)
PRIORITY = SECURITY * 8 + NOTICE
MESSAGE_ID = "DICOM+RFC3881"
BOM = b"\xef\xbb\xbf"
TIMEOUT_S = 10.0
_ADVICE = "Correct audit.syslog, or see whether its server runs. The messages are sent later."


class AuditNotSent(Transient):
    """The syslog server does not take audit messages."""

    code = "audit-not-sent"


def syslog_line(xml: bytes, at: float, host: str) -> bytes:
    """Return one message: header without structured data, and the XML."""
    name = "".join(char for char in host if "!" <= char <= "~")[:255] or "-"
    header = f"<{PRIORITY}>1 {utc(at)} {name} segnode {os.getpid()} {MESSAGE_ID} - "
    return header.encode("ascii") + BOM + xml


class SyslogChannel:
    """A connection to the server, opened when it is needed."""

    def __init__(self, syslog: SyslogConfig, timeout_s: float = TIMEOUT_S) -> None:
        """Open nothing yet."""
        self._syslog, self._timeout_s = syslog, timeout_s
        self._socket: socket.socket | None = None

    def send(self, line: bytes) -> None:
        """Send one message; with UDP and TCP a server never confirms it.

        Raises:
            AuditNotSent: the server cannot be reached, or it closed the connection.
        """
        is_datagram = self._syslog.transport == "udp"
        try:
            if self._socket is not None and not is_datagram and _is_closed(self._socket):
                self.close()
            if self._socket is None:
                self._socket = self._connected()
            if is_datagram:
                self._socket.send(line)
            else:
                self._socket.sendall(b"%d " % len(line) + line)
        except (OSError, ValueError) as exc:  # ValueError: a host name that cannot be encoded
            self.close()
            cause = getattr(exc, "strerror", None) or type(exc).__name__
            where = f"{self._syslog.host}:{self._syslog.port} ({self._syslog.transport})"
            message = f"the syslog server {where} does not take audit messages: {cause}"
            raise AuditNotSent(message, advice=_ADVICE) from exc

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connected(self) -> socket.socket:
        address = (self._syslog.host, self._syslog.port)
        if self._syslog.transport == "udp":
            family, *_, resolved = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
            datagrams = socket.socket(family, socket.SOCK_DGRAM)
            datagrams.settimeout(self._timeout_s)
            datagrams.connect(resolved)
            return datagrams
        connection = socket.create_connection(address, self._timeout_s)
        if self._syslog.transport == "tcp":
            return connection
        return self._encrypted(connection)

    def _encrypted(self, connection: socket.socket) -> socket.socket:
        """Return a connection after its handshake; a failed one is closed."""
        try:
            wrapped = self._context().wrap_socket(
                connection, server_hostname=self._syslog.host, do_handshake_on_connect=False
            )
        except (OSError, ValueError):
            connection.close()
            raise
        try:
            wrapped.do_handshake()
        except (OSError, ValueError):
            wrapped.close()
            raise
        return wrapped

    def _context(self) -> ssl.SSLContext:
        trust = None if self._syslog.trust is None else str(self._syslog.trust)
        context = ssl.create_default_context(cafile=trust)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _is_closed(connection: socket.socket) -> bool:
    """Return whether the server closed the connection: a syslog server sends nothing else."""
    return bool(select.select([connection], [], [], 0)[0])
