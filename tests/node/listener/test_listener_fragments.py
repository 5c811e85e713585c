"""A data set arrives unchanged or not at all, however it is cut into fragments and packets."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.peers import SERIES, ct, encode, listening, soon
from tests.support.rude import Peer

INSTANCE = f"{SERIES}.1"


def item(data: bytes, flag: int, context: int = 1) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, flag) + data


def in_one_item(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data, 2))


def in_many_small_ones(peer: Peer, data: bytes) -> None:
    peer.fragments(data, size=100)


def two_items_in_a_pdu(peer: Peer, data: bytes) -> None:
    half = len(data) // 2
    peer.send(0x04, item(data[:half], 0) + item(data[half:], 2))


def with_an_empty_last_fragment(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data, 0))
    peer.send(0x04, item(b"", 2))


def with_an_empty_one_in_between(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:700], 0))
    peer.send(0x04, item(b"", 0))
    peer.send(0x04, item(data[700:], 2))


def with_reserved_bits_in_the_control_header(peer: Peer, data: bytes) -> None:
    """PS3.8 E.2: bits 2 to 7 are to be ignored."""
    peer.send(0x04, item(data[:500], 0xF0))
    peer.send(0x04, item(data[500:], 0xF2))


def packet_by_packet(peer: Peer, data: bytes) -> None:
    body = item(data, 2)
    whole = struct.pack(">BBI", 4, 0, len(body)) + body
    for at in range(0, len(whole), 401):
        peer.socket.sendall(whole[at : at + 401])
        time.sleep(0.001)


CUTS: list[Callable[[Peer, bytes], None]] = [
    in_one_item,
    in_many_small_ones,
    two_items_in_a_pdu,
    with_an_empty_last_fragment,
    with_an_empty_one_in_between,
    with_reserved_bits_in_the_control_header,
    packet_by_packet,
]


@pytest.mark.parametrize("cut", CUTS, ids=lambda f: f.__name__)
def test_every_fragmentation_arrives_complete_and_so_does_the_next_image(
    tmp_path: Path, cut: Callable[[Peer, bytes], None]
) -> None:
    images = [encode(ct(number, size=48)) for number in (1, 2)]
    with listening(tmp_path) as listener:
        with Peer(listener.port) as peer:
            peer.associate()
            for number, data in enumerate(images, 1):
                peer.request(f"{SERIES}.{number}")
                cut(peer, data)
                assert peer.status() == 0
            peer.release()
        files = sorted(file.path.read_bytes() for file in listener.instances())
    assert len(files) == 2
    for data in images:
        assert sum(file.endswith(data) for file in files) == 1


def of_another_context(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:100], 0))
    peer.send(0x04, item(data[100:], 2, context=3))


def longer_than_its_pdu(peer: Peer, data: bytes) -> None:
    peer.send(0x04, struct.pack(">IBB", len(data) + 900, 1, 2) + data)


def shorter_than_its_pdu(peer: Peer, data: bytes) -> None:
    peer.send(0x04, struct.pack(">IBB", len(data) - 900, 1, 2) + data)


def of_an_absurd_length(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:100], 0))
    peer.send(0x04, b"", announced=1 << 31)


def broken_off(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:100], 0))
    peer.send(0x04, item(data[100:], 2)[:200], announced=len(data))
    peer.socket.close()


def with_an_unknown_pdu_in_between(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:100], 0))
    peer.send(0x99, b"what")


def released_in_between(peer: Peer, data: bytes) -> None:
    peer.send(0x04, item(data[:100], 0))
    peer.send(0x05, bytes(4))


BROKEN: list[Callable[[Peer, bytes], None]] = [
    of_another_context,
    longer_than_its_pdu,
    shorter_than_its_pdu,
    of_an_absurd_length,
    broken_off,
    with_an_unknown_pdu_in_between,
    released_in_between,
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda f: f.__name__)
def test_broken_fragments_store_nothing_wrong_and_the_listener_goes_on(
    tmp_path: Path, broken: Callable[[Peer, bytes], None]
) -> None:
    data = encode(ct(1, size=48))
    with listening(tmp_path) as listener:
        with Peer(listener.port) as peer:
            peer.associate()
            peer.request(INSTANCE)
            broken(peer, data)
        with Peer(listener.port) as peer:
            peer.associate()
            assert peer.store(encode(ct(2, size=48)), f"{SERIES}.2") == 0
            peer.release()
        assert soon(lambda: len(listener.instances()) >= 1)
        files = [file.path.read_bytes() for file in listener.instances()]
    assert any(file.endswith(encode(ct(2, size=48))) for file in files)
    # a whole data set is one, whatever it came under; a part of one never is
    assert all(file.endswith((data, encode(ct(2, size=48)))) for file in files)
