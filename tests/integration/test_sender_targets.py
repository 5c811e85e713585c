"""The sender and its loop with scripted targets, for rare behaviour of a PACS."""

import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from pynetdicom.events import Event

from node import queue, sender
from node.config import Target
from node.config.units import Seconds
from node.dicom.uids import BINARY_SEG_CLASS
from node.errors import (
    Defect,
    NodeError,
    NoResponse,
    NotConfirmed,
    PeerBusy,
    PeerUnreachable,
    RefusedByTarget,
    VerificationFailed,
)
from node.queue import DeliverResult
from node.sender.peer import Patience, Peer, association
from node.sender.reencode import reencoded
from node.sender.store import deliver
from node.states import State
from tests.support.delivering import PATIENT, an_object, at, make_post, states
from tests.support.orthanc import free_port
from tests.support.peers import dcmtk_tool, environment, needs_dcmtk, soon
from tests.support.targets import FIND, Scripted, scripted_target

# pynetdicom leaves the socket of a rejected association to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LOCAL = "127.0.0.1"


def attempt(
    peer: Scripted, folder: Path, patience: Patience = PATIENT, **changes: Any
) -> DeliverResult:
    payload = an_object(folder, "pacs")
    target = at(peer.port, **changes)
    return deliver(Peer("pacs", target, "SEGNODE", patience), payload, folder / payload.file)


@pytest.mark.parametrize("code", [0x0000, 0x0111, 0xB000, 0xB006, 0xB007])
def test_a_stored_object_is_delivered_with_its_warning(tmp_path: Path, code: int) -> None:
    with scripted_target(store=code) as peer:
        result = attempt(peer, tmp_path)
    assert result.confirmed_by == "query"
    assert f"0x{code:04X}" in result.status
    assert ("warns" in result.note) == (code >= 0xB000)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0xA700, PeerBusy),
        (0xA7AB, PeerBusy),
        (0x0110, PeerBusy),
        (0x0122, RefusedByTarget),
        (0x0124, RefusedByTarget),
        (0xA900, RefusedByTarget),
        (0xC000, RefusedByTarget),
        (0xC123, RefusedByTarget),
    ],
)
def test_a_failure_status_raises_its_error_with_the_name(
    tmp_path: Path, code: int, kind: type[NodeError]
) -> None:
    with scripted_target(store=code) as peer:
        with pytest.raises(kind, match=f"0x{code:04X}"):
            attempt(peer, tmp_path)
        assert peer.queried == []


def test_success_without_a_match_of_the_query_is_not_confirmed(tmp_path: Path) -> None:
    with scripted_target(finds=False) as peer:
        with pytest.raises(NotConfirmed, match="does not find"):
            attempt(peer, tmp_path)
        assert len(peer.queried) == 2


