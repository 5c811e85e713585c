"""A syslog server on loopback that records the messages it receives, over UDP, TCP or TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class SyslogServer:
    """What it received, one entry for each message."""

    port: int = 0
    received: list[bytes] = field(default_factory=list)
    connections: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        """Close every open connection, as a server that restarts does."""
        while self.connections:
            connection = self.connections.pop()
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@contextmanager
def syslog_server(
    transport: str, context: ssl.SSLContext | None = None, port: int = 0
) -> Iterator[SyslogServer]:
    """Run a server until the block ends; `context` is needed for TLS."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        server = SyslogServer(listening.getsockname()[1])
        serve = _datagrams if transport == "udp" else _connections
        if transport != "udp":
            listening.listen()
        thread = threading.Thread(target=serve, args=(listening, server, context), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            if transport == "udp":  # a datagram to itself ends the wait
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                    ending.sendto(b"", (HOST, server.port))
            thread.join(240)
            server.hang_up()


def _datagrams(listening: socket.socket, server: SyslogServer, _: object) -> None:
    while datagram := _quietly(listening):
        server.received.append(datagram)


def _quietly(listening: socket.socket) -> bytes:
    try:
        return listening.recv(65536)
    except OSError:
        return b""


def _connections(
    listening: socket.socket, server: SyslogServer, context: ssl.SSLContext | None
) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with suppress(OSError):
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            server.connections.append(connection)
            threading.Thread(target=_frames, args=(connection, server), daemon=True).start()


def _frames(connection: socket.socket, server: SyslogServer) -> None:
    """Read messages with their length in front (RFC 6587, 3.4.1)."""
    with suppress(OSError, ValueError), connection.makefile("rb") as file:
        while True:
            digits = b""
            while (character := file.read(1)) not in (b" ", b""):
                digits += character
            if not digits:
                return
            server.received.append(file.read(int(digits)))
