"""A target on a raw socket that accepts every association and class, and then misbehaves."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Connection = socket.socket
Behaviour = Callable[[Connection], None]

HEAD = struct.Struct(">BBI")


@contextmanager
def stalling_target(behave: Behaviour, begin: Behaviour | None = None) -> Iterator[int]:
    """Run the target; return its port.

    Args:
        behave: what it does after the data set of a C-STORE.
        begin: what it does instead of accepting the association.
    """
    server = socket.create_server(("127.0.0.1", 0))
    ends = threading.Event()

    def serve(connection: Connection) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            request = receive(connection)
            if begin is not None:
                begin(connection)
            else:
                connection.sendall(accepted(request))
                while not _has_last_data(receive(connection)):
                    continue
                behave(connection)
            ends.wait(30)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = server.accept()[0]
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(server.getsockname()[1])
    finally:
        ends.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def receive(connection: Connection) -> bytes:
    """Return the body of the next PDU."""
    length = HEAD.unpack(_exactly(connection, HEAD.size))[2]
    return _exactly(connection, length)


def accepted(request: bytes) -> bytes:
    """Return an A-ASSOCIATE-AC with the first transfer syntax of each context."""
    items, at = _item(0x10, b"1.2.840.10008.3.1.1.1"), 68
    while at < len(request):
        kind, _, length = struct.unpack_from(">BBH", request, at)
        body = request[at + 4 : at + 4 + length]
        if kind == 0x20:
            start = 8 + struct.unpack_from(">H", body, 6)[0]
            size = struct.unpack_from(">H", body, start + 2)[0]
            syntax = _item(0x40, body[start + 4 : start + 4 + size])
            items += _item(0x21, body[:1] + bytes(3) + syntax)
        at += 4 + length
    items += _item(0x50, _item(0x51, struct.pack(">I", 65536)) + _item(0x52, b"1.2.3"))
    body = request[:68] + items
    return HEAD.pack(2, 0, len(body)) + body


def part_of_a_head(connection: Connection) -> None:
    """Send three bytes of a PDU."""
    connection.sendall(b"\4\0\0")


def part_of_a_body(connection: Connection) -> None:
    """Send a PDU that is shorter than announced."""
    connection.sendall(HEAD.pack(4, 0, 100) + bytes(10))


def a_huge_pdu(connection: Connection) -> None:
    """Announce 4 GiB and send zeros."""
    connection.sendall(HEAD.pack(4, 0, 0xFFFFFFFF))
    while True:
        connection.sendall(bytes(1 << 20))


def byte_by_byte(connection: Connection) -> None:
    """Send a byte now and then, as long as somebody listens."""
    connection.sendall(HEAD.pack(4, 0, 100))
    while True:
        connection.sendall(b"\0")
        time.sleep(0.05)


def _has_last_data(body: bytes) -> bool:
    return len(body) > 5 and body[5] & 3 == 2


def _exactly(connection: Connection, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = connection.recv(count - len(received))
        if not piece:
            raise ConnectionResetError
        received += piece
    return received


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body
