"""Connections of associations in both directions: a deadline for each PDU, a limit for its length.

Guarantees: a peer that stalls within a PDU, or announces one that is too large, ends its
association; it never holds a thread for longer than the deadline. pynetdicom would wait for ever,
and read 4 GiB.
"""

import contextlib
import socket
import time
from typing import Any

from node.pynetdicom_adapter import AddressInformation, AssociationSocket

LARGEST_PDU_BYTES = 1 << 20  # data PDUs stay below 128 KiB: we announce that in both directions
PDU_SECONDS = 30.0  # from the first to the last byte of one PDU


class LimitedSocket(AssociationSocket):
    """A connection with a deadline and a size limit for each PDU."""

    def __init__(
        self,
        association: Any,
        connection: socket.socket | None = None,
        address: AddressInformation | None = None,
        send_seconds: float = PDU_SECONDS,
    ) -> None:
        """Use an accepted `connection`, or prepare one from `address`, which is ours."""
        super().__init__(association, client_socket=connection, address=address)
        self._send_seconds = send_seconds
        self._is_over = False  # a PDU was not read to its end: the bytes after it have no meaning
        self.problem = ""  # how the peer violated the limits

    @property
    def ready(self) -> bool:
        """Return whether there is data, or the end of the connection."""
        return not self._is_over and super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes` bytes; fewer if the peer has closed the connection.

        Raises:
            OSError: the PDU is too large, or the peer is too slow.
        """
        if self._is_over or nr_bytes > LARGEST_PDU_BYTES:
            self._is_over = True
            self.problem = f"a PDU of {nr_bytes} bytes was announced"
            raise OSError(self.problem)
        buffer = bytearray(nr_bytes)
        try:
            with memoryview(buffer) as view:
                got = self._fill(view)
        except OSError as exc:
            self._is_over = True
            if isinstance(exc, TimeoutError):
                self.problem = f"a PDU was not complete after {PDU_SECONDS:g} s"
            raise
        del buffer[got:]
        return buffer

    def _fill(self, view: memoryview) -> int:
        assert self.socket is not None
        deadline = time.monotonic() + PDU_SECONDS
        got = 0
        while got < len(view):
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            count = self.socket.recv_into(view[got:])
            if count == 0:
                break
            got += count
        return got

    def send(self, bytestream: bytes) -> None:
        """Send all bytes; a peer that does not read them in time counts as gone."""
        try:
            assert self.socket is not None
            self.socket.settimeout(self._send_seconds)
            self.socket.sendall(bytestream)
        except (OSError, AssertionError):
            self.event_queue.put("Evt17")

    def hang_up(self) -> None:
        """End the connection, from any thread: who waits for the peer is woken."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _shutdown_socket(self) -> None:
        """Close the socket, also if the peer closed it first: pynetdicom leaks it then."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
