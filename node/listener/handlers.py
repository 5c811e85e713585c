"""What happens on each event of an association: plain functions over one frozen value.

Promises: the only broad `except` of the listener is here, and answers a failure.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from node.config import Config
from node.dicom.uids import is_uid
from node.errors import DiskLow
from node.inbox import Inbox, Incoming, Kept, Note, NoteKind
from node.listener.association import StoreAssociation
from node.listener.callers import Rejection, Slots, busy, plain_host, rejection
from node.listener.contexts import supported
from node.listener.spool import Spool
from node.listener.statuses import StoreStatus, Unacceptable
from node.listener.structure import InstanceIdentity, identify

Answer = tuple[StoreStatus, str]  # and the comment that the peer is told

log = logging.getLogger("node.listener")


@dataclass(frozen=True, slots=True)
class Reception:
    """What every handler needs."""

    config: Config
    inbox: Inbox
    slots: Slots


def on_requested(event: Any, reception: Reception) -> None:
    """Welcome or reject a caller, before anything is negotiated."""
    association: StoreAssociation = event.assoc
    association.leave_waiting_room()
    request = association.requestor.primitive
    host = plain_host(association.host)
    no = rejection(reception.config, request.called_ae_title, association.calling_ae, host)
    no = no or _no_room(reception, host)
    if no is None:
        association.record = reception.inbox.open(association.calling_ae, host, time.time())
        association.acceptor.supported_contexts = supported(
            request.presentation_context_definition_list
        )
    else:
        _reject(association, reception, host, no)


def on_accepted(event: Any, reception: Reception) -> None:
    """Say so, and note a caller of whom nothing could be accepted."""
    association: StoreAssociation = event.assoc
    record = association.record
    if record is None:
        return
    facts = {"ae": record.calling_ae, "host": record.host, "association": record.id}
    log.info("association accepted", extra=facts | {"count": len(association.accepted_contexts)})
    if not association.accepted_contexts:
        log.warning("none of its presentation contexts can be accepted", extra=facts)
        _note(
            reception,
            Note(
                kind="no-context",
                message="none of its presentation contexts can be accepted",
                advice="docs/reference/conformance.md lists the SOP classes and transfer syntaxes.",
                calling_ae=record.calling_ae,
                host=record.host,
            ),
        )


def on_released(event: Any, reception: Reception) -> None:
    """Mark the series at once: the end of the connection may take longer."""
    if event.assoc.record is not None:
        _close(reception, event.assoc, released=True)


def on_end(association: StoreAssociation, reception: Reception) -> None:
    """Settle an association that is over, in whichever way."""
    association.leave_waiting_room()
    record = association.record
    if record is None:
        return
    reception.slots.give_back(record.host)
    _close(reception, association, released=association.is_released)
    facts = {
        "ae": record.calling_ae,
        "host": record.host,
        "association": record.id,
        "count": sum(association.tally[kept.value] for kept in Kept),
        "bytes": association.tally["bytes"],
        "seconds": round(time.time() - record.opened, 3),
        "status": "released" if association.is_released else "aborted",
    }
    log.info("association ended", extra=facts)


def on_store(
    association: StoreAssociation, request: Any, syntax: str, reception: Reception
) -> Answer:
    """Answer a C-STORE: success when, and only when, the instance is safe."""
    try:
        _store(association, request, syntax, reception)
    except Unacceptable as no:
        return _refused(association, request, reception, no)
    except DiskLow as low:
        return _no_space(association, reception, low.message, low.advice)
    except OSError as exc:
        advice = "Look at the disk of data.dir: space, quota, health."
        return _no_space(association, reception, f"the disk says {exc.strerror}", advice)
    except Exception:
        log.exception("a C-STORE failed", extra={"ae": association.calling_ae})
        return StoreStatus.UNEXPECTED, "unexpected error, see the log"
    return StoreStatus.SUCCESS, ""


def _store(association: StoreAssociation, request: Any, syntax: str, reception: Reception) -> None:
    spool: Spool = request.DataSet
    if association.record is None or not spool.received_bytes:
        raise Unacceptable(StoreStatus.CANNOT_UNDERSTAND, "a C-STORE without data set")
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
        kept = reception.inbox.keep(instance, association.record)
    association.tally[kept.value] += 1
    association.tally["bytes"] += spool.received_bytes
    if kept is Kept.conflicting:
        _conflict(association, reception, identity)


def _check_command(request: Any, identity: InstanceIdentity) -> None:
    """See that command and data set speak of the same instance."""
    if str(request.AffectedSOPClassUID) != identity.sop_class:
        no = Unacceptable(StoreStatus.DATA_SET_MISMATCH, "another SOP Class than the command says")
    elif not is_uid(str(request.AffectedSOPInstanceUID)):
        no = Unacceptable(
            StoreStatus.CANNOT_UNDERSTAND, "the command's SOP Instance UID is not a UID"
        )
    elif str(request.AffectedSOPInstanceUID) != identity.sop_instance:
        no = Unacceptable(
            StoreStatus.CANNOT_UNDERSTAND, "another SOP Instance than the command says"
        )
    else:
        return
    no.study, no.series = identity.study, identity.series
    raise no


def _no_room(reception: Reception, host: str) -> Rejection | None:
    try:
        reception.inbox.check_space()
    except DiskLow as low:
        return busy(f"the disk is low: {low.message}", low.advice)
    full = reception.slots.take(host)
    return busy(full, "Wait, or raise the limit.") if full else None


def _reject(association: StoreAssociation, reception: Reception, host: str, no: Rejection) -> None:
    facts = {"ae": association.calling_ae, "host": host, "advice": no.advice}
    log.warning("association rejected: %s", no.message, extra=facts)
    association.acse.send_reject(no.result, no.source, no.diagnostic)
    _note(
        reception,
        Note(
            kind="rejected-association",
            message=no.message,
            advice=no.advice,
            calling_ae=association.calling_ae,
            host=host,
        ),
    )
    association.kill()  # waits until the rejection has been sent


def _refused(
    association: StoreAssociation, request: Any, reception: Reception, no: Unacceptable
) -> Answer:
    status, named = f"0x{no.status:04X}", str(request.AffectedSOPInstanceUID)
    facts = {"study": no.study, "series": no.series, "status": status}
    which = {
        "ae": association.calling_ae,
        "instance": named if is_uid(named) else "",
        "bytes": request.DataSet.received_bytes,
    }
    log.warning("instance refused: %s", no.reason, extra=facts | which)
    _note(reception, _about(association, "rejected-instance", no.reason, **facts))
    association.tally["refused"] += 1
    return no.status, no.reason


def _no_space(
    association: StoreAssociation, reception: Reception, message: str, advice: str
) -> Answer:
    status = f"0x{StoreStatus.OUT_OF_RESOURCES:04X}"
    facts = {"ae": association.calling_ae, "status": status, "advice": advice}
    log.error("instance not kept: %s", message, extra=facts)
    _note(
        reception,
        _about(association, "out-of-space", message, advice=advice, status=status),
    )
    return StoreStatus.OUT_OF_RESOURCES, "no space to keep it"


def _conflict(
    association: StoreAssociation, reception: Reception, identity: InstanceIdentity
) -> None:
    message = "the same SOP Instance UID came with different content; both are kept"
    facts = {"study": identity.study, "series": identity.series}
    log.warning(message, extra=facts | {"ae": association.calling_ae})
    _note(reception, _about(association, "conflicting-instance", message, **facts))


def _about(association: StoreAssociation, kind: NoteKind, message: str, **facts: Any) -> Note:
    host = plain_host(association.host)
    return Note(kind=kind, message=message, calling_ae=association.calling_ae, host=host, **facts)


def _note(reception: Reception, note: Note) -> None:
    """Leave a note; a full disk must not change what the peer is answered."""
    try:
        reception.inbox.note(note, time.time())
    except OSError as exc:
        log.warning("a note could not be left: %s", exc.strerror, extra={"kind": note.kind})


def _close(reception: Reception, association: StoreAssociation, *, released: bool) -> None:
    assert association.record is not None
    try:
        reception.inbox.close(association.record, time.time(), released=released)
    except OSError as exc:
        log.warning("a marker could not be written: %s", exc.strerror)
