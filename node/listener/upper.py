"""Replace parts of pynetdicom's upper layer: wait instead of polling, and limit what peers send.

Guarantees: an idle association takes no processor time, a stalled or oversized PDU ends it, and no
message grows beyond the limits. State machine and encoding are pynetdicom's. Unchanged, each
association would poll a thousand times a second on two threads, read PDUs of any length, and a
peer that stalls within a PDU would hold both threads for ever.
"""

import contextlib
import logging
import queue
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import dimse_messages
from pynetdicom.fsm import InvalidEventError

from node.listener.spool import Spool
from node.pynetdicom_adapter import (
    AssociationSocket,
    DIMSEServiceProvider,
    DULServiceProvider,
)

LARGEST_PDU_BYTES = (
    1 << 20
)  # a request with 128 contexts stays below 100 KB; data PDUs below 128 KiB
LARGEST_COMMAND_BYTES = 64 << 10  # the longest command has a dozen short elements
MOST_WAITING_MESSAGES = (
    2  # no asynchronous operations are negotiated: a peer waits for each response
)
PDU_SECONDS = 30.0  # from the first to the last byte of one PDU
TIMER_SECONDS = 0.1  # between two checks of the timers while nothing happens

PDU_HEAD = struct.Struct(">BBL")  # PS3.8 9.3.5: type, reserved, length of the rest
ITEM_HEAD = struct.Struct(">LBB")  # length of the rest, presentation context, message control
P_DATA_TF = 0x04
DATA, LAST_DATA = 0b00, 0b10  # message control: a fragment of a data set, and its last one

# exceptions of pydicom and pynetdicom for bytes that are no command set or PDU
DECODING_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    InvalidEventError,
    LookupError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)

log = logging.getLogger("node.listener")


