"""For any bytes, success is answered only for stored, well-formed instances."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from node.dicom.uids import is_uid
from node.inbox import InstanceFile, inputs_digest, series_key, sop_key
from node.listener.statuses import Unacceptable
from node.listener.structure import identify
from tests.support.peers import BIG, EXPLICIT, IMPLICIT, SERIES, Listening, ct, encode, listening
from tests.support.rude import Peer

WHOLE = {syntax: encode(ct(1, size=8), syntax) for syntax in (IMPLICIT, EXPLICIT, BIG)}
Cuts = st.lists(
    st.tuples(
        st.sampled_from(("flip", "cut", "insert", "double")),
        st.floats(0, 1),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, cuts: list[tuple[str, float, bytes]]) -> bytes:
    for action, position, content in cuts:
        at = int(position * len(data))
        if action == "flip":
            data = data[:at] + content + data[at + len(content) :]
        elif action == "cut":
            data = data[:at]
        elif action == "insert":
            data = data[:at] + content + data[at:]
        else:
            data = data[:at] + data[at : at + 20 * len(content)] + data[at:]
    return data


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(WHOLE)), Cuts)
def test_damage_is_rejected_or_harmless(syntax: str, cuts: list[tuple[str, float, bytes]]) -> None:
    try:
        identity = identify(memoryview(damaged(WHOLE[syntax], cuts)), syntax)
    except Unacceptable:
        return
    assert all(is_uid(uid) for uid in (identity.study, identity.series, identity.sop_instance))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(sorted(WHOLE)))
def test_noise_is_no_data_set(noise: bytes, syntax: str) -> None:
    with pytest.raises(Unacceptable):
        identify(memoryview(noise), syntax)


@pytest.fixture(scope="module")
def node() -> Iterator[Listening]:
    with tempfile.TemporaryDirectory() as folder, listening(Path(folder)) as node:
        yield node


@settings(max_examples=60, deadline=None)
@given(Cuts)
def test_success_is_answered_only_for_stored_instances(
    node: Listening, cuts: list[tuple[str, float, bytes]]
) -> None:
    data = damaged(WHOLE[EXPLICIT], cuts)
    before = {file.path for file in node.instances()}
    with Peer(node.port) as peer:
        peer.associate()
        status = peer.store(data, f"{SERIES}.1")
        if status != -1:
            peer.release()
    after = node.instances()
    if status == 0:
        name = sop_key(f"{SERIES}.1")
        stored = [file for file in after if file.path.read_bytes().endswith(data)]
        assert any(file.sop_key == name for file in stored)
        dcmread(stored[0].path, force=False)
    else:
        assert {file.path for file in after} == before


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.binary(min_size=1, max_size=200))
def test_noise_instead_of_pdus_affects_no_other_peer(
    node: Listening, chance: random.Random, noise: bytes
) -> None:
    with Peer(node.port) as rude:
        if chance.random() < 0.5:
            rude.associate()
        rude.send(chance.randrange(1, 8), noise, chance.choice([None, 0xFFFFFFF0, 1 << 21]))
    with Peer(node.port, calling="POLITE") as polite:
        assert polite.associate()[:1] == b"\x02"
        polite.release()


@given(
    st.lists(
        st.tuples(st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 9)),
        unique=True,
    )
)
def test_the_inputs_digest_is_a_set(keys: list[tuple[str, int]]) -> None:
    files = [InstanceFile(Path("x"), sop, f"{content:032x}", 1) for sop, content in keys]
    shuffled = list(files)
    random.Random(1).shuffle(shuffled)
    assert inputs_digest(files) == inputs_digest(shuffled)
    assert len(files) == 0 or inputs_digest(files) != inputs_digest(files[1:])


@given(st.text(), st.text())
def test_no_uid_becomes_part_of_a_path(study: str, series: str) -> None:
    key = series_key(
        study.encode("ascii", "replace").decode(), series.encode("ascii", "replace").decode()
    )
    assert len(key) == 32
    assert set(key) <= set("0123456789abcdef")
