"""Limits of PDUs and DIMSE messages, for associations in both directions.

Guarantees: a command has at most 64 KiB, the messages of a peer have a limited length and number,
and no peer costs much time with fragments that have no content. Beyond that, and after a fragment
that cannot be part of the message (PS3.7 6.3, PS3.8 E), the association is aborted (AA-8).
"""

import functools
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from pynetdicom import dimse_messages
from pynetdicom.fsm import InvalidEventError

from node.pynetdicom_adapter import DIMSEServiceProvider, DULServiceProvider
from node.upper_layer import MALFORMED, abort

LARGEST_COMMAND_BYTES = 64 << 10  # the longest command has a dozen short elements
LARGEST_NEGOTIATION_BYTES = 128 << 10  # each PDU that carries no data: 128 contexts have less
FIRST_RESPONSE = 0x8000  # PS3.7 E.1: the commands of requests are lower
MOST_REQUESTS = 100  # of a target in one association, for which one or two are usual
MOST_ITEMS = 256  # presentation data values in one PDU; usual are one or two
FREE_FRAGMENTS = 1000  # of one message, whatever their length
BYTES_PER_FRAGMENT = 64  # on average beyond these; the smallest buffers of devices have kilobytes

P_DATA_TF = 0x04
VALUE_LENGTH = struct.Struct(">L")  # PS3.8 9.3.5.1: of context, message control and fragment
COMMAND, LAST = 0b01, 0b10  # message control header, PS3.8 E.2

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


class LimitedUpper(DULServiceProvider):
    """Refuses PDUs that are long to decode, and decodes none after the end of an association."""

    def _decode_pdu(self, bytestream: bytearray) -> Any:
        """Decode a PDU.

        Raises:
            ValueError: it has too many items, or is too long for its type.
        """
        problem = _pdu_problem(bytestream)
        if problem:
            self.socket.violate(problem)
            raise ValueError(problem)
        return super()._decode_pdu(bytestream)

    def run_reactor(self) -> None:
        """Run until the connection ends; a peer that violates the protocol ends it too."""
        try:
            super().run_reactor()
        except DECODING_ERRORS as exc:
            if self.socket is not None:
                self.socket.violate(f"a PDU that is not allowed now ({type(exc).__name__})")
                self.socket.send(abort(*MALFORMED))
        finally:
            self.assoc.dimse.msg_queue.put((None, None))  # wakes a thread that waits for a message

    def _read_pdu_data(self) -> None:
        """Read one PDU; in state 13, whatever arrives is discarded until the peer closes."""
        if self.state_machine.current_state == "Sta13":
            self.socket.discard()
            return
        super()._read_pdu_data()
        if "Evt19" in self.event_queue.queue:
            self.socket.violate("a PDU that cannot be decoded, or of an unknown type")


class LimitedMessages(DIMSEServiceProvider):
    """Assembles fragments to messages, within limits."""

    most_data_bytes: int | None = LARGEST_COMMAND_BYTES  # of a data set; None: not limited here
    most_waiting = 1000  # messages that were received and not used yet

    def __init__(self, association: Any, new_data_set: Callable[[], BytesIO] = BytesIO) -> None:
        """Serve `association`, whose socket is a `LimitedSocket`; each data set gets a buffer."""
        super().__init__(association)
        self.message: Any = None
        self._new_data_set = new_data_set
        self._progress = _Progress()

    def to_primitive(self, message: Any) -> Any:
        """Convert a complete message."""
        return type(message).message_to_primitive(message)

    def receive_primitive(self, primitive: Any) -> None:
        """Add fragments to the message; abort a peer that exceeds the limits."""
        if self.message is None:
            self.message = dimse_messages.DIMSEMessage()
            self.message.data_set = self._new_data_set()
            # of the object, because pynetdicom changes its class when it has read the command
            self.message.message_to_primitive = functools.partial(self._converted, self.message)
            self._progress = _Progress()
        message = self.message
        problem = self._progress.problem_of(primitive.presentation_data_value_list)
        if self.msg_queue.qsize() > self.most_waiting:
            problem = "more requests or responses at once than the limit"
        problem = problem or self._data_problem()
        try:
            if not problem:
                super().receive_primitive(primitive)
        except DECODING_ERRORS as exc:
            problem = f"a command that cannot be decoded ({type(exc).__name__})"
        if problem:
            message.data_set.close()
            self._abort(problem)

    def add_data(self, size: int) -> bool:
        """Count a fragment that was added to the data set; return False after an abort."""
        problem = self._progress.add(size) or self._data_problem()
        if problem:
            self.message.data_set.close()
            self._abort(problem)
        return not problem

    def _converted(self, message: Any) -> Any:
        try:
            return self.to_primitive(message)
        except DECODING_ERRORS as exc:
            reason = f"a command that cannot be decoded ({type(exc).__name__})"
            self.dul.socket.violate(reason)
            raise

    def _data_problem(self) -> str:
        if self.most_data_bytes is None or self._progress.data_bytes <= self.most_data_bytes:
            return ""
        return f"a message with more than {self.most_data_bytes >> 10} KiB of data"

    def _abort(self, problem: str) -> None:
        self.dul.socket.violate(problem)
        self.dul.event_queue.put("Evt19")


