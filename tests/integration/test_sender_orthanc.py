"""The sender against a real PACS."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from node import queue, sender
from node.errors import NoResponse, PeerUnreachable, RefusedByTarget
from node.sender.peer import Peer
from node.sender.store import deliver
from node.states import State
from tests.support.delivering import HASTY, PATIENT, an_object, at, make_post, states
from tests.support.orthanc import Orthanc, needs_orthanc, started

# pynetdicom leaves the socket of a rejected association to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    with started(Orthanc(tmp_path / "orthanc")) as running:
        yield running


def held_by(pacs: Orthanc) -> set[str]:
    return {
        pacs.get(f"/instances/{key}/simplified-tags")["SOPInstanceUID"]
        for key in pacs.get("/instances")
    }


@pytest.mark.orthanc
@needs_orthanc
def test_an_object_is_delivered_and_confirmed(pacs: Orthanc, tmp_path: Path) -> None:
    post = make_post(tmp_path, pacs=at(pacs.dicom_port, pacs.ae))
    (job,) = post.add("pacs")
    sender.run(post.config, once=True)
    assert states(post) == {"pacs": (State.DONE, "")}
    result = queue.as_plain(queue.get(post.engine, job.id).result)
    assert (result["status"], result["confirmed_by"]) == ("SUCCESS (0x0000)", "query")
    assert held_by(pacs) == {job.deliver_payload().sop_instance_uid}
    detail = queue.events_of(post.engine, job_id=job.id)[-1].detail
    assert detail == "pacs answered SUCCESS (0x0000), confirmed by query"


@pytest.mark.orthanc
@needs_orthanc
def test_a_dead_pacs_delays_only_itself_and_is_served_when_it_is_back(
    pacs: Orthanc, tmp_path: Path
) -> None:
    dead = Orthanc(tmp_path / "dead")
    post = make_post(tmp_path, pacs=at(pacs.dicom_port, pacs.ae), dead=at(dead.dicom_port, dead.ae))
    post.add("dead", "pacs")
    post.renew()
    sender.run(post.config, once=True)
    assert states(post) == {"pacs": (State.DONE, ""), "dead": (State.QUEUED, "peer-unreachable")}
    with started(dead):
        post.make_due()
        sender.run(post.config, once=True)
        assert states(post)["dead"] == (State.DONE, "")
        assert held_by(dead) == held_by(pacs)


@pytest.mark.orthanc
@needs_orthanc
def test_a_resent_object_is_stored_once(pacs: Orthanc, tmp_path: Path) -> None:
    payload = an_object(tmp_path, "pacs")
    peer = Peer("pacs", at(pacs.dicom_port, pacs.ae), "SEGNODE", PATIENT)
    results = [deliver(peer, payload, tmp_path / payload.file) for _ in range(2)]
    assert [result.confirmed_by for result in results] == ["query", "query"]
    assert held_by(pacs) == {payload.sop_instance_uid}


@pytest.mark.orthanc
@needs_orthanc
def test_a_pacs_that_checks_its_own_name_rejects_permanently(tmp_path: Path) -> None:
    with started(Orthanc(tmp_path / "strict"), DicomCheckCalledAet=True) as strict:
        peer = Peer("pacs", at(strict.dicom_port, "WRONG"), "SEGNODE", PATIENT)
        payload = an_object(tmp_path, "pacs")
        with pytest.raises(RefusedByTarget, match="is not called WRONG") as caught:
            deliver(peer, payload, tmp_path / payload.file)
    assert caught.value.advice == "Correct targets.pacs.ae."


@pytest.mark.orthanc
@needs_orthanc
def test_a_pacs_that_does_not_know_our_name_gets_no_object(tmp_path: Path) -> None:
    options: dict[str, Any] = {"DicomAlwaysAllowStore": False, "DicomModalities": {}}
    with started(Orthanc(tmp_path / "strict"), **options) as strict:
        post = make_post(tmp_path, pacs=at(strict.dicom_port, strict.ae))
        post.add("pacs")
        post.renew()
        sender.run(post.config, once=True)
        assert states(post)["pacs"][0] is not State.DONE
        assert held_by(strict) == set()


@pytest.mark.orthanc
@needs_orthanc
def test_a_pacs_that_answers_no_queries_gets_an_unconfirmed_delivery(tmp_path: Path) -> None:
    with started(Orthanc(tmp_path / "shy"), DicomAlwaysAllowFind=False, DicomModalities={}) as shy:
        post = make_post(tmp_path, pacs=at(shy.dicom_port, shy.ae))
        post.add("pacs")
        sender.run(post.config, once=True)
        (job,) = [job for job in queue.list_jobs(post.engine) if job.target]
        assert job.state is State.DONE
        result = queue.as_plain(job.result)
        assert not result["confirmed_by"]
        assert result["note"] == "the target aborts associations on queries from us"


@pytest.mark.orthanc
@needs_orthanc
def test_a_pacs_that_answered_queries_before_is_not_believed_to_abort_on_them(
    tmp_path: Path,
) -> None:
    with started(Orthanc(tmp_path / "open")) as pacs:
        post = make_post(tmp_path, pacs=at(pacs.dicom_port, pacs.ae))
        post.add("pacs")
        sender.run(post.config, once=True)
        assert states(post) == {"pacs": (State.DONE, "")}
    with started(Orthanc(tmp_path / "shy"), DicomAlwaysAllowFind=False, DicomModalities={}) as shy:
        targets = {"pacs": at(shy.dicom_port, shy.ae)}
        config = msgspec.structs.replace(post.config, targets=targets)
        post.add("pacs", number=2)
        post.renew()
        sender.run(config, once=True)
    job = next(job for job in queue.list_jobs(post.engine) if job.target)
    assert (job.state, job.code) == (State.QUEUED, "no-response")
    assert "ends associations when queried" in job.reason
    assert "targets.pacs.confirm" in job.advice


@pytest.mark.orthanc
@needs_orthanc
def test_a_frozen_pacs_times_out_and_is_retried(pacs: Orthanc, tmp_path: Path) -> None:
    payload = an_object(tmp_path, "pacs")
    peer = Peer("pacs", at(pacs.dicom_port, pacs.ae), "SEGNODE", PATIENT)
    (process,) = [p for p in psutil.Process().children() if p.name() == "Orthanc"]
    process.send_signal(signal.SIGSTOP)
    with pytest.raises((PeerUnreachable, NoResponse)):
        deliver(replace(peer, patience=HASTY), payload, tmp_path / payload.file)
    process.send_signal(signal.SIGCONT)
    assert deliver(peer, payload, tmp_path / payload.file).confirmed_by == "query"


@pytest.mark.orthanc
@needs_orthanc
def test_an_echo_reports_what_a_pacs_accepts(pacs: Orthanc) -> None:
    echo = sender.send_echo(at(pacs.dicom_port, pacs.ae), "SEGNODE")
    assert echo.takes_binary
    assert echo.answers_queries
