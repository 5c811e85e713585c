"""Read the first PDU of a connection, and the titles in it, before anything else is decoded.

Guarantees: with TLS, a peer without a trusted certificate is gone before that; a peer is known by
title and address after 74 bytes; no request is longer than
`LARGEST_REQUEST_BYTES`, and none has more than 128 presentation contexts. pynetdicom, which decodes
the rest, gets titles that it can decode; the response repeats those that were received.
"""

import contextlib
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from node import tls
from node.errors import NodeError
from node.listener.callers import Rejection
from node.upper_layer import MALFORMED, UNEXPECTED, abort, say_goodbye

LARGEST_REQUEST_BYTES = 128 << 10
MOST_CONTEXTS = 128  # PS3.8 9.3.2.2: their numbers are odd and below 256
REQUEST_SECONDS = 10.0  # for the first byte, and again from the first to the last one
DRAIN_SECONDS = (
    1.0  # an answer is lost if the connection is closed before the peer's bytes are read
)

PDU_HEAD = struct.Struct(">BBL")
ITEM_HEAD = struct.Struct(">BBH")
FIXED_BYTES = 68  # PS3.8 table 9-11: version, titles and reserved bytes before the items
TITLES = slice(4, 36)  # of the fixed part
VERSION, VERSION_1 = struct.Struct(">H"), 1  # PS3.8 9.3.2: only bit 0 is to be tested
OTHER_VERSION = (1, 2, 2)  # PS3.8 9.3.4: permanent, ACSE, protocol version not supported
ASSOCIATE_REQUEST, TLS_HANDSHAKE = 0x01, 0x16
CONTEXT_ITEM = 0x20
ITEMS = (0x10, CONTEXT_ITEM, 0x50)  # application context, presentation context, user information

