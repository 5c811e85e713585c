"""Handle the events of an association, as functions of one frozen value.

The only broad `except` of the listener is here; it answers with a failure.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from node.config import RunningConfig
from node.dicom.uids import is_uid
from node.errors import DiskLow
from node.inbox import Inbox, Incoming, Note, NoteKind, StoreOutcome
from node.listener.association import StoreAssociation
from node.listener.callers import Rejection, Slots, busy, plain_host
from node.listener.commitment import Commitments
from node.listener.contexts import described, supported
from node.listener.pace import Pace
from node.listener.reports import Reports
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus, Unacceptable
from node.listener.structure import InstanceIdentity, identify
from node.listener.upper import NO_UID
from node.tls import Certificate, session_of

Answer = tuple[StoreStatus, str]  # status, and the comment for the peer

log = logging.getLogger("node.listener")


@dataclass(frozen=True, slots=True)
class Reception:
    """Configuration, inbox and slots, which every handler needs."""

    running: RunningConfig
    inbox: Inbox
    slots: Slots
    reports: Reports
    pace: Pace
    commitments: Commitments


def on_requested(event: Any, reception: Reception) -> None:
    """Accept or reject a known caller, before presentation contexts are negotiated."""
    association: StoreAssociation = event.assoc
    host = plain_host(association.host)
    if no := _overload(reception, host):
        _reject(association, reception, host, no)
        return
    reception.pace.give_back(host)
    association.record = reception.inbox.open(association.calling_ae, host, time.time())
    proposed = association.requestor.primitive.presentation_context_definition_list
    association.acceptor.supported_contexts = supported(
        proposed, with_commitment=reception.commitments.are_served(association)
    )


def on_certificate(certificate: Certificate, ae: str, host: str, reception: Reception) -> None:
    """Report a caller whose certificate ends soon."""
    tls = reception.running.config.tls
    ends = time.strftime("%Y-%m-%d", time.gmtime(certificate.ends_at))
    if certificate.ends_at - time.time() < tls.warn_before:
        message = f"the certificate of this caller ends on {ends}"
        advice = "Let its administrator renew it; without a valid one its images are rejected."
        reception.reports.add("certificate-ends", message, ae, host, advice)


def on_accepted(event: Any, reception: Reception) -> None:
    """Log the association; report the contexts that could not be accepted."""
    association: StoreAssociation = event.assoc
    record = association.record
    if record is None:
        return
    facts = {"ae": record.calling_ae, "host": record.host, "association": record.id}
    session = session_of(association.dul.socket.socket)
    how = f" with {session}" if session else ""
    count = len(association.accepted_contexts)
    log.info("association accepted%s", how, extra=facts | {"count": count})
    kind: NoteKind = "rejected-context"
    message = f"presentation contexts were rejected: {described(association.rejected_contexts)}"
    if not association.accepted_contexts:
        kind, message = "no-context", "none of its presentation contexts is supported"
    elif not association.rejected_contexts:
        return
    advice = "docs/reference/conformance.md lists the SOP classes and transfer syntaxes."
    reception.reports.add(kind, message, record.calling_ae, record.host, advice)


def on_released(event: Any, reception: Reception) -> None:
    """Mark the series as released; the end of the connection may come later."""
    if event.assoc.record is not None:
        _close(reception, event.assoc, released=True)


def on_end(association: StoreAssociation, reception: Reception) -> None:
    """Clean up after an association, however it ended."""
    record = association.record
    _report_violation(association, reception)
    if record is None:
        return
    reception.commitments.end(association)
    reception.slots.give_back(record.host)
    _close(reception, association, released=association.is_released)
    facts = {
        "ae": record.calling_ae,
        "host": record.host,
        "association": record.id,
        "count": sum(association.tally[outcome.value] for outcome in StoreOutcome),
        "bytes": association.tally["bytes"],
        "seconds": round(time.time() - record.opened, 3),
        "status": "released" if association.is_released else "aborted",
    }
    log.info("association ended", extra=facts)


def on_store(
    association: StoreAssociation, request: Any, context: Any, reception: Reception
) -> Answer:
    """Answer a C-STORE: success if, and only if, the instance is stored durably."""
    try:
        _store(association, request, context, reception)
    except Unacceptable as exc:
        return _rejected_instance(association, request, reception, exc)
    except DiskLow as low:
        return _no_space(association, reception, low.message, low.advice)
    except OSError as exc:
        advice = "Check the disk of data.dir: space, quota, health."
        return _no_space(association, reception, f"writing failed: {exc.strerror}", advice)
    except Exception:
        log.exception("internal error in a C-STORE", extra={"ae": association.calling_ae})
        return StoreStatus.UNEXPECTED, "internal error, see the log of the node"
    return StoreStatus.SUCCESS, ""


def _store(association: StoreAssociation, request: Any, context: Any, reception: Reception) -> None:
    spool: Spool = request.DataSet
    syntax = str(context.transfer_syntax[0])
    if request.AffectedSOPClassUID != context.abstract_syntax:
        reason = "SOP Class differs from that of the context"
        raise Unacceptable(StoreStatus.CLASS_NOT_SUPPORTED, reason)
    if association.record is None or not spool.received_bytes:
        raise Unacceptable(StoreStatus.CANNOT_UNDERSTAND, "C-STORE without data set")
    if spool.is_too_large:
        raise Unacceptable(StoreStatus.TOO_LARGE, "larger than node.largest_instance allows")
    with spool.view() as data:
        identity = identify(data, syntax)
        _check_command(request, identity)
        instance = Incoming(
            study=identity.study,
            series=identity.series,
            sop_class=identity.sop_class,
            sop_instance=identity.sop_instance,
            transfer_syntax=syntax,
            data=data,
            received=time.time(),
        )
        outcome = reception.inbox.keep(instance, association.record)
    association.tally[outcome.value] += 1
    association.tally["bytes"] += spool.received_bytes
    if outcome is StoreOutcome.conflicting:
        _conflict(association, reception, identity)


def _check_command(request: Any, identity: InstanceIdentity) -> None:
    """Check that command and data set name the same instance."""
    if str(request.AffectedSOPClassUID) != identity.sop_class:
        no = Unacceptable(
            StoreStatus.DATA_SET_MISMATCH, "SOP Class differs from that of the command"
        )
    elif request.AffectedSOPInstanceUID == NO_UID:
        no = Unacceptable(
            StoreStatus.CANNOT_UNDERSTAND, "the command's SOP Instance UID is not a UID"
        )
    elif str(request.AffectedSOPInstanceUID) != identity.sop_instance:
        no = Unacceptable(
            StoreStatus.CANNOT_UNDERSTAND, "SOP Instance UID differs from that of the command"
        )
    else:
        return
    no.study, no.series = identity.study, identity.series
    raise no


def _overload(reception: Reception, host: str) -> Rejection | None:
    try:
        reception.inbox.check_space()
    except DiskLow as low:
        return busy(f"the disk is low: {low.message}", low.advice)
    full = reception.slots.take(host)
    return busy(full, "Retry later, or raise the limit.") if full else None


def _reject(association: StoreAssociation, reception: Reception, host: str, no: Rejection) -> None:
    ae = association.calling_ae
    reception.reports.add("rejected-association", no.message, ae, host, no.advice)
    association.acse.send_reject(no.result, no.source, no.diagnostic)
    association.kill()  # waits until the rejection has been sent


def _report_violation(association: StoreAssociation, reception: Reception) -> None:
    """Report how an association ended that the peer did not end."""
    host, ae = plain_host(association.host), association.calling_ae
    if association.record is not None and association.violation:
        message = f"the peer violated the protocol: {association.violation}"
        reception.reports.add("protocol-violation", message, ae, host)
    elif association.record is None and not association.is_rejected:
        message = association.violation or "it ended before the association was accepted"
        message = f"an association request cannot be accepted: {message}"
        reception.reports.add("invalid-request", message, ae, host)


def _rejected_instance(
    association: StoreAssociation, request: Any, reception: Reception, no: Unacceptable
) -> Answer:
    status, named = f"0x{no.status:04X}", str(request.AffectedSOPInstanceUID)
    facts = {"study": no.study, "series": no.series, "status": status, "advice": no.advice}
    which = {
        "ae": association.calling_ae,
        "instance": named if is_uid(named) else "",
        "bytes": request.DataSet.received_bytes,
    }
    log.warning("instance rejected: %s", no.reason, extra=facts | which)
    _note(reception, _about(association, "rejected-instance", no.reason, **facts))
    association.tally["rejected"] += 1
    return no.status, no.reason


def _no_space(
    association: StoreAssociation, reception: Reception, message: str, advice: str
) -> Answer:
    status = f"0x{StoreStatus.OUT_OF_RESOURCES:04X}"
    facts = {"ae": association.calling_ae, "status": status, "advice": advice}
    log.error("instance not stored: %s", message, extra=facts)
    _note(
        reception,
        _about(association, "out-of-space", message, advice=advice, status=status),
    )
    return StoreStatus.OUT_OF_RESOURCES, "no space to store the instance"


def _conflict(
    association: StoreAssociation, reception: Reception, identity: InstanceIdentity
) -> None:
    message = "one SOP Instance UID was received with different contents; both are stored"
    facts = {"study": identity.study, "series": identity.series}
    log.warning(message, extra=facts | {"ae": association.calling_ae})
    _note(reception, _about(association, "conflicting-instance", message, **facts))


def _about(association: StoreAssociation, kind: NoteKind, message: str, **facts: Any) -> Note:
    host = plain_host(association.host)
    return Note(kind=kind, message=message, calling_ae=association.calling_ae, host=host, **facts)


def _note(reception: Reception, note: Note) -> None:
    leave_note(reception.inbox, note)


def leave_note(inbox: Inbox, note: Note) -> None:
    """Leave a note; a full disk must not change the response to the peer."""
    try:
        inbox.note(note, time.time())
    except OSError as exc:
        log.warning("a note could not be written: %s", exc.strerror, extra={"kind": note.kind})


def _close(reception: Reception, association: StoreAssociation, *, released: bool) -> None:
    assert association.record is not None
    try:
        reception.inbox.close(association.record, time.time(), released=released)
    except OSError as exc:
        log.warning("a marker could not be written: %s", exc.strerror)
