"""Storage commitment for callers: they get their report on the same or on a new association."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import MRImageStorage

from node import queue, schema, sender
from node.commitment import (
    MOST_PENDING,
    CallerRequest,
    CallerRequests,
    CommitmentStatus,
    FailureReason,
    Reference,
    Report,
    Request,
)
from node.config import Caller, CertificateName, Config, DataConfig, RunningConfig
from node.sender import reports
from node.tls import Credentials
from tests.support.certificates import HOST, pair
from tests.support.committing import AskingCaller
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.peers import CT, SERIES, Listening, dcmtk, listening, soon, write_slices

STORED = (Reference(str(CT), f"{SERIES}.1"), Reference(str(CT), f"{SERIES}.2"))
ABSENT = Reference(str(CT), "1.2.3.4")
CONFLICTING = STORED[1]._replace(sop_class=str(MRImageStorage))


def permitted(*callers: AskingCaller, port: bool = True) -> tuple[Caller, ...]:
    entries = [
        Caller(ae=one.ae, host="127.0.0.1", commitment=True, port=one.port if port else None)
        for one in callers
    ]
    return (*entries, Caller(ae="STORESCU"))


@contextmanager
def listening_with_images(tmp_path: Path, callers: tuple[Caller, ...]) -> Iterator[Listening]:
    with listening(tmp_path / "data", callers=callers) as node:
        files = write_slices(tmp_path / "slices", 2)
        assert dcmtk("storescu", node.port, *files).returncode == 0
        yield node


@contextmanager
def sending(tmp_path: Path, callers: tuple[Caller, ...]) -> Iterator[Config]:
    config = Config(data=DataConfig(dir=tmp_path / "data"), callers=callers)
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(config, stop))
    thread.start()
    try:
        yield config
    finally:
        stop.set()
        thread.join(240)
        assert not thread.is_alive()


def waiting(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "data/commitment/requests").iterdir())


@needs_orthanc
@pytest.mark.orthanc
def test_orthanc_gets_its_report(tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    callers = permitted(AskingCaller("ORTHANC", orthanc.dicom_port))
    with (
        listening_with_images(tmp_path, callers) as node,
        sending(tmp_path, callers),
        started(orthanc, node_port=node.port),
    ):
        body = {"DicomInstances": [[*one] for one in (*STORED, ABSENT)]}
        path = orthanc.post("/modalities/node/storage-commitment", body)["Path"]
        assert soon(lambda: orthanc.get(path)["Status"] != "Pending")
        report = orthanc.get(path)
    assert report["Status"] == "Failure"
    assert sorted(one["SOPInstanceUID"] for one in report["Success"]) == [
        one.sop_instance for one in STORED
    ]
    (failure,) = report["Failures"]
    assert failure["SOPInstanceUID"] == ABSENT.sop_instance
    assert failure["FailureReason"] == FailureReason.NO_SUCH_OBJECT_INSTANCE
    assert waiting(tmp_path) == []


def test_a_caller_that_keeps_its_association_open_gets_the_report_there(tmp_path: Path) -> None:
    caller = AskingCaller()
    with (
        listening_with_images(tmp_path, permitted(caller, port=False)) as node,
        caller.associated(node.port) as opened,
    ):
        assert caller.ask(opened, "2.25.1", (*STORED, ABSENT)) == 0x0000
        assert caller.ask(opened, "2.25.2", (CONFLICTING,)) == 0x0000
        assert soon(lambda: len(caller.here) == 2)
        assert soon(lambda: waiting(tmp_path) == [])
        assert opened.is_established
    conflict = ((CONFLICTING, FailureReason.CLASS_INSTANCE_CONFLICT),)
    assert caller.here == [
        Report("2.25.1", STORED, ((ABSENT, FailureReason.NO_SUCH_OBJECT_INSTANCE),)),
        Report("2.25.2", (), conflict),
    ]


def test_a_caller_that_releases_at_once_gets_the_report_on_a_new_association(
    tmp_path: Path,
) -> None:
    """The report survives a restart of the listener, and a caller that is away for a while."""
    caller = AskingCaller()
    callers = permitted(caller)
    with (
        listening_with_images(tmp_path, callers) as node,
        caller.associated(node.port) as opened,
    ):
        assert caller.ask(opened, "2.25.1", STORED) == 0x0000
    assert [path.suffix for path in waiting(tmp_path)] == [".due"]
    with listening(tmp_path / "data", callers=callers), sending(tmp_path, callers) as config:
        requests = CallerRequests(config.data.dir)
        assert soon(lambda: any(one.attempts for one in requests.due()))  # not listening yet
        with caller.listening():
            assert soon(lambda: caller.anew != [])
            assert soon(lambda: waiting(tmp_path) == [])
    assert (caller.here, caller.anew) == ([], [Report("2.25.1", STORED, ())])


def test_a_listener_that_was_killed_leaves_its_requests_to_the_next(tmp_path: Path) -> None:
    folder = CallerRequests(tmp_path / "data")
    request = Request("2.25.1", STORED)
    folder.add(CallerRequest(request=request, calling_ae="CT01", host="127.0.0.1", received=1.0))
    assert folder.due() == []
    with listening(tmp_path / "data"):
        assert [one.request for one in folder.due()] == [request]


def test_a_report_that_nobody_takes_is_given_up_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = AskingCaller()
    monkeypatch.setattr(reports, "MOST_ATTEMPTS", 2)
    config = Config(data=DataConfig(dir=tmp_path), callers=permitted(caller))
    engine = schema.open_configured(config.data)
    requests = CallerRequests(tmp_path)
    request = CallerRequest(
        request=Request("2.25.1", STORED), calling_ae=caller.ae, host="127.0.0.1", received=1.0
    )
    requests.add(request)
    requests.make_due(request)
    owed = reports.CallerReports(RunningConfig(config), engine)
    owed.run_due(100.0)
    owed.run_due(101.0)  # too early for the next attempt
    assert [one.attempts for one in requests.due()] == [1]
    caller.refusals = [0x0110]
    with caller.listening():
        owed.run_due(100.0 + reports.FIRST_PAUSE_S)
    assert (caller.refusals, caller.anew) == ([], [])
    assert requests.due() == []
    assert [note.event for note in queue.notes(engine)] == [reports.UNREPORTED]


@pytest.mark.parametrize(("name", "is_sent"), [("CT01", True), ("CT02", False)])
def test_a_caller_with_a_certificate_gets_its_report_with_tls(
    tmp_path: Path, name: str, is_sent: bool
) -> None:
    caller = AskingCaller()
    node, peer = pair(tmp_path / "tls", "CT01")
    entry = Caller(
        ae=caller.ae, commitment=True, port=caller.port, certificate=CertificateName.parse(name)
    )
    config = Config(data=DataConfig(dir=tmp_path), tls=node.config(), callers=(entry,))
    requests = CallerRequests(tmp_path)
    request = CallerRequest(
        request=Request("2.25.1", (ABSENT,)), calling_ae=caller.ae, host=HOST, received=1.0
    )
    requests.add(request)
    requests.make_due(request)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(peer.certificate, peer.key)
    server.load_verify_locations(peer.trust)
    server.verify_mode = ssl.CERT_REQUIRED
    engine = schema.open_configured(config.data)
    with caller.listening(server):
        reports.CallerReports(RunningConfig(config), engine, Credentials(config.tls)).run_due(100.0)
    assert ([one.transaction for one in caller.anew] == ["2.25.1"]) is is_sent
    assert [one.attempts for one in requests.due()] == ([] if is_sent else [1])


def test_a_report_without_a_port_is_given_up_with_a_note(tmp_path: Path) -> None:
    caller = AskingCaller()
    callers = permitted(caller, port=False)
    with listening_with_images(tmp_path, callers) as node, sending(tmp_path, callers) as config:
        with caller.associated(node.port) as opened:
            caller.ask(opened, "2.25.1", STORED)
        assert soon(lambda: waiting(tmp_path) == [])
        engine = schema.open_configured(config.data)
        (note,) = queue.notes(engine)
    assert (note.event, caller.ae in note.detail) == ("unreported-commitment", True)


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ({"transaction": "2.25.1", "references": ()}, CommitmentStatus.INVALID_ARGUMENT),
        (
            {"transaction": "2.25.1", "references": (ABSENT,) * 10_001},
            CommitmentStatus.RESOURCE_LIMITATION,
        ),
    ],
)
def test_a_request_beyond_the_limits_is_refused(
    tmp_path: Path, call: dict[str, Any], status: int
) -> None:
    caller = AskingCaller()
    with (
        listening(tmp_path / "data", callers=permitted(caller)) as node,
        caller.associated(node.port) as opened,
    ):
        assert caller.ask(opened, **call) == status
        assert caller.ask(opened, "2.25.2", (ABSENT,)) == 0x0000
        (note,) = node.inbox.read_notes()
    assert (note.kind, note.calling_ae) == ("rejected-commitment", caller.ae)
    assert f"(0x{status:04X})" in note.message


def test_the_pending_requests_of_a_caller_are_limited(tmp_path: Path) -> None:
    caller = AskingCaller()
    folder = CallerRequests(tmp_path / "data")
    for number in range(MOST_PENDING):
        request = Request(f"2.25.{number + 5}", (ABSENT,))
        pending = {"calling_ae": caller.ae, "host": "127.0.0.1", "received": 1.0}
        folder.add(CallerRequest(request=request, **pending))  # type: ignore[arg-type]
    with (
        listening(tmp_path / "data", callers=permitted(caller)) as node,
        caller.associated(node.port) as opened,
    ):
        assert caller.ask(opened, "2.25.1", (ABSENT,)) == CommitmentStatus.RESOURCE_LIMITATION
        assert caller.ask(opened, "2.25.5", (ABSENT,)) == 0x0000, "one that is pending"


def test_a_caller_without_permission_is_not_offered_the_service(tmp_path: Path) -> None:
    caller = AskingCaller()
    with (
        listening(tmp_path / "data", callers=(Caller(ae=caller.ae),)) as node,
        caller.associated(node.port) as opened,
    ):
        assert not opened.is_established
    assert waiting(tmp_path) == []
