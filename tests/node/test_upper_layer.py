"""Connections with TLS below an association: what counts as data, and what is read."""

import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from node.upper_layer import LimitedSocket
from tests.support.certificates import HOST, pair
from tests.support.peers import soon


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[LimitedSocket, ssl.SSLSocket]]:
    """Yield a connection of ours with TLS 1.3, and the peer's end of it."""
    node, peer = pair(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(peer.certificate, peer.key)
    server.num_tickets = 4  # sent at the end of the handshake
    client = ssl.create_default_context(cafile=str(node.trust))
    ours, theirs = socket.socketpair()
    accepted: list[ssl.SSLSocket] = []
    thread = threading.Thread(
        target=lambda: accepted.append(server.wrap_socket(theirs, server_side=True))
    )
    thread.start()
    secured = client.wrap_socket(ours, server_hostname=HOST)
    thread.join()
    association = SimpleNamespace(dul=SimpleNamespace(event_queue=queue.Queue()))
    yield LimitedSocket(association, secured), accepted[0]
    secured.close()
    accepted[0].close()


def test_session_tickets_are_no_data(ends: tuple[LimitedSocket, ssl.SSLSocket]) -> None:
    ours, theirs = ends
    is_ready = [ours.ready]  # a thread that reads now would block
    theirs.sendall(b"0123456789")
    assert soon(lambda: ours.ready)
    assert ours.recv(6) == b"012345"
    is_ready.append(ours.ready)  # the rest of the record is decrypted already
    assert ours.recv(4) == b"6789"
    is_ready.append(ours.ready)
    assert is_ready == [False, True, False]


def test_the_end_of_a_connection_counts_as_data(
    ends: tuple[LimitedSocket, ssl.SSLSocket],
) -> None:
    ours, theirs = ends
    theirs.close()
    assert soon(lambda: ours.ready)
    assert ours.recv(6) == b""
    assert ours.is_unanswered


def test_a_peer_learns_that_the_end_was_intended(
    ends: tuple[LimitedSocket, ssl.SSLSocket],
) -> None:
    ours, theirs = ends
    theirs.__dict__["suppress_ragged_eofs"] = False  # without close_notify, recv would raise
    ours.close()
    assert theirs.recv(1) == b""


def test_bytes_in_the_clear_end_the_connection(
    ends: tuple[LimitedSocket, ssl.SSLSocket],
) -> None:
    ours, theirs = ends
    assert ours.event_queue.get_nowait() == "Evt5", "the connection, as pynetdicom counts it"
    raw = socket.socket(fileno=theirs.detach())
    raw.sendall(b"\4\0\0\0\0\x0c" + bytes(12))
    assert soon(lambda: ours.ready or not ours.event_queue.empty())
    assert ours.event_queue.get_nowait() == "Evt17"
    assert not ours.ready
    raw.close()