def test_a_target_without_queries_gets_an_unconfirmed_delivery(tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        result = attempt(peer, tmp_path)
    assert not result.confirmed_by
    assert result.note == "the target answers no queries from us"


def test_a_target_that_refuses_queries_gets_an_unconfirmed_delivery(tmp_path: Path) -> None:
    with scripted_target(find_status=0xC000) as peer:
        result = attempt(peer, tmp_path)
    assert not result.confirmed_by
    assert result.note == "the target refuses queries from us"


def test_a_target_with_confirm_none_is_not_queried(tmp_path: Path) -> None:
    with scripted_target() as peer:
        result = attempt(peer, tmp_path, confirm="none")
        assert (result.confirmed_by, peer.queried) == ("", [])
    assert "targets.pacs.confirm" in result.note


def test_a_peer_that_aborts_during_a_delivery_is_retried(tmp_path: Path) -> None:
    def hang_up(event: Event) -> int:
        event.assoc.abort()
        return 0x0000

    gone = pytest.raises(NoResponse, match="before it answered C-STORE")
    with scripted_target(store=hang_up) as peer, gone:
        attempt(peer, tmp_path)


def test_a_peer_without_response_is_retried(tmp_path: Path) -> None:
    over = threading.Event()

    def think(_: Event) -> int:
        over.wait(60.0)
        return 0x0000

    hasty = replace(PATIENT, answer_s=0.5)
    with scripted_target(store=think) as peer:
        with pytest.raises(NoResponse):
            attempt(peer, tmp_path, hasty)
        over.set()


@pytest.mark.parametrize("contexts", [(), (CTImageStorage,), (FIND,), (CTImageStorage, FIND)])
def test_a_target_without_a_context_for_seg_refuses_permanently(
    tmp_path: Path, contexts: tuple[str, ...]
) -> None:
    with scripted_target(contexts=contexts) as peer, pytest.raises(RefusedByTarget) as caught:
        attempt(peer, tmp_path)
    assert caught.value.advice


@pytest.mark.parametrize(
    ("settings", "message", "advice"),
    [
        (
            {"require_calling_aet": ["OTHER"]},
            "does not know our AE title SEGNODE",
            "Have it registered there.",
        ),
        (
            {"require_called_aet": True, "ae_title": "ELSE"},
            "is not called PEER",
            "Correct targets.pacs.ae.",
        ),
    ],
)
def test_a_permanently_rejected_association_has_advice(
    tmp_path: Path, settings: dict[str, Any], message: str, advice: str
) -> None:
    with (
        scripted_target(**settings) as peer,
        pytest.raises(RefusedByTarget, match=message) as caught,
    ):
        attempt(peer, tmp_path)
    assert caught.value.advice == advice


def test_a_full_target_is_busy(tmp_path: Path) -> None:
    with scripted_target(maximum_associations=1) as peer:
        first = Peer("pacs", at(peer.port), "SEGNODE", PATIENT)
        full = pytest.raises(PeerBusy, match="rejects associations for now")
        with association(first, [(BINARY_SEG_CLASS, [ExplicitVRLittleEndian])]), full:
            attempt(peer, tmp_path)


@pytest.mark.parametrize("host", [LOCAL, "no-such-host.invalid"])
def test_a_host_without_listener_is_unreachable(tmp_path: Path, host: str) -> None:
    payload = an_object(tmp_path, "pacs")
    target = Target(ae="PEER", host=host, port=free_port())
    peer = Peer("pacs", target, "SEGNODE", PATIENT)
    with pytest.raises(PeerUnreachable, match="pacs"):
        deliver(peer, payload, tmp_path / payload.file)
    with pytest.raises(PeerUnreachable):
        sender.send_echo(target, "SEGNODE", patience=PATIENT)


def test_an_altered_file_is_never_sent(tmp_path: Path) -> None:
    payload = an_object(tmp_path, "pacs")
    path = tmp_path / payload.file
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with scripted_target() as peer:
        there = Peer("pacs", at(peer.port), "SEGNODE", PATIENT)
        with pytest.raises(Defect, match="altered"):
            deliver(there, payload, path)
        path.unlink()
        with pytest.raises(Defect, match="no longer in the outbox"):
            deliver(there, payload, path)
        assert peer.stored == []


# -- the loop


def test_a_permanent_failure_is_final_and_an_operator_can_retry(tmp_path: Path) -> None:
    answers = [0xC000, 0x0000]
    with scripted_target(store=lambda _: answers.pop(0)) as peer:
        post = make_post(tmp_path, pacs=at(peer.port))
        (job,) = post.add("pacs")
        sender.run(post.config, once=True)
        sender.run(post.config, once=True)
        assert states(post)["pacs"] == (State.FAILED, "refused-by-target")
        assert len(peer.stored) == 1  # a permanent failure is not retried
        queue.requeue(post.engine, job.id, time.time())
        sender.run(post.config, once=True)
        assert states(post)["pacs"] == (State.DONE, "")
        assert len(set(peer.stored)) == 1


def test_an_unreachable_target_is_given_up_after_its_time(tmp_path: Path) -> None:
    target = at(free_port(), give_up_after=Seconds(1))
    post = make_post(tmp_path, pacs=target)
    (job,) = post.add("pacs")
    sender.run(post.config, once=True)
    stored = queue.get(post.engine, job.id)
    assert (stored.state, stored.code) == (State.FAILED, "peer-unreachable")


def test_a_job_of_a_removed_target_fails(tmp_path: Path) -> None:
    post = make_post(tmp_path)
    (job,) = post.add("gone")
    sender.run(post.config, once=True)
    stored = queue.get(post.engine, job.id)
    assert (stored.state, stored.code) == (State.FAILED, "misconfigured")
    assert "'gone'" in stored.reason


def test_the_sender_writes_heartbeats(tmp_path: Path) -> None:
    post = make_post(tmp_path)
    sender.run(post.config, once=True)
    assert [beat.process for beat in queue.beats(post.engine)] == ["sender"]


# -- transfer syntaxes


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_an_object_is_sent_in_the_syntax_that_the_target_accepts(
    tmp_path: Path, syntax: str
) -> None:
    received: list[Dataset] = []

    def keep(event: Event) -> int:
        received.append(event.dataset)
        return 0x0000

    with scripted_target(store=keep, syntaxes=(syntax,)) as peer:
        result = attempt(peer, tmp_path)
    sent = pydicom.dcmread(tmp_path / "outbox/1/seg.dcm")
    assert [dataset.to_json() for dataset in received] == [sent.to_json()]
    assert ("Implicit VR" in result.note) == (syntax == ImplicitVRLittleEndian)


def test_a_labelmap_is_decompressed_for_a_target_without_rle(tmp_path: Path) -> None:
    source = pydicom.dcmread(str(get_testdata_file("MR_small_RLE.dcm")))
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        copy = reencoded(Path(str(source.filename)), syntax)
        assert copy.file_meta.TransferSyntaxUID == syntax
        assert (copy.pixel_array == source.pixel_array).all()
        assert copy.SOPInstanceUID == source.SOPInstanceUID


def test_a_copy_that_differs_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Dataset, "decompress", lambda dataset, **_: dataset.pop("PatientID"))
    with pytest.raises(VerificationFailed):
        reencoded(Path(str(get_testdata_file("MR_small_RLE.dcm"))), ImplicitVRLittleEndian)


