"""Peers of storage commitment: a target with chosen answers, and a caller that requests."""

import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
)

from node.commitment import Reference, Report, Request, report_dataset, request_dataset
from node.dicom.uids import BINARY_SEG_CLASS
from tests.support.orthanc import free_port

Answer = Callable[[Request], Report | None]


def all_kept(request: Request) -> Report:
    return Report(request.transaction, request.references, ())


def refused(reason: int) -> Answer:
    """Return the answer of a target that keeps nothing, for this reason."""

    def answer(request: Request) -> Report:
        return Report(request.transaction, (), tuple((one, reason) for one in request.references))

    return answer


def request_of(dataset: Dataset) -> Request:
    return Request(
        str(dataset.TransactionUID),
        tuple(
            Reference(str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID))
            for one in dataset.ReferencedSOPSequence
        ),
    )


def report(opened: Any, content: Report) -> int:
    """Send an N-EVENT-REPORT over an association; return the status of its answer."""
    answer, _ = opened.send_n_event_report(
        report_dataset(content),
        content.event,
        StorageCommitmentPushModel,
        StorageCommitmentPushModelInstance,
    )
    return int(answer.get("Status", -1))


def report_anew(port: int, content: Report, ae: str = "PEER", called: str = "SEGNODE") -> int:
    """Send an N-EVENT-REPORT over a new association, with the role that the standard requires."""
    peer = AE(ae_title=ae)
    peer.add_requested_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
    role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    opened = peer.associate("127.0.0.1", port, ae_title=called, ext_neg=[role])
    assert opened.is_established
    try:
        return report(opened, content)
    finally:
        opened.release()


@dataclass
class CommittingTarget:
    """What the target received."""

    port: int = field(default_factory=free_port)
    stored: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@contextmanager
def committing_target(
    answer: Answer = all_kept,
    *,
    status: int = 0x0000,
    finds: bool | None = None,
    commits: bool = True,
) -> Iterator[CommittingTarget]:
    """Run a target that reports on the association of the request.

    Args:
        answer: the report to a request; None: no report.
        status: of the answer to the request.
        finds: whether a query finds what was stored; None: it answers no queries.
        commits: whether it offers storage commitment.
    """
    ae = AE(ae_title="PEER")
    ae.add_supported_context(BINARY_SEG_CLASS, ExplicitVRLittleEndian)
    if commits:
        ae.add_supported_context(StorageCommitmentPushModel, ExplicitVRLittleEndian)
    if finds is not None:
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    target = CommittingTarget()

    def on_store(event: Any) -> int:
        target.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_action(event: Any) -> tuple[int, None]:
        request = request_of(event.action_information)
        target.requests.append(request)
        content = answer(request)
        if content is not None and not status:
            threading.Timer(0.2, report, (event.assoc, content)).start()
        return status, None

    def on_find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        requested = str(event.identifier.SOPInstanceUID)
        if finds and requested in target.stored:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", requested
            yield 0xFF00, match

    handlers: list[Any] = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_FIND, on_find)]
    handlers.append((evt.EVT_N_ACTION, on_action))
    server = ae.start_server(("127.0.0.1", target.port), block=False, evt_handlers=handlers)
    try:
        yield target
    finally:
        server.shutdown()


@dataclass
class AskingCaller:
    """A modality: it requests commitment, and listens for reports on a separate port."""

    ae: str = "CT01"
    port: int = field(default_factory=free_port)
    here: list[Report] = field(default_factory=list)  # on the association of the request
    anew: list[Report] = field(default_factory=list)  # on a new one
    refusals: list[int] = field(default_factory=list)  # statuses for the next reports

    @contextmanager
    def listening(self, tls: ssl.SSLContext | None = None) -> Iterator[None]:
        ae = AE(ae_title=self.ae)
        ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._on_report, [self.anew])]
        address = ("127.0.0.1", self.port)
        server = ae.start_server(address, block=False, evt_handlers=handlers, ssl_context=tls)
        try:
            yield
        finally:
            server.shutdown()

    @contextmanager
    def associated(self, port: int) -> Iterator[Any]:
        ae = AE(ae_title=self.ae)
        ae.add_requested_context(StorageCommitmentPushModel)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._on_report, [self.here])]
        opened = ae.associate("127.0.0.1", port, ae_title="SEGNODE", evt_handlers=handlers)
        try:
            yield opened
        finally:
            if opened.is_established:
                opened.release()

    @staticmethod
    def ask(opened: Any, transaction: str, references: Sequence[Reference]) -> int:
        """Send an N-ACTION; return the status of its answer."""
        dataset = request_dataset(Request(transaction, tuple(references)))
        answer, _ = opened.send_n_action(
            dataset, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        return int(answer.get("Status", -1))

    def _on_report(self, event: Any, reports: list[Report]) -> tuple[int, None]:
        if self.refusals:
            return self.refusals.pop(), None
        dataset = event.event_information
        committed = request_of(dataset).references if "ReferencedSOPSequence" in dataset else ()
        failed = tuple(
            (
                Reference(str(one.ReferencedSOPClassUID), str(one.ReferencedSOPInstanceUID)),
                int(one.FailureReason),
            )
            for one in dataset.get("FailedSOPSequence", [])
        )
        reports.append(Report(str(dataset.TransactionUID), committed, failed))
        return 0x0000, None
