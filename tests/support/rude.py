"""A scripted DICOM peer on a raw socket, for violations of the protocol.

It implements PS3.7 and PS3.8 without a library, so that it can violate them.
"""

import socket
import struct
from io import BytesIO
from typing import Any

from tests.support.peers import CT, EXPLICIT

SILENCE_S = 120.0  # the machine may be busy; a peer without an answer for this long has failed


class Peer:
    """A DICOM peer that sends what the test specifies."""

    def __init__(
        self, port: int, calling: str | bytes = "RUDE", called: str | bytes = "SEGNODE"
    ) -> None:
        self.calling, self.called = calling, called
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def associate(
        self, *contexts: tuple[str, str], padding: int = 0, followed_by: bytes = b""
    ) -> bytes:
        """Request an association with `padding` more bytes; return the PDU of the response.

        `followed_by` is sent at once, without waiting for the response.
        """
        items = _item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (abstract, transfer) in enumerate(contexts or ((CT, EXPLICIT),)):
            inner = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
            items += _item(0x20, struct.pack(">BBBB", (2 * number + 1) % 256, 0, 0, 0) + inner)
        items += _item(0x60, bytes(50000)) * (padding // 50000)
        user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3.4")
        items += _item(0x50, user)
        head = struct.pack(">HH16s16s32x", 1, 0, _ae(self.called), _ae(self.calling))
        self.send(0x01, head + items + followed_by, announced=len(head + items))
        return self.receive()

    def store(self, data: bytes, instance: str, **choices: Any) -> int:
        """Send a C-STORE; return the status, or -1 if the association ended instead."""
        self.request(instance, **choices)
        self.fragments(data)
        return self.status()

    def request(
        self, instance: str, sop_class: str = CT, context: int = 1, command: int = 0x0001
    ) -> None:
        """Send the command of a C-STORE; its data set must follow."""
        elements = (
            _command(0x0002, _even(sop_class))
            + _command(0x0100, struct.pack("<H", command))
            + _command(0x0110, struct.pack("<H", 7))
            + _command(0x0700, struct.pack("<H", 0))
            + _command(0x0800, struct.pack("<H", 1))
            + _command(0x1000, _even(instance))
        )
        elements = _command(0x0000, struct.pack("<I", len(elements))) + elements
        self.send(0x04, _fragment(context, 3, elements))

    def fragments(self, data: bytes, context: int = 1, size: int = 65536) -> None:
        """Send a data set in fragments."""
        for start in range(0, max(1, len(data)), size):
            flag = 2 if start + size >= len(data) else 0
            self.send(0x04, _fragment(context, flag, data[start : start + size]))

    def status(self) -> int:
        """Read a response; return its status, or -1 if there is none."""
        pdu = self.receive()
        if pdu[:1] != b"\x04":
            return -1
        elements, at = pdu[12:], 0
        while at < len(elements):
            element, length = struct.unpack_from("<2xHI", elements, at)
            if element == 0x0900:
                return int(struct.unpack_from("<H", elements, at + 8)[0])
            at += 8 + length
        return -1

    def release(self) -> None:
        """Release the association."""
        self.send(0x05, bytes(4))
        assert self.receive()[:1] == b"\x06"

    def send(self, kind: int, body: bytes, announced: int | None = None) -> None:
        """Send a PDU; `announced` replaces its length."""
        length = len(body) if announced is None else announced
        try:
            self.socket.sendall(struct.pack(">BBI", kind, 0, length) + body)
        except OSError:  # closed by the listener: `receive` returns nothing
            return

    def receive(self) -> bytes:
        """Return the next PDU; nothing at the end of the connection."""
        head = self._read(6)
        return head + self._read(struct.unpack(">2xI", head)[0]) if len(head) == 6 else b""

    def _read(self, count: int) -> bytes:
        received = BytesIO()
        while received.tell() < count:
            try:
                piece = self.socket.recv(count - received.tell())
            except ConnectionError:
                break
            if not piece:
                break
            received.write(piece)
        return received.getvalue()


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _ae(title: str | bytes) -> bytes:
    return (title if isinstance(title, bytes) else title.encode()).ljust(16)


def _even(uid: str) -> bytes:
    raw = uid.encode()
    return raw + b"\0" * (len(raw) % 2)


def _command(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _fragment(context: int, flag: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, flag) + data


def store(port: int, data: bytes, instance: str, **choices: Any) -> int:
    """Send one C-STORE on its own association, as `Peer.store` does."""
    with Peer(port) as peer:
        peer.associate()
        return peer.store(data, instance, **choices)