class Wire(AssociationSocket):
    """A connection with deadlines, whose waiting reader can be woken."""

    def __init__(self, association: Any, connection: socket.socket) -> None:
        """Use an accepted connection."""
        super().__init__(association, client_socket=connection)
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._poll = select.poll()  # select() fails beyond the 1024th descriptor
        self._poll.register(connection, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._bell = self._woken.fileno()
        self._is_over = False  # a PDU was not read to its end: the bytes after it have no meaning
        self._unread = b""

    def wake(self) -> None:
        """Make a waiting `ready` return."""
        try:
            self._waker.send(b"!")
        except OSError:  # full: `ready` wakes anyway; closed: nothing waits
            return

    def hang_up(self) -> None:
        """Close the sockets that wake the reader, which `close` does not."""
        self._waker.close()
        self._woken.close()

    @property
    def ready(self) -> bool:
        """Wait for data or `wake`; return whether there is data, or the end of the connection."""
        if self.socket is None or not self._is_connected or self._is_over:
            time.sleep(0.001)
            return False
        patience_ms = TIMER_SECONDS * 1000 if self.event_queue.empty() else 0
        try:
            found = [number for number, _ in self._poll.poll(patience_ms)]
            if self._bell in found:
                self._woken.recv(4096)
        except OSError:
            self.event_queue.put("Evt17")
            return False
        return any(number != self._bell for number in found)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes` bytes; fewer if the peer has closed the connection.

        Raises:
            OSError: the PDU is too large, or the peer is too slow.
        """
        if self._unread:
            taken, self._unread = self._unread[:nr_bytes], self._unread[nr_bytes:]
            return bytearray(taken)
        if nr_bytes > LARGEST_PDU_BYTES:
            self._is_over = True
            message = "the announced PDU is too large"
            raise OSError(message)
        buffer = bytearray(nr_bytes)
        try:
            with memoryview(buffer) as view:
                got = self._fill(view)
        except OSError:
            self._is_over = True
            raise
        del buffer[got:]
        return buffer

    def unread(self, content: bytes) -> None:
        """Make the next `recv` return `content` first."""
        self._unread = content

    def _shutdown_socket(self) -> None:
        """Close the socket, also if the peer closed it first: pynetdicom leaks it then."""
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

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
            self.socket.settimeout(PDU_SECONDS)
            self.socket.sendall(bytestream)
        except (OSError, AssertionError):
            self.event_queue.put("Evt17")


class Upper(DULServiceProvider):
    """The reading thread of one association."""

    def __init__(self, association: Any) -> None:
        """Create the provider; its thread is started by pynetdicom."""
        super().__init__(association)
        self.daemon = True  # the process may end while it runs
        self._run_loop_delay = 0  # `Wire.ready` waits
        self.to_user_queue = _NotifyingQueue(lambda: association.dimse.msg_queue.put((None, None)))

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive, and wake the thread that sends it."""
        super().send_pdu(primitive)
        if isinstance(self.socket, Wire):
            self.socket.wake()

    def _read_pdu_data(self) -> None:
        """Read one PDU, and write the bytes of a data set directly to their message.

        pynetdicom copies them five times, through PDU, item and primitive. In state 6 a P-DATA-TF
        changes no state and starts no timer (PS3.8 9.2.3, DT-2), so only the data set bytes skip
        pynetdicom; the last fragment is passed on as an empty one.
        """
        message = self.assoc.dimse.message
        is_transfer = self.state_machine.current_state == "Sta6"
        if message is None or not is_transfer or not isinstance(self.socket, Wire):
            super()._read_pdu_data()
            return
        try:
            head = bytes(self.socket.recv(PDU_HEAD.size))
            kind, _, length = PDU_HEAD.unpack(head)
            body = self.socket.recv(length) if kind == P_DATA_TF else bytearray()
        except (OSError, struct.error):  # the peer is gone, or the PDU is too large
            self.event_queue.put("Evt17")
            return
        if len(body) < length and kind == P_DATA_TF:
            self.event_queue.put("Evt17")
            return
        rest = _without_data(message, body)
        if rest is None:
            self.socket.unread(head + body)
        elif rest:
            self.socket.unread(PDU_HEAD.pack(P_DATA_TF, 0, len(rest)) + rest)
        if rest != b"":
            super()._read_pdu_data()

    def run_reactor(self) -> None:
        """Run until the connection ends; a peer that violates the protocol ends it too."""
        try:
            super().run_reactor()
        except DECODING_ERRORS as exc:
            log.warning("a peer violated the protocol", extra={"kind": type(exc).__name__})
        self.to_user_queue.put(None)  # wakes a thread that still waits for a request


def _without_data(message: Any, body: bytearray) -> bytes | None:
    """Write the data set bytes of a PDU with one item to the message; return the rest of the PDU.

    The rest is empty within a data set. None: the PDU is of another kind, and was not used.
    """
    if len(body) < ITEM_HEAD.size:
        return None
    length, context, control = ITEM_HEAD.unpack_from(body)
    is_only = length == len(body) - ITEM_HEAD.size + 2
    if not is_only or context != message.context_id or control not in (DATA, LAST_DATA):
        return None
    with memoryview(body) as view:
        message.data_set.write(view[ITEM_HEAD.size :])
    return ITEM_HEAD.pack(2, context, control) if control == LAST_DATA else b""


class _NotifyingQueue(queue.Queue[Any]):
    """A queue that also wakes a thread that waits at another queue."""

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self._notify = notify

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002  Queue's own signature
        super().put(item, block, timeout)
        self._notify()


class Messages(DIMSEServiceProvider):
    """Assembles fragments to messages, within limits."""

    def __init__(self, association: Any, new_spool: Callable[[], Spool]) -> None:
        """Receive each data set into a new spool."""
        super().__init__(association)
        self._new_spool = new_spool
        self.message: Any = None

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002  pynetdicom's own signature
        """Return the next message; (None, None) if timers or primitives need attention."""
        del block
        try:
            return self.msg_queue.get(timeout=TIMER_SECONDS)
        except queue.Empty:
            return None, None

    def receive_primitive(self, primitive: Any) -> None:
        """Add fragments to the message; abort a peer that exceeds the limits (AA-8)."""
        message = self.message
        if message is None:
            message = self.message = dimse_messages.DIMSEMessage()
            message.data_set = self._new_spool()
        try:
            if self._is_excessive(message):
                self.dul.event_queue.put("Evt19")
                return
            super().receive_primitive(primitive)
        except DECODING_ERRORS as exc:
            log.warning("a message that cannot be decoded", extra={"kind": type(exc).__name__})
            message.data_set.close()
            self.dul.event_queue.put("Evt19")

    def _is_excessive(self, message: Any) -> bool:
        is_long = message.encoded_command_set.tell() > LARGEST_COMMAND_BYTES
        return is_long or self.msg_queue.qsize() > MOST_WAITING_MESSAGES
