"""Connections of associations in both directions: a deadline for each PDU, a limit for its length.

Guarantees: a peer that stalls within a PDU, or announces one that is too large, ends its
association; it never holds a thread for longer than the deadline. pynetdicom would wait for ever,
and read 4 GiB. The same holds with TLS, where pynetdicom would also wait for a PDU when a message
without data arrives, such as a session ticket.
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from node.errors import NodeError
from node.pynetdicom_adapter import AddressInformation, AssociationSocket, evt

LARGEST_PDU_BYTES = 1 << 20  # data PDUs stay below 128 KiB: we announce that in both directions
DISCARD_SECONDS = 1.0  # after an abort: a connection with bytes left is reset, and loses it
PDU_SECONDS = 30.0  # from the first to the last byte of one PDU

ABORT_PDU = 0x07
MALFORMED = (2, 6)  # PS3.8 9.3.8, source and reason: service provider, invalid parameter value
UNEXPECTED = (2, 2)  # service provider, unexpected PDU


class LimitedSocket(AssociationSocket):
    """A connection with a deadline and a size limit for each PDU."""

    def __init__(
        self,
        association: Any,
        connection: socket.socket | None = None,
        address: AddressInformation | None = None,
        send_seconds: float = PDU_SECONDS,
        secure: Callable[[socket.socket], ssl.SSLSocket] | None = None,
    ) -> None:
        """Use an accepted `connection`, or prepare one from `address`, which is ours.

        `secure` makes a TLS connection of one that was just opened.
        """
        self.socket: socket.socket | None
        super().__init__(association, client_socket=connection, address=address)
        self._send_seconds, self._secure = send_seconds, secure
        # OpenSSL allows one thread at a time; the abort of a bad message comes from a second one
        self._turn = threading.Lock()
        self._buffered = b""  # is received next
        self.first_byte: int | None = None  # that the peer sent
        self.is_unanswered = False  # the peer closed the connection without sending a byte
        self.error: Exception | None = None  # why the connection could not be used
        self._is_over = False  # a PDU was not read to its end: the bytes after it have no meaning
        self._discarding_until = 0.0  # monotonic; set after the association has ended
        self.problem = ""  # how the peer violated the limits

    def connect(self, primitive: Any) -> None:
        """Open the connection, with TLS where it is configured; as in pynetdicom's own.

        pynetdicom would discard the reason of a failure.
        """
        assert self.socket is not None
        try:
            self.socket.settimeout(self.assoc.connection_timeout)
            self.socket.connect(primitive.address_info.as_tuple)
            if self._secure is not None:
                self.socket = self._secure(self.socket)
            ours = AddressInformation.from_tuple(self.socket.getsockname())
            self.assoc.requestor.address_info = ours
            self._is_connected = True
            address = primitive.address_info.as_tuple
            evt.trigger(self.assoc, evt.EVT_CONN_OPEN, {"address": address})
            primitive.result = "Evt2"
        except (OSError, ValueError, NodeError) as exc:
            self.error = exc
            self._shutdown_socket()
            self.socket = None
            primitive.result = "Evt17"
        finally:
            self.provider_queue.put(primitive)
            self._ready.set()

    @property
    def ready(self) -> bool:
        """Return whether there is data, or the end of the connection."""
        if self._is_over:
            return False
        return bool(self._buffered) or (super().ready and self._has_data())

    def _has_data(self) -> bool:
        """Return whether a readable connection has data: TLS sends messages without any, too."""
        if not isinstance(self.socket, ssl.SSLSocket):
            return True
        try:
            with self._turn:
                self.socket.settimeout(0)
                self._buffered = self.socket.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError as exc:
            self.error, self._is_over = exc, True
            self.event_queue.put("Evt17")
            return False
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes` bytes; fewer if the peer has closed the connection.

        Raises:
            OSError: the PDU is too large, or the peer is too slow.
        """
        if self._is_over or nr_bytes > LARGEST_PDU_BYTES:
            self._is_over = True
            self.violate(f"a PDU of {nr_bytes} bytes was announced")
            self.send(abort(*MALFORMED))
            raise OSError(self.problem)
        buffer = bytearray(nr_bytes)
        received = len(self._buffered[:nr_bytes])
        buffer[:received], self._buffered = self._buffered[:received], self._buffered[received:]
        try:
            with memoryview(buffer) as view:
                received += self._fill(view[received:])
        except OSError as exc:
            self._is_over = True
            self.error = exc
            self.is_unanswered = self.first_byte is None and isinstance(exc, ConnectionError)
            if isinstance(exc, TimeoutError):
                self.violate(f"a PDU was not complete after {PDU_SECONDS:g} s")
            raise
        if self.first_byte is None:
            self.is_unanswered = received == 0
            self.first_byte = buffer[0] if received else None
        del buffer[received:]
        return buffer

    def _fill(self, view: memoryview) -> int:
        assert self.socket is not None
        deadline = time.monotonic() + PDU_SECONDS
        received = 0
        while received < len(view):
            with self._turn:
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                count = self.socket.recv_into(view[received:])
            if count == 0:
                break
            received += count
        return received

    def violate(self, problem: str) -> None:
        """Remember how the peer violated protocol or limits first; the rest follows from that."""
        self.problem = self.problem or problem

    def discard(self) -> None:
        """Discard what has arrived; at its end, or after a while, the connection is closed."""
        self._buffered = b""
        self._discarding_until = self._discarding_until or time.monotonic() + DISCARD_SECONDS
        try:
            assert self.socket is not None
            with self._turn:
                self.socket.settimeout(0)
                is_open = self.socket.recv(LARGEST_PDU_BYTES) != b""
            is_open = is_open and time.monotonic() < self._discarding_until
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, AssertionError):
            is_open = False
        if not is_open:
            self._is_over = True
            self.event_queue.put("Evt17")

    def send(self, bytestream: bytes) -> None:
        """Send all bytes; a peer that does not read them in time counts as gone."""
        if bytestream[0] == ABORT_PDU and bytestream[8] == MALFORMED[0]:  # not by the service user
            self.violate("a PDU or message that is not allowed now")
        try:
            assert self.socket is not None
            with self._turn:
                self.socket.settimeout(self._send_seconds)
                self.socket.sendall(bytestream)
        except (OSError, AssertionError):
            self.event_queue.put("Evt17")

    def hang_up(self) -> None:
        """End the connection, from any thread, also while another waits for the peer."""
        connection = self.socket
        if connection is not None:
            hang_up(connection)

    def _shutdown_socket(self) -> None:
        """Close the socket, also if the peer closed it first: pynetdicom leaks it then."""
        connection = self.socket
        if connection is not None:
            with self._turn:
                say_goodbye(connection)
            hang_up(connection)
            connection.close()


def abort(source: int, reason: int) -> bytes:
    """Return an A-ABORT (PS3.8 9.3.8)."""
    return struct.pack(">BBLBBBB", ABORT_PDU, 0, 4, 0, 0, source, reason)


def hang_up(connection: socket.socket) -> None:
    """End a connection for which another thread may be waiting.

    `SSLSocket.shutdown` would make that thread read undecrypted bytes.
    """
    with contextlib.suppress(OSError):  # gone already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def say_goodbye(connection: socket.socket) -> None:
    """Announce the end of a TLS connection (close_notify), without waiting for an answer."""
    if isinstance(connection, ssl.SSLSocket):
        with contextlib.suppress(OSError, ValueError):  # never secured, or gone already
            connection.settimeout(0)
            connection.unwrap()
