"""TLS from callers: DCMTK and raw connections against a listener, over real sockets."""

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node.inbox import Note
from node.tls import connect
from tests.support.certificates import Party, days, pair
from tests.support.peers import (
    SERIES,
    Listening,
    ct,
    dcmtk,
    encode,
    known,
    listening,
    needs_dcmtk,
    soon,
    write_slices,
)
from tests.support.rude import SILENCE_S, Peer

ACCEPTED, REJECTED, ABORTED = 2, 3, 7


@contextlib.contextmanager
def secured(tmp_path: Path, node: Party, **choices: Any) -> Iterator[tuple[Listening, int]]:
    """Run a listener with TLS; yield it and its port with TLS."""
    tls = node.config(**choices.pop("tls", {}))
    with listening(tmp_path / "data", tls=tls, **choices) as running:
        yield running, tls.port


def notes_of(node: Listening) -> list[Note]:
    """Wait for notes, which are left after the response to the peer."""
    assert soon(lambda: list((node.root / "inbox" / "notes").iterdir()) != [])
    return node.inbox.read_notes()


def context_of(peer: Party | None, trust: Party) -> ssl.SSLContext:
    """Return the context of a caller with the certificate of `peer`."""
    context = ssl.create_default_context(cafile=str(trust.trust))
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if peer is not None:
        context.load_cert_chain(peer.certificate, peer.key)
    return context


@contextlib.contextmanager
def caller(port: int, peer: Party | None, trust: Party, calling: str = "RUDE") -> Iterator[Peer]:
    """Connect a scripted peer with TLS; the server may refuse it at its first message."""
    with Peer(port, calling) as plain:
        plain.socket = context_of(peer, trust).wrap_socket(plain.socket)
        yield plain


def refused(port: int, peer: Party | None, trust: Party) -> None:
    """Connect, and expect that the connection ends without an association."""
    with contextlib.suppress(OSError), caller(port, peer, trust) as sender:
        assert sender.associate() == b""


@needs_dcmtk
@pytest.mark.dcmtk
@pytest.mark.parametrize("profile", ["bcp195", "bcp195-modified"])
@pytest.mark.parametrize("theirs", ["+py", "+px", "+pz"])
def test_storescu_sends_with_tls(tmp_path: Path, profile: str, theirs: str) -> None:
    node, scu = pair(tmp_path)
    files = write_slices(tmp_path / "slices", 3)
    with secured(tmp_path, node, tls={"profile": profile}) as (running, port):
        done = dcmtk("storescu", port, *files, tls=[theirs, *scu.dcmtk()])
        assert done.returncode == 0, done.stderr
        assert len(running.instances()) == 3
        assert running.inbox.read_notes() == []


@needs_dcmtk
@pytest.mark.dcmtk
def test_storescu_is_refused_without_a_trusted_certificate(tmp_path: Path) -> None:
    node, scu = pair(tmp_path)
    stranger = Party(tmp_path, "STRANGER").trusts(node)
    with secured(tmp_path, node) as (running, port):
        assert dcmtk("echoscu", port, tls=scu.dcmtk()).returncode == 0
        assert dcmtk("echoscu", port, tls=stranger.dcmtk()).returncode != 0
        assert dcmtk("echoscu", port, tls=["+tla", *scu.dcmtk()[3:]]).returncode != 0
        kinds = {(note.kind, bool(note.advice)) for note in notes_of(running)}
    assert kinds == {("failed-handshake", True)}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_and_small_instances_arrive_whole(tmp_path: Path, version: ssl.TLSVersion) -> None:
    node, peer = pair(tmp_path)
    context = context_of(peer, node)
    context.minimum_version = context.maximum_version = version
    with secured(tmp_path, node) as (running, port), Peer(port) as sender:
        sender.socket = context.wrap_socket(sender.socket)
        assert sender.associate()[0] == ACCEPTED
        for number, size in enumerate((16, 700, 32), start=1):
            data = encode(ct(number, size=size))
            assert sender.store(data, f"{SERIES}.{number}") == 0
        sender.release()
        assert len(running.instances()) == 3