_NOT_IN_A_TITLE = re.compile(r"[^ -\[\]-~]")  # PS3.5 6.2, VR AE


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ whose items are not decoded yet."""

    pdu: bytes  # with the normalised titles
    received_titles: bytes  # called and calling AE title, as the peer wrote them
    calling: str
    certificate: tls.Certificate | None = None  # of the peer, with TLS


class InvalidRequest(Exception):
    """The first bytes of a connection are no acceptable request; `answer` is sent to the peer."""

    def __init__(self, reason: str, answer: bytes = b"", advice: str = "", ae: str = "") -> None:
        """Set the reason, which has no bytes of the peer."""
        super().__init__(reason)
        self.reason = reason
        self.answer = answer
        self.advice = advice
        self.ae = ae


class FailedHandshake(Exception):
    """A TLS handshake failed; OpenSSL has sent the alert that says so."""

    def __init__(self, fault: NodeError) -> None:
        """Set the reason."""
        super().__init__(fault.message)
        self.fault = fault


class Rejected(Exception):
    """The caller may not open an association."""

    def __init__(self, rejection: Rejection, ae: str) -> None:
        """Set the reason and the calling AE title."""
        super().__init__(rejection.message)
        self.rejection = rejection
        self.ae = ae


def read_request(
    connection: socket.socket, rejection: Callable[[str, str], Rejection | None]
) -> AssociationRequest | None:
    """Read an A-ASSOCIATE-RQ; None if the peer closed the connection without a byte.

    `rejection` decides by called and calling AE title, before the rest is read.

    Raises:
        InvalidRequest: the peer sent something else, too much, or nothing.
        Rejected: the caller may not open an association.
    """
    kind = _first_byte(connection, lambda: connection.recv(1))
    if kind is None:
        return None
    if kind == TLS_HANDSHAKE:
        reason = "a TLS handshake was received on the port without TLS"
        advice = "Let the sender use tls.port, or switch off TLS at the sender for this port."
        raise InvalidRequest(reason, advice=advice)
    if kind != ASSOCIATE_REQUEST:
        reason = "the first bytes of a connection are no DICOM association request"
        raise InvalidRequest(reason, abort(*UNEXPECTED))
    deadline = time.monotonic() + REQUEST_SECONDS
    head = bytes((kind,)) + _read(connection, PDU_HEAD.size - 1, deadline)
    length = PDU_HEAD.unpack(head)[2]
    if length < FIXED_BYTES:
        raise InvalidRequest("the association request is too short", abort(*MALFORMED))
    fixed = _read(connection, FIXED_BYTES, deadline)
    received = fixed[TITLES]
    called, calling = title(received[:16]), title(received[16:])
    if no := rejection(called, calling):
        raise Rejected(no, calling)
    if not VERSION.unpack_from(fixed)[0] & VERSION_1:
        reason = "the association request is not of version 1 of the protocol"
        raise InvalidRequest(reason, reject(Rejection(*OTHER_VERSION, reason)), ae=calling)
    known = _read_items(connection, length - FIXED_BYTES, deadline, calling)
    readable = _padded(called) + _padded(calling)
    body = VERSION.pack(VERSION_1) + bytes(2) + readable + fixed[TITLES.stop :] + known
    pdu = PDU_HEAD.pack(ASSOCIATE_REQUEST, 0, len(body)) + body
    return AssociationRequest(pdu, received, calling)


def _read_items(connection: socket.socket, length: int, deadline: float, calling: str) -> bytes:
    """Read the items of a known caller; return those of known types."""
    if length > LARGEST_REQUEST_BYTES - FIXED_BYTES:
        reason = f"the association request has more than {LARGEST_REQUEST_BYTES >> 10} KiB"
        raise InvalidRequest(reason, abort(*MALFORMED), ae=calling)
    known, contexts = _known_items(_read(connection, length, deadline))
    if contexts > MOST_CONTEXTS:
        reason = f"the association request has more than {MOST_CONTEXTS} presentation contexts"
        raise InvalidRequest(reason, abort(*MALFORMED), ae=calling)
    return known


def begins_tls(connection: socket.socket) -> bool:
    """Wait for the first byte of TLS, and leave it; False if the peer closed the connection.

    Raises:
        InvalidRequest: the peer sent something else, or nothing.
    """
    kind = _first_byte(connection, lambda: connection.recv(1, socket.MSG_PEEK))
    if kind == ASSOCIATE_REQUEST:
        reason = "DICOM without TLS was received on the port for TLS"
        advice = "Switch on TLS at the sender, or let it use node.port."
        raise InvalidRequest(reason, abort(*UNEXPECTED), advice)
    if kind not in (None, TLS_HANDSHAKE):
        raise InvalidRequest("the first bytes of a connection on the port for TLS are not TLS")
    return kind is not None


def accept_tls(connection: ssl.SSLSocket) -> tls.Certificate:
    """Complete a TLS handshake, and return the certificate of the caller.

    Raises:
        FailedHandshake: the handshake failed.
    """
    try:
        return tls.complete(connection)
    except OSError as exc:
        raise FailedHandshake(tls.fault_of(exc)) from exc


def title(raw: bytes) -> str:
    """Normalise an AE title: it ends at a null byte, blanks around it have no meaning.

    A character that no AE title may have counts as `?`, so that node.yaml can name the peer.
    """
    text = raw.partition(b"\0")[0].decode("latin-1").strip(" ")
    return _NOT_IN_A_TITLE.sub("?", text)


def reject(no: Rejection) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""
    return PDU_HEAD.pack(0x03, 0, 4) + bytes((0, no.result, no.source, no.diagnostic))


def answer_and_drain(connection: socket.socket, answer: bytes) -> None:
    """Send a last answer, and discard what the peer still sends for a moment.

    With TLS the bytes that follow are discarded undecrypted.
    """
    deadline = time.monotonic() + DRAIN_SECONDS
    left = LARGEST_REQUEST_BYTES
    with contextlib.suppress(OSError):
        connection.settimeout(DRAIN_SECONDS)
        if answer:
            connection.sendall(answer)
        say_goodbye(connection)
        connection.settimeout(DRAIN_SECONDS)
        socket.socket.shutdown(connection, socket.SHUT_WR)
        while left > 0 and time.monotonic() < deadline:
            count = len(socket.socket.recv(connection, 1 << 16))
            if count == 0:
                return
            left -= count


def _first_byte(connection: socket.socket, receive: Callable[[], bytes]) -> int | None:
    """Wait for the first byte; None if the peer closed the connection without one."""
    connection.settimeout(REQUEST_SECONDS)
    try:
        first = receive()
    except TimeoutError as exc:
        reason = f"a connection without a request for {REQUEST_SECONDS:g} s"
        raise InvalidRequest(reason) from exc
    except OSError:
        return None
    return first[0] if first else None


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    buffer = bytearray(count)
    received = 0
    with memoryview(buffer) as view:
        while received < count:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = connection.recv_into(view[received:])
            except OSError:
                more = 0
            if more == 0:
                raise InvalidRequest("the association request is cut off or too slow")
            received += more
    return bytes(buffer)


def _known_items(items: bytes) -> tuple[bytes, int]:
    """Return the items of known types, undecoded, and how many are presentation contexts.

    Items of other types are to be ignored (PS3.8 9.3.1), but pynetdicom aborts on them.
    """
    known = bytearray()
    at = contexts = 0
    while at + ITEM_HEAD.size <= len(items):
        kind, _, length = ITEM_HEAD.unpack_from(items, at)
        end = at + ITEM_HEAD.size + length
        if kind in ITEMS:
            known += items[at:end]
            contexts += kind == CONTEXT_ITEM
        at = end
    return bytes(known), contexts


def _padded(text: str) -> bytes:
    """Encode a title for pynetdicom, which refuses an empty one."""
    return (text or "?").encode("ascii").ljust(16)