def test_a_class_without_a_common_syntax_differs_from_a_refused_class(tmp_path: Path) -> None:
    jpeg = pytest.raises(RefusedByTarget, match="transfer syntaxes")
    with scripted_target(syntaxes=(JPEGBaseline8Bit,)) as peer, jpeg:
        attempt(peer, tmp_path)
    unknown = pytest.raises(RefusedByTarget, match="does not accept Segmentation Storage")
    with scripted_target(contexts=(FIND,)) as peer, unknown:
        attempt(peer, tmp_path)


@pytest.mark.dcmtk
@needs_dcmtk
def test_dcmtk_with_implicit_vr_only_receives_the_object(tmp_path: Path) -> None:
    port = free_port()
    tool = str(dcmtk_tool("storescp"))
    command = [tool, "+xi", "-od", str(tmp_path), "-aet", "PEER", str(port)]
    with subprocess.Popen(command, env=environment()) as scp:
        try:
            payload = an_object(tmp_path, "pacs")
            peer = Peer("pacs", at(port, confirm="none"), "SEGNODE", PATIENT)
            assert soon(lambda: _is_open(port))
            result = deliver(peer, payload, tmp_path / payload.file)
        finally:
            scp.kill()
    assert "Implicit VR" in result.note
    (stored,) = [path for path in tmp_path.iterdir() if path.is_file()]
    there, here = pydicom.dcmread(stored), pydicom.dcmread(tmp_path / payload.file)
    assert there.to_json() == here.to_json()
    assert there.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOCAL, port)) == 0