def test_a_stall_within_a_tls_record_ends_with_the_association(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    with secured(tmp_path, node) as (_, port):
        with caller(port, peer, node) as sender:
            assert sender.associate()[0] == ACCEPTED
            raw = socket.socket(fileno=sender.socket.detach())
            raw.sendall(b"\x17\x03\x03\x40\x00" + bytes(100))  # of a record of 16 KiB
            raw.close()
        with caller(port, peer, node) as sender:
            assert sender.associate()[0] == ACCEPTED
            sender.release()


@pytest.mark.parametrize("trouble", ["none", "unknown", "expired", "early", "wrong purpose"])
def test_a_bad_certificate_is_refused_in_words(tmp_path: Path, trouble: str) -> None:
    node, peer = pair(tmp_path)
    sender: Party | None = peer
    words = {
        "none": "presented no certificate",
        "unknown": "unknown authority",
        "expired": "has expired",
        "early": "not valid yet",
        "wrong purpose": "not for this purpose",
    }
    if trouble == "none":
        sender = None
    elif trouble == "unknown":
        sender = Party(tmp_path, "STRANGER")
    elif trouble == "expired":
        peer.renew(days(-1))
    elif trouble == "early":
        peer.renew(days(40), begins=days(20))
    else:
        peer.renew_for_servers()
    with secured(tmp_path, node) as (running, port):
        refused(port, sender, node)
        (note,) = notes_of(running)
    assert (note.kind, note.host) == ("failed-handshake", "127.0.0.1")
    assert words[trouble] in note.message
    assert note.advice


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_version_is_refused_in_words(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    context = context_of(peer, node)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secured(tmp_path, node) as (running, port):
        with (
            pytest.raises(ssl.SSLError),
            socket.create_connection(("127.0.0.1", port)) as connection,
        ):
            context.wrap_socket(connection)
        (note,) = notes_of(running)
    assert "in common" in note.message


@pytest.mark.parametrize(
    ("certificate", "is_accepted"),
    [("", True), ("modality", True), ("127.0.0.1", True), ("CT02", False), ("0" * 64, False)],
)
def test_a_certificate_is_bound_to_a_caller(
    tmp_path: Path, certificate: str, is_accepted: bool
) -> None:
    node, peer = pair(tmp_path)
    callers = known("CT01", certificate=certificate)
    with secured(tmp_path, node, callers=callers) as (running, port):
        with caller(port, peer, node, "CT01") as sender:
            assert sender.associate()[0] == (ACCEPTED if is_accepted else REJECTED)
        notes = [] if is_accepted else notes_of(running)
    for note in notes:
        assert note.kind == "rejected-association"
        advised = known("CT01", certificate=note.advice.split()[-1])
        with (
            secured(tmp_path / "b", node, callers=advised) as (_, port),
            caller(port, peer, node, "CT01") as sender,
        ):
            assert sender.associate()[0] == ACCEPTED, "the advice has the fingerprint"


def test_a_caller_with_a_certificate_may_not_call_without_tls(tmp_path: Path) -> None:
    node, _ = pair(tmp_path)
    with secured(tmp_path, node, callers=known("CT01", certificate="MODALITY")) as (running, port):
        with Peer(running.port, "CT01") as sender:
            assert sender.associate()[0] == REJECTED
        (note,) = notes_of(running)
    assert str(port) in note.advice


def test_an_unknown_caller_gets_a_line_with_its_certificate(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    with secured(tmp_path, node, callers=known("CT01")) as (running, port):
        with caller(port, peer, node, "CT07") as sender:
            assert sender.associate()[0] == REJECTED
        (note,) = notes_of(running)
    assert "certificate: " in note.advice


def test_dicom_without_tls_on_the_port_for_tls_is_named(tmp_path: Path) -> None:
    node, _ = pair(tmp_path)
    with secured(tmp_path, node) as (running, port):
        with Peer(port) as sender:
            assert sender.associate()[0] == ABORTED
        (note,) = notes_of(running)
    assert note.kind == "invalid-request"
    assert "without TLS" in note.message
    assert note.advice


def test_tls_on_the_port_without_it_is_named(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    with secured(tmp_path, node) as (running, _):
        refused(running.port, peer, node)
        (note,) = notes_of(running)
    assert note.kind == "invalid-request"
    assert "TLS handshake" in note.message


def test_a_health_check_leaves_no_note(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    with secured(tmp_path, node) as (running, port):
        socket.create_connection(("127.0.0.1", port)).close()
        with caller(port, peer, node) as sender:
            sender.associate()
        assert running.inbox.read_notes() == []


def test_a_hundred_silent_clients_delay_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "HANDSHAKE_SECONDS", 10 * SILENCE_S)
    node, peer = pair(tmp_path)
    with secured(tmp_path, node) as (running, port), contextlib.ExitStack() as silent:
        for number in range(100):
            connection = socket.create_connection(("127.0.0.1", port))
            silent.enter_context(connection)
            if number % 2:
                connection.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a handshake
        # each waits `SILENCE_S` at most, less than the silent ones may take
        with caller(port, peer, node) as sender:
            assert sender.associate()[0] == ACCEPTED
            assert sender.store(encode(ct(1)), f"{SERIES}.1") == 0
        with Peer(running.port) as plain:
            assert plain.associate()[0] == ACCEPTED


def test_a_handshake_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "HANDSHAKE_SECONDS", 0.2)
    node, _ = pair(tmp_path)
    with secured(tmp_path, node) as (running, port):
        with socket.create_connection(("127.0.0.1", port), timeout=240) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01")
            assert connection.recv(1) == b""
        (note,) = notes_of(running)
    assert note.kind == "failed-handshake"
    assert "in time" in note.message


def test_the_port_without_tls_can_be_closed(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    with secured(tmp_path, node, tls={"only": True}) as (running, port):
        assert running.port == port
        with caller(port, peer, node) as sender:
            assert sender.associate()[0] == ACCEPTED


def test_new_files_are_used_without_a_restart(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    newcomer = Party(tmp_path, "NEW").trusts(node)
    with secured(tmp_path, node) as (_, port):
        before = presented(port, peer, node)
        refused(port, newcomer, node)
        node.renew()
        node.trusts(peer, newcomer)
        with caller(port, newcomer, node) as sender:
            assert sender.associate()[0] == ACCEPTED
        assert presented(port, peer, node) != before


def presented(port: int, peer: Party, node: Party) -> bytes:
    """Return the certificate of the listener."""
    with caller(port, peer, node) as sender:
        assert isinstance(sender.socket, ssl.SSLSocket)
        return sender.socket.getpeercert(binary_form=True) or b""


def test_a_caller_whose_certificate_ends_soon_leaves_a_note(tmp_path: Path) -> None:
    node, peer = pair(tmp_path)
    peer.renew(days(5))
    with secured(tmp_path, node) as (running, port):
        with caller(port, peer, node, "CT01") as sender:
            assert sender.associate()[0] == ACCEPTED
        (note,) = notes_of(running)
    assert (note.kind, note.calling_ae) == ("certificate-ends", "CT01")
