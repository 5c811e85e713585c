"""Commands, fragments and PDUs that violate the protocol: an answer or an abort, and a note."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.dicom.uids import VERIFICATION_CLASS
from node.listener import StoreStatus
from tests.support.peers import CT, EXPLICIT, SERIES, Listening, ct, encode, listening, soon
from tests.support.rude import Peer, store

WHOLE = encode(ct(1))
UID = f"{SERIES}.1"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Listening]:
    with listening(tmp_path / "data") as node:
        yield node


def test_a_command_that_cannot_be_decoded_leaves_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(0x04, b"\0\0\0\x0a\x01\x03" + b"garbage!")
        assert peer.receive()[:1] == b"\x07"
    assert soon(lambda: [n.kind for n in node.inbox.read_notes()] == ["protocol-violation"])


def command(*elements: tuple[int, bytes], field: int = 0x0001) -> bytes:
    """Return a C-STORE command of the CT class for the instance `UID`, or another command."""
    values = {
        0x0002: str(CT).encode(),
        0x0100: struct.pack("<H", field),
        0x0110: struct.pack("<H", 1),
        0x0700: bytes(2),
        0x0800: bytes(2),
        0x1000: UID.encode(),
    } | dict(elements)
    return b"".join(
        struct.pack("<HHI", 0, number, len(value) + len(value) % 2) + value + bytes(len(value) % 2)
        for number, value in sorted(values.items())
    )


def fragment(control: int, content: bytes = b"", context: int = 1) -> bytes:
    return struct.pack(">IBB", len(content) + 2, context, control) + content


NEGOTIATION = b"\0\1\0\0" + b"A" * 32 + bytes(32)  # without items
WITHOUT_DATA = (0x0800, struct.pack("<H", 0x0101))


@pytest.mark.parametrize(
    "elements",
    [
        ((0x0700, struct.pack("<H", 77)),),
        ((0x0700, b""),),
        ((0x1030, b"\xff" * 40), (0x1031, b"")),
        ((0x0002, b"1." + b"2" * 80),),
    ],
)
def test_a_value_that_decides_nothing_ends_no_association(
    node: Listening, elements: tuple[tuple[int, bytes], ...]
) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(0x04, fragment(3, command(*elements)))
        peer.fragments(WHOLE)
        status = peer.status()
        assert status in (StoreStatus.SUCCESS, StoreStatus.CLASS_NOT_SUPPORTED)
        assert (status == 0) == (elements[0][0] != 0x0002)
        assert peer.store(WHOLE, UID) == StoreStatus.SUCCESS


def test_an_echo_is_answered_whatever_class_it_names(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate((VERIFICATION_CLASS, EXPLICIT))
        for name in (b"1." + b"2" * 80, b"no class"):
            peer.send(0x04, fragment(3, command((0x0002, name), WITHOUT_DATA, field=0x0030)))
            assert peer.status() == 0


@pytest.mark.parametrize(
    ("pdus", "words"),
    [
        ([(0x01, NEGOTIATION)], "not allowed now"),
        ([(0x02, NEGOTIATION)], "not allowed now"),
        ([(0x06, bytes(4))], "not allowed now"),
        ([(0x08, bytes(4))], "unknown type"),
        ([(0x04, fragment(2, b"abcd"))], "without a command"),
        ([(0x04, b"\0\0\0\1\1")], "control header"),
        ([(0x04, fragment(3, command())), (0x04, fragment(3, command()))], "within a message"),
        ([(0x04, fragment(3, command())), (0x04, fragment(2, b"ab", 3))], "two presentation"),
        ([(0x04, fragment(3, command()) + fragment(2, b"a") + fragment(2))], "two messages"),
        ([(0x04, fragment(1, bytes(50_000)))] * 2, "more than 64 KiB"),
        ([(0x04, fragment(1) * 1000)], "presentation data values"),
        ([(0x04, fragment(3, command())), *[(0x04, fragment(0) * 200)] * 6], "fragments"),
        ([(0x04, fragment(3, command())), *[(0x04, fragment(0, b"a"))] * 1100], "fragments"),
        ([(0x04, fragment(3, command((0x0110, b""))) + fragment(2, WHOLE))], "all elements"),
    ],
)
def test_every_violation_within_an_association_leaves_a_note(
    node: Listening, pdus: list[tuple[int, bytes]], words: str
) -> None:
    with Peer(node.port) as peer:
        peer.associate((CT, EXPLICIT), (VERIFICATION_CLASS, EXPLICIT))
        for kind, body in pdus:
            peer.send(kind, body)
        assert peer.receive()[:1] == b"\x07"
        assert peer.receive() == b""
    assert soon(lambda: node.inbox.read_notes() != [])
    (note,) = node.inbox.read_notes()
    assert note.kind == "protocol-violation"
    assert words in note.message
    assert store(node.port, WHOLE, UID) == 0


def test_a_message_before_the_association_is_accepted_leaves_a_note(node: Listening) -> None:
    release = struct.pack(">BBI", 0x05, 0, 4) + bytes(4)
    with Peer(node.port) as peer:
        answer = peer.associate(followed_by=release)
        while answer[:1] not in (b"", b"\x06"):
            answer = peer.receive()
    # released if the node had accepted by then, a violation otherwise
    assert answer[:1] == b"\x06" or soon(lambda: node.inbox.read_notes() != [])


def test_a_store_on_the_verification_context_is_never_a_success(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate((VERIFICATION_CLASS, EXPLICIT))
        assert peer.store(WHOLE, UID, sop_class=VERIFICATION_CLASS) == -1
    assert node.instances() == []


def test_a_request_without_context_aborts_the_association(node: Listening) -> None:
    for command in (0x0020, 0x0021, 0x0130):
        assert store(node.port, WHOLE, UID, command=command) == -1
    assert store(node.port, WHOLE, UID, context=7) == -1
    assert store(node.port, WHOLE, UID) == 0
