"""Request storage commitment for a result, and conclude from its report (PS3.4 Annex J).

The report comes on the association of the request, or on a new one to our listener; both leave it
as a file, which the sender records in the database. Until then the delivery waits in the queue.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from pynetdicom import evt
from pynetdicom.association import Association

from node.commitment import (
    REQUEST_ACTION,
    CommitmentStatus,
    FailureReason,
    ReceivedReports,
    Reference,
    Report,
    Request,
    reason_name,
    request_dataset,
    status_name,
)
from node.dicom.uids import COMMITMENT_CLASS, COMMITMENT_INSTANCE, new_uid
from node.errors import NodeError, NotConfirmed, PeerBusy, RefusedByTarget
from node.queue import DeliverPayload, DeliverResult
from node.sender.peer import PLAIN, Peer, accepts, association, gone
from node.sender.query import FIND, confirm_anew
from node.sender.store import contexts_of, store

POLL_S = 0.1  # between two checks for the report while the association is open
_BUSY = {CommitmentStatus.RESOURCE_LIMITATION, CommitmentStatus.PROCESSING_FAILURE}
_BUSY_REASONS = {FailureReason.RESOURCE_LIMITATION, FailureReason.PROCESSING_FAILURE}
_LOST_REASONS = {FailureReason.NO_SUCH_OBJECT_INSTANCE, FailureReason.DUPLICATE_TRANSACTION_UID}


@dataclass(frozen=True)
class Commitment:
    """What a delivery needs to request a commitment."""

    reports: ReceivedReports
    record: Callable[[str, DeliverResult], None]  # transaction UID and answer, before the request
    is_reported: Callable[[], bool]


def deliver_for_commitment(
    peer: Peer, payload: DeliverPayload, file: Path, commitment: Commitment
) -> DeliverResult | None:
    """Send `file` and request its commitment; None if its report is to be awaited.

    A target without storage commitment is queried instead.

    Raises:
        Defect, PeerUnreachable, NoResponse, PeerBusy, NotConfirmed: as `deliver`.
        RefusedByTarget: the target refuses the object, the request, or any confirmation.
    """
    contexts = [*contexts_of(payload, file), (COMMITMENT_CLASS, PLAIN), (FIND, PLAIN)]
    handlers = [(evt.EVT_N_EVENT_REPORT, _on_report, [commitment.reports])]
    with association(peer, contexts, handlers=handlers) as opened:
        sent = store(peer, opened, payload, file)
        if accepts(opened, COMMITMENT_CLASS):
            _request(peer, opened, payload, sent, commitment)
            return None
    unknown = confirm_anew(peer, payload)
    if unknown:
        message = f"{peer.place} does not offer storage commitment, and {unknown}"
        advice = f"Register this node for one of both there, or set targets.{peer.name}.confirm."
        raise RefusedByTarget(message, advice=advice)
    return _queried(sent, "the target does not offer storage commitment")


def conclude(
    peer: Peer, payload: DeliverPayload, sent: DeliverResult, report: str
) -> DeliverResult:
    """Return the result of a delivery whose report arrived, or is overdue (an empty `report`).

    Raises:
        NotConfirmed, PeerBusy: the object is to be sent again.
        RefusedByTarget: the target will not commit to it.
    """
    if report:
        _check(peer, payload, msgspec.json.decode(report, type=Report))
        return msgspec.structs.replace(sent, confirmed_by="commitment")
    overdue = f"no storage commitment report within {peer.target.report_within:g} s"
    unknown = confirm_anew(peer, payload)
    if not unknown:
        return _queried(sent, overdue)
    advice = (
        "Does the target know address and port of this node, and may it call? See `segnode "
        f"status`. If it sends no reports, set targets.{peer.name}.confirm to find or none."
    )
    raise NotConfirmed(f"{peer.place}: {overdue}, and {unknown}", advice=advice)


def _queried(sent: DeliverResult, why: str) -> DeliverResult:
    note = "; ".join(note for note in (sent.note, why) if note)
    return msgspec.structs.replace(sent, confirmed_by="query", note=note)


def _request(
    peer: Peer,
    opened: Association,
    payload: DeliverPayload,
    sent: DeliverResult,
    commitment: Commitment,
) -> None:
    """Send the N-ACTION, and keep the association open for a moment, for the report."""
    transaction = new_uid()
    reference = Reference(payload.sop_class_uid, payload.sop_instance_uid)
    dataset = request_dataset(Request(transaction, (reference,)))
    commitment.record(transaction, sent)
    try:
        answer, _ = opened.send_n_action(
            dataset, REQUEST_ACTION, COMMITMENT_CLASS, COMMITMENT_INSTANCE
        )
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, opened, "N-ACTION") from exc
    if "Status" not in answer:
        raise gone(peer, opened, "N-ACTION")
    code = int(answer.Status)
    if code != CommitmentStatus.SUCCESS:
        message = f"{peer.place} answered the storage commitment request with {status_name(code)}"
        if code in _BUSY:
            raise PeerBusy(message)
        advice = f"See the log of the target, or set targets.{peer.name}.confirm to find."
        raise RefusedByTarget(message, advice=advice)
    until = time.monotonic() + peer.patience.report_s
    while opened.is_established and not commitment.is_reported() and time.monotonic() < until:
        time.sleep(POLL_S)


def _on_report(event: Any, reports: ReceivedReports) -> tuple[int, None]:
    """Keep the report of an N-EVENT-REPORT on the association of its request."""
    information = event.request.EventInformation
    data = b"" if information is None else information.getvalue()
    syntax = str(event.context.transfer_syntax)
    return reports.receive(event.request.EventTypeID, memoryview(data), syntax), None


def _check(peer: Peer, payload: DeliverPayload, report: Report) -> None:
    """Raise the error of a report that does not commit to the object."""
    uid = payload.sop_instance_uid
    reasons = [reason for reference, reason in report.failed if reference.sop_instance == uid]
    if not reasons and any(reference.sop_instance == uid for reference in report.committed):
        return
    error, advice = _failure(reasons)
    reason = reason_name(reasons[0]) if reasons else "a report that does not name it"
    message = f"{peer.place} does not commit to keeping the object: {reason}"
    raise error(message, advice=advice)


def _failure(reasons: list[int]) -> tuple[type[NodeError], str]:
    if not reasons or reasons[0] in _LOST_REASONS:
        return NotConfirmed, "Check whether the target discards objects of this kind."
    if reasons[0] in _BUSY_REASONS:
        return PeerBusy, ""
    return RefusedByTarget, "See the log of the target, then retry the job."
