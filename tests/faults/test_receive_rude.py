"""Peers that violate the protocol, stall, flood or leave: no loss, no leak, no delay for others."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node import upper_layer
from node.dicom.uids import VERIFICATION_CLASS
from node.inbox import read_markers
from node.listener import StoreStatus, request, spool
from tests.support.peers import (
    CT,
    SERIES,
    Listening,
    ct,
    encode,
    listening,
    soon,
)
from tests.support.rude import SILENCE_S, Peer, store

WHOLE = encode(ct(1))
UID = f"{SERIES}.1"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Listening]:
    with listening(tmp_path / "data") as node:
        yield node


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_uid_that_is_a_path_writes_no_file(node: Listening, tmp_path: Path) -> None:
    path = "../" * 9 + "tx"
    before = {entry.name for entry in tmp_path.iterdir()}
    assert store(node.port, WHOLE.replace(UID.encode(), path.encode()), path) == 0xC000
    assert store(node.port, WHOLE, path) == 0xC000
    assert node.instances() == []
    assert {entry.name for entry in tmp_path.iterdir()} == before
    assert not list(tmp_path.rglob("tx*"))


def test_an_instance_that_differs_from_its_command_is_rejected(node: Listening) -> None:
    assert store(node.port, WHOLE, f"{UID}.9") == StoreStatus.CANNOT_UNDERSTAND
    other = ct(1)
    other.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    assert store(node.port, encode(other), UID) == StoreStatus.DATA_SET_MISMATCH
    assert (
        store(node.port, WHOLE, UID, sop_class=VERIFICATION_CLASS)
        == StoreStatus.CLASS_NOT_SUPPORTED
    )
    assert node.instances() == []
    messages = [note.message for note in node.inbox.read_notes()]
    assert len(messages) == 3


@pytest.mark.parametrize("instance", ["", "1." + "2" * 63, "a name", "1.2.3\n4"])
def test_a_command_without_a_valid_uid_is_answered_and_the_association_goes_on(
    node: Listening, instance: str
) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.store(WHOLE, instance) == StoreStatus.CANNOT_UNDERSTAND
        assert peer.store(WHOLE, UID) == StoreStatus.SUCCESS
    (note,) = node.inbox.read_notes()
    assert note.kind == "rejected-instance"


@pytest.mark.parametrize("cut", [1, 2, 500, len(WHOLE) - 60])
def test_a_truncated_data_set_is_rejected_and_the_next_is_stored(node: Listening, cut: int) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.store(WHOLE[:-cut], UID) == StoreStatus.CANNOT_UNDERSTAND
        assert peer.store(b"", UID) == StoreStatus.CANNOT_UNDERSTAND
        assert peer.store(WHOLE, UID) == StoreStatus.SUCCESS
    assert len(node.instances()) == 1


def test_an_excessive_element_length_is_rejected(node: Listening) -> None:
    assert store(node.port, WHOLE + b"\xe1\x7f\x10\x00OB\0\0\xf0\xff\xff\xff", UID) == 0xC000


def test_an_excessive_pdu_length_ends_the_connection(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.send(0x04, b"x", announced=0xFFFFFFF0)
        while pdu := peer.receive():
            assert pdu[0] == 7
    with Peer(node.port) as peer:
        peer.send(0x01, b"x", announced=0xFFFFFFF0)
        assert peer.receive() == b""
    assert store(node.port, WHOLE, UID) == 0


def test_bytes_beyond_the_largest_instance_are_counted_and_discarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(tmp_path, largest_instance=4000) as node, Peer(node.port) as peer:
        peer.associate()
        large = encode(ct(2, size=1024))
        assert peer.store(large, f"{SERIES}.2") == StoreStatus.TOO_LARGE
        assert peer.store(WHOLE, UID) == StoreStatus.SUCCESS
    (note,) = node.inbox.read_notes()
    assert note.message == "larger than node.largest_instance allows"
    (line,) = [record for record in caplog.records if "instance" in vars(record)]
    assert vars(line)["instance"] == f"{SERIES}.2"
    assert vars(line)["bytes"] == len(large)


def test_a_large_instance_goes_through_a_file(
    node: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 1000)
    large = encode(ct(1, size=512))
    assert store(node.port, large, UID) == 0
    (file,) = node.instances()
    assert file.path.read_bytes().endswith(large)
    # a marker is written there for a moment
    assert soon(lambda: list(node.inbox.temporary_folder.iterdir()) == [])


def test_requests_before_the_response_lose_no_instance(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        for number in range(1, 31):
            peer.request(f"{SERIES}.{number}")
            peer.fragments(encode(ct(number)))
        answers = [peer.status()]
        while answers[-1] != -1 and len(answers) < 30:
            answers.append(peer.status())
    assert len(node.instances()) >= answers.count(0)


def test_a_hundred_silent_connections_block_no_sender(
    node: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "REQUEST_SECONDS", 10 * SILENCE_S)
    silent = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(100)]
    drip = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(20)]
    for connection in drip:
        connection.sendall(b"\x01")
    for _ in range(3):  # each waits `SILENCE_S` at most, less than the silent ones may take
        assert store(node.port, WHOLE, UID) == 0
    for connection in silent + drip:
        connection.close()


def test_health_checks_leave_nothing_behind(node: Listening) -> None:
    store(node.port, WHOLE, UID)
    assert soon(lambda: threading.active_count() <= 4)
    threads, files = threading.active_count(), open_files()
    for number in range(200):
        with socket.create_connection(("127.0.0.1", node.port)) as connection:
            if number % 3 == 1:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if number % 3 == 2:
                connection.sendall(b"\x01\x00\x00")
    assert soon(lambda: threading.active_count() <= threads)
    assert soon(lambda: open_files() <= files)


def test_associations_leave_nothing_behind(node: Listening) -> None:
    store(node.port, WHOLE, UID)
    assert soon(lambda: threading.active_count() <= 4)
    threads, files = threading.active_count(), open_files()
    for number in range(30):
        with Peer(node.port, called="WRONG" if number % 3 == 0 else "SEGNODE") as peer:
            peer.associate()
            if number % 3 == 1:
                peer.release()
    assert soon(lambda: threading.active_count() <= threads)
    assert soon(lambda: open_files() <= files)


def test_a_peer_that_stalls_within_a_pdu_is_disconnected(
    node: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upper_layer, "PDU_SECONDS", 0.3)
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.store(WHOLE, UID) == 0
        peer.send(0x04, b"half", announced=1000)
        (folder,) = node.inbox.series_folders()
        assert soon(lambda: [m.state for m in read_markers(folder.path)] == ["aborted"])


def test_associations_are_limited_until_others_end(tmp_path: Path) -> None:
    with listening(tmp_path, max_associations_per_host=2) as node:
        first, second, third = (Peer(node.port) for _ in range(3))
        assert [first.associate()[:1], second.associate()[:1]] == [b"\x02", b"\x02"]
        answer = third.associate()
        assert (answer[0], tuple(answer[7:10])) == (3, (2, 3, 2))
        first.release()
        for peer in (first, third):
            peer.socket.close()

        def is_welcome() -> bool:
            with Peer(node.port) as again:
                return again.associate()[:1] == b"\x02"

        assert soon(is_welcome)
        second.socket.close()


@pytest.mark.parametrize("how", ["abort", "vanish", "release"])
def test_the_marker_has_the_end_of_the_association(node: Listening, how: str) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        assert peer.store(WHOLE, UID) == 0
        (folder,) = node.inbox.series_folders()
        assert [marker.state for marker in read_markers(folder.path)] == ["open"]
        if how == "abort":
            peer.send(0x07, bytes(4))
        elif how == "release":
            peer.release()
    state = "released" if how == "release" else "aborted"
    assert soon(lambda: [marker.state for marker in read_markers(folder.path)] == [state])


def test_a_peer_that_leaves_within_an_instance_stores_nothing_of_it(node: Listening) -> None:
    with Peer(node.port) as peer:
        peer.associate()
        peer.request(UID)
        peer.send(0x04, b"\0\0\x10\x02\x01\x00" + WHOLE[:4096])
    time.sleep(0.2)
    assert node.instances() == []
    assert store(node.port, WHOLE, UID) == 0


def test_an_association_without_supported_contexts_leaves_a_note(node: Listening) -> None:
    with Peer(node.port) as peer:
        assert peer.associate((CT, "1.2.840.10008.1.2.1.99"))[:1] == b"\x02"
        peer.release()
    assert [note.kind for note in node.inbox.read_notes()] == ["no-context"]


def test_a_second_listener_is_refused(node: Listening) -> None:
    from node import listener  # noqa: PLC0415  only here
    from node.errors import Misconfigured  # noqa: PLC0415
    from tests.support.peers import configuration  # noqa: PLC0415

    with pytest.raises(Misconfigured, match="another listener"):
        listener.run(configuration(node.root))
    with pytest.raises(Misconfigured, match="cannot listen"):
        listener.run(configuration(node.root / "other", port=node.port))