class MessagesOfTarget(LimitedMessages):
    """What a target sends: responses, and a few requests such as storage commitment reports."""

    def __init__(self, association: Any) -> None:
        """Serve `association`, whose socket is a `LimitedSocket`."""
        super().__init__(association)
        self._requests = 0

    def to_primitive(self, message: Any) -> Any:
        """Convert a complete message; each request of a target takes a thread of pynetdicom."""
        if message.command_set.CommandField < FIRST_RESPONSE:
            self._requests += 1
        if self._requests > MOST_REQUESTS:
            problem = f"more than {MOST_REQUESTS} requests of a target in one association"
            self.dul.socket.violate(problem)
            raise ValueError(problem)
        return super().to_primitive(message)


class _Progress:
    """Follows the fragments of one message."""

    def __init__(self) -> None:
        self._context: int | None = None
        self._is_command_complete = False
        self._fragments = 0
        self._command_bytes = 0
        self.data_bytes = 0

    def problem_of(self, values: Sequence[Sequence[Any]]) -> str:
        """Return why the presentation data values of one PDU cannot belong to the message."""
        is_over = False
        for context, value in values:
            if not value:
                return "a fragment without a message control header"
            problem = self._order_problem(context, value[0], is_over=is_over)
            problem = problem or self.add(len(value) - 1, is_command=bool(value[0] & COMMAND))
            if problem:
                return problem
            is_last = bool(value[0] & LAST)
            is_over = is_last and not value[0] & COMMAND
            self._is_command_complete |= is_last
        return ""

    def add(self, size: int, *, is_command: bool = False) -> str:
        """Count a fragment; return why it is one too many."""
        self._fragments += 1
        if is_command:
            self._command_bytes += size
        else:
            self.data_bytes += size
        if self._command_bytes > LARGEST_COMMAND_BYTES:
            return f"a command of more than {LARGEST_COMMAND_BYTES >> 10} KiB"
        content = self._command_bytes + self.data_bytes
        if self._fragments > FREE_FRAGMENTS + content // BYTES_PER_FRAGMENT:
            return "a message in more fragments than its length justifies"
        return ""

    def _order_problem(self, context: int, control: int, *, is_over: bool) -> str:
        if is_over:
            return "fragments of two messages in one PDU"
        if self._context is None:
            self._context = context
        if context != self._context:
            return "fragments of one message in two presentation contexts"
        is_command = bool(control & COMMAND)
        if is_command == self._is_command_complete:
            return "a command within a message" if is_command else "a data set without a command"
        return ""


def _pdu_problem(pdu: bytearray) -> str:
    """Return why a PDU is not decoded; pynetdicom takes seconds for a mebibyte of empty items."""
    if pdu[0] != P_DATA_TF:
        is_long = len(pdu) > LARGEST_NEGOTIATION_BYTES
        return (
            f"a PDU without data of more than {LARGEST_NEGOTIATION_BYTES >> 10} KiB"
            if is_long
            else ""
        )
    at, items = 6, 0
    while at + VALUE_LENGTH.size <= len(pdu):
        at += VALUE_LENGTH.size + VALUE_LENGTH.unpack_from(pdu, at)[0]
        items += 1
        if items > MOST_ITEMS:
            return f"a PDU with more than {MOST_ITEMS} presentation data values"
    return ""
