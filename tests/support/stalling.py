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
            ends.wait()

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


def a_long_command(connection: Connection) -> None:
    """Send fragments of one command without end."""
    while True:
        connection.sendall(_pdu(_value(0b01, bytes(1 << 16))))


def empty_fragments(connection: Connection) -> None:
    """Send fragments without content."""
    while True:
        connection.sendall(_pdu(_value(0b01) * 1000))


def many_requests(connection: Connection) -> None:
    """Send N-EVENT-REPORT requests without end; each takes a thread of pynetdicom."""
    request = _command(0x0100, (0x1000, b"1.2.3.4\0"), (0x1002, b"\1\0"))
    while True:
        connection.sendall(_pdu(_value(0b11, request)))


def many_responses(connection: Connection) -> None:
    """Answer a C-STORE again and again."""
    while True:
        connection.sendall(_pdu(_value(0b11, STORED)))


def a_long_match(connection: Connection) -> None:
    """Answer a C-STORE, and then a C-FIND with one match without end."""
    connection.sendall(_pdu(_value(0b11, STORED)))
    receive(connection)
    connection.sendall(_pdu(_value(0b11, _command(0x8020, (0x0800, bytes(2)), PENDING))))
    while True:
        connection.sendall(_pdu(_value(0b00, bytes(1 << 16))))


def many_matches(connection: Connection) -> None:
    """Answer a C-STORE, and then a C-FIND with matches without end."""
    connection.sendall(_pdu(_value(0b11, STORED)))
    receive(connection)
    while True:
        connection.sendall(_pdu(_value(0b11, _command(0x8020, PENDING))))


def byte_by_byte(connection: Connection) -> None:
    """Send a byte now and then, as long as somebody listens."""
    connection.sendall(HEAD.pack(4, 0, 100))
    while True:
        connection.sendall(b"\0")
        time.sleep(0.05)


def _command(field: int, *elements: tuple[int, bytes]) -> bytes:
    """Return a command without a data set; `elements` are added or replaced."""
    values = {
        0x0002: b"1.2.840.10008.5.1.4.1.1.66.4",
        0x0100: struct.pack("<H", field),
        0x0110 if field < 0x8000 else 0x0120: struct.pack("<H", 1),
        0x0800: struct.pack("<H", 0x0101),
    } | dict(elements)
    return b"".join(
        struct.pack("<HHI", 0, number, len(value)) + value
        for number, value in sorted(values.items())
    )


STORED = _command(0x8001, (0x0900, bytes(2)))
PENDING = (0x0900, struct.pack("<H", 0xFF00))


def _value(control: int, content: bytes = b"") -> bytes:
    return struct.pack(">IBB", len(content) + 2, 1, control) + content


def _pdu(values: bytes) -> bytes:
    return HEAD.pack(4, 0, len(values)) + values


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
