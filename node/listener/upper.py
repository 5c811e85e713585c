"""Replace parts of pynetdicom's upper layer: wait instead of polling, and limit what peers send.

Guarantees: an idle association takes no processor time, a stalled or oversized PDU ends it, and no
message grows beyond the limits. State machine and encoding are pynetdicom's. Unchanged, each
association would poll a thousand times a second on two threads, read PDUs of any length, and a
peer that stalls within a PDU would hold both threads for ever.
"""

import queue
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any

from node.dicom.uids import VERIFICATION_CLASS, is_uid
from node.listener.request import AssociationRequest
from node.listener.spool import Spool
from node.message_limits import LimitedMessages, LimitedUpper
from node.upper_layer import LimitedSocket

TIMER_SECONDS = 0.1  # between two checks of the timers while nothing happens

PDU_HEAD = struct.Struct(">BBL")  # PS3.8 9.3.5: type, reserved, length of the rest
ITEM_HEAD = struct.Struct(">LBB")  # length of the rest, presentation context, message control
P_DATA_TF = 0x04
ASSOCIATE_ACCEPT = b"\x02"
C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030  # PS3.7 E.1
MEDIUM = 0x0000  # PS3.7 9.3.1.1, priority
NO_UID = "0.0"  # stands for a UID of a command that is none
DATA, LAST_DATA = 0b00, 0b10  # message control: a fragment of a data set, and its last one


class Wire(LimitedSocket):
    """A connection that has requested an association, whose waiting reader can be woken."""

    def __init__(
        self, association: Any, connection: socket.socket, request: AssociationRequest
    ) -> None:
        """Use an accepted connection, from which `request` was read."""
        super().__init__(association, connection)
        self._woken, self._waker = socket.socketpair()
        self._woken.settimeout(0)
        self._waker.settimeout(0)
        self._poll = select.poll()  # select() fails beyond the 1024th descriptor
        self._poll.register(connection, select.POLLIN)
        self._poll.register(self._woken, select.POLLIN)
        self._bell = self._woken.fileno()
        self._buffered = request.pdu
        self._titles = request.received_titles

    def wake(self) -> None:
        """Make a waiting `ready` return."""
        try:
            self._waker.send(b"!")
        except OSError:  # full: `ready` wakes anyway; closed: nothing waits
            return

    def close_bell(self) -> None:
        """Close the sockets that wake the reader, which `close` does not."""
        self._waker.close()
        self._woken.close()

    @property
    def ready(self) -> bool:
        """Wait for data or `wake`; return whether there is data, or the end of the connection."""
        if self._buffered or self._has_rest_of_a_record:
            return True
        if self.socket is None or not self._is_connected or self._is_over:
            time.sleep(0.001)
            return False
        patience_ms = TIMER_SECONDS * 1000 if self.event_queue.empty() else 0
        try:
            readable = [number for number, _ in self._poll.poll(patience_ms)]
            if self._bell in readable:
                self._woken.recv(4096)
        except OSError:
            self.event_queue.put("Evt17")
            return False
        return any(number != self._bell for number in readable) and self._has_data()

    @property
    def _has_rest_of_a_record(self) -> bool:
        """Whether TLS has decrypted bytes that were not read: `poll` does not report them."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def put_back(self, content: bytes) -> None:
        """Make the next `recv` return `content` first."""
        self._buffered = content

    def send(self, bytestream: bytes) -> None:
        """Send all bytes; a response to a request repeats its titles as they were received."""
        if bytestream[:1] == ASSOCIATE_ACCEPT:
            bytestream = bytestream[:10] + self._titles + bytestream[42:]
        super().send(bytestream)


class Upper(LimitedUpper):
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
            self.socket.put_back(head + body)
        elif rest:
            self.socket.put_back(PDU_HEAD.pack(P_DATA_TF, 0, len(rest)) + rest)
        if rest is not None and not self.assoc.dimse.add_data(len(body) - ITEM_HEAD.size):
            return
        if rest != b"":
            super()._read_pdu_data()

    def run_reactor(self) -> None:
        """Run until the connection ends, and wake a thread that still waits for a request."""
        super().run_reactor()
        self.to_user_queue.put(None)


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


def _readable(command: Any) -> None:
    """Replace values of a request that pynetdicom refuses, although they decide nothing here.

    It would abort the association. A UID of a C-STORE that is none becomes `NO_UID`.
    """
    if command.CommandField == C_STORE_RQ:
        for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
            if not is_uid(str(command.get(keyword, ""))):
                setattr(command, keyword, NO_UID)
        command.Priority = MEDIUM
        for keyword in ("MoveOriginatorApplicationEntityTitle", "MoveOriginatorMessageID"):
            if keyword in command:
                delattr(command, keyword)
    elif command.CommandField == C_ECHO_RQ:
        command.AffectedSOPClassUID = VERIFICATION_CLASS


class _NotifyingQueue(queue.Queue[Any]):
    """A queue that also wakes a thread that waits at another queue."""

    def __init__(self, notify: Callable[[], None]) -> None:
        super().__init__()
        self._notify = notify

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002  Queue's own signature
        super().put(item, block, timeout)
        self._notify()


class Messages(LimitedMessages):
    """Receives the data set of each message into a spool."""

    most_data_bytes = None  # `Spool` has a limit
    most_waiting = 2  # no asynchronous operations are negotiated: a peer waits for each response

    def __init__(self, association: Any, new_spool: Callable[[], Spool]) -> None:
        """Receive each data set into a new spool."""
        super().__init__(association, new_spool)

    def to_primitive(self, message: Any) -> Any:
        """Convert a complete message."""
        _readable(message.command_set)
        return super().to_primitive(message)

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002  pynetdicom's own signature
        """Return the next message; (None, None) if timers or primitives need attention."""
        del block
        try:
            return self.msg_queue.get(timeout=TIMER_SECONDS)
        except queue.Empty:
            if self.message is None:
                self.assoc.on_quiet()
            return None, None
