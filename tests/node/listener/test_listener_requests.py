"""Association requests of odd, unknown and hostile peers, over real sockets."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.dicom.uids import VERIFICATION_CLASS
from node.inbox import Note
from node.listener import request
from tests.support.peers import (
    CT,
    EXPLICIT,
    SERIES,
    Listening,
    ct,
    encode,
    known,
    listening,
    soon,
)
from tests.support.rude import Peer

ACCEPTED, REJECTED, ABORTED = 2, 3, 7
PRIVATE = "1.3.46.670589.11.0.0.12.2"
FIXED = b"\0\1\0\0" + b"SEGNODE".ljust(16) + b"CT01".ljust(16) + bytes(32)  # PS3.8 9.3.2
FIND = str(StudyRootQueryRetrieveInformationModelFind)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Listening]:
    with listening(tmp_path / "data") as node:
        yield node


def notes_of(node: Listening) -> list[Note]:
    """Wait for notes, which are left after the response to the peer."""
    assert soon(lambda: list((node.root / "inbox" / "notes").iterdir()) != [])
    return node.inbox.read_notes()


@pytest.mark.parametrize(
    ("called", "calling"),
    [
        (b"SEGNODE".ljust(16, b"\0"), b"CT01"),
        (b"SEGNODE", b"CT01".ljust(16, b"\0")),
        (b"SEGNODE\0        ", b"CT01\0\0      xyz"),
        (b"  SEGNODE", b" CT01"),
    ],
)
def test_null_bytes_and_blanks_around_titles_have_no_meaning(
    tmp_path: Path, called: bytes, calling: bytes
) -> None:
    with (
        listening(tmp_path, callers=known("CT01")) as node,
        Peer(node.port, calling, called) as ct01,
    ):
        answer = ct01.associate()
        assert answer[0] == ACCEPTED
        assert answer[10:42] == called.ljust(16) + calling.ljust(16)
        assert ct01.store(encode(ct(1)), f"{SERIES}.1") == 0


@pytest.mark.parametrize("calling", ["RÖNTGEN".encode("latin-1"), b"", bytes(16), b"A\nB"])
def test_odd_calling_titles_are_accepted_from_any_caller(node: Listening, calling: bytes) -> None:
    with Peer(node.port, calling) as peer:
        assert peer.associate()[0] == ACCEPTED
        assert peer.store(encode(ct(1)), f"{SERIES}.1") == 0


def test_a_title_beyond_ascii_can_be_configured(tmp_path: Path) -> None:
    calling = "RÖNTGEN".encode("latin-1")
    with listening(tmp_path / "a", callers=known("CT01")) as node:
        with Peer(node.port, calling) as peer:
            assert peer.associate()[0] == REJECTED
        (note,) = notes_of(node)
        assert '{ae: "R?NTGEN", host: 127.0.0.1}' in note.advice
    callers = known("R?NTGEN")
    with listening(tmp_path / "b", callers=callers) as node, Peer(node.port, calling) as peer:
        assert peer.associate()[0] == ACCEPTED


def connected(node: Listening, content: bytes) -> bytes:
    """Send bytes to a new connection; return what comes back until it is closed."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=120) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x16\x03\x01\x00\xc8", "TLS"),
        (b"GET / HTTP/1.0\r\n\r\n", "no DICOM"),
        (b"\x01\x00\x00\x00\x00\x02ab", "too short"),
        (b"\x01\x00\x00\x00\x01\x00ab", "cut off"),
    ],
)
def test_every_other_beginning_leaves_a_note(node: Listening, content: bytes, reason: str) -> None:
    connected(node, content)
    (note,) = notes_of(node)
    assert (note.kind, note.host) == ("invalid-request", "127.0.0.1")
    assert reason in note.message


def test_a_silent_connection_leaves_a_note(
    node: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "REQUEST_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", node.port)) as connection:
        assert connection.recv(1) == b""
    assert notes_of(node)[0].kind == "invalid-request"


def test_a_health_check_leaves_no_note(node: Listening) -> None:
    assert connected(node, b"") == b""
    with Peer(node.port) as peer:
        peer.associate()
    assert node.inbox.read_notes() == []


def test_a_request_that_cannot_be_decoded_is_aborted_with_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.send(0x01, FIXED + b"\x20\0\0\x02\1\0")
        assert peer.receive()[0] == ABORTED
    (note,) = notes_of(node)
    assert (note.kind, note.calling_ae) == ("protocol-violation", "CT01")


def test_a_request_without_contexts_leaves_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.send(0x01, FIXED)
        peer.receive()
    assert notes_of(node)


def test_a_request_beyond_the_limits_is_aborted_with_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        assert peer.associate(padding=150_000)[:1] == bytes((ABORTED,))
    with Peer(node.port) as peer:
        contexts = [(f"1.2.3.{number}", str(EXPLICIT)) for number in range(129)]
        assert peer.associate(*contexts)[:1] == bytes((ABORTED,))
    with Peer(node.port) as peer:
        assert peer.associate(*contexts[:128], padding=100_000)[0] == ACCEPTED
    assert soon(lambda: len(node.inbox.read_notes()) == 2)


def test_a_stranger_is_rejected_before_its_request_is_read(tmp_path: Path) -> None:
    with listening(tmp_path, callers=known("CT01")) as node, Peer(node.port, "STRANGER") as peer:
        peer.send(0x01, b"\0\1\0\0" + b"SEGNODE".ljust(16) + b"STRANGER".ljust(16), 1_000_000)
        peer.socket.sendall(bytes(32))
        answer = peer.receive()
        assert (answer[0], tuple(answer[7:10])) == (REJECTED, (1, 1, 3))


def test_a_flood_of_strangers_delays_no_caller_and_leaves_few_notes(tmp_path: Path) -> None:
    stop = threading.Event()

    def flood(port: int, number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            with Peer(port, f"X{number}-{count}") as peer:
                peer.associate(padding=100_000)

    with listening(tmp_path, callers=known("CT01")) as node:
        floods = [threading.Thread(target=flood, args=(node.port, number)) for number in range(4)]
        for thread in floods:
            thread.start()
        assert soon(lambda: len(node.inbox.read_notes()) >= 2)
        with Peer(node.port, "CT01") as peer:  # the flood goes on meanwhile
            assert peer.associate((VERIFICATION_CLASS, EXPLICIT))[0] == ACCEPTED
        stop.set()
        for thread in floods:
            thread.join()
        notes = node.inbox.read_notes()
    assert 2 <= len(notes) <= 6


def test_an_image_of_a_private_class_is_kept(node: Listening) -> None:
    image = ct(1)
    image.SOPClassUID = PRIVATE
    with Peer(node.port) as peer:
        assert peer.associate((PRIVATE, EXPLICIT), (CT, EXPLICIT))[0] == ACCEPTED
        assert peer.store(encode(image), f"{SERIES}.1", sop_class=PRIVATE) == 0
    assert len(node.instances()) == 1


def test_rejected_contexts_leave_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        assert peer.associate((CT, EXPLICIT), (FIND, EXPLICIT))[0] == ACCEPTED
        peer.release()
    (note,) = notes_of(node)
    assert note.kind == "rejected-context"
    assert "FIND" in note.message
