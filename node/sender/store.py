"""Send one object to one target as the verified bytes, then query the target for it."""

import time
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.errors import Defect, NoResponse, NotConfirmed, PeerBusy, PeerUnreachable, RefusedByTarget
from node.package.folder import file_digest
from node.pynetdicom_adapter import send_files_unchanged
from node.queue import DeliverPayload, DeliverResult
from node.sender import statuses
from node.sender.peer import (
    Context,
    Peer,
    accepted_syntax,
    accepts,
    association,
    gone,
    refusal,
)
from node.sender.reencode import reencoded
from node.sender.statuses import Meaning

FIND = str(StudyRootQueryRetrieveInformationModelFind)
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
HUNG_UP = "the target aborts associations on queries from us"
PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4: the response has a match

send_files_unchanged()


def deliver(peer: Peer, payload: DeliverPayload, file: Path) -> DeliverResult:
    """Send `file` and confirm that it arrived.

    Raises:
        Defect: the file is not the one that was verified.
        PeerUnreachable, NoResponse, PeerBusy, NotConfirmed: to be retried with the same object.
        RefusedByTarget: the target refuses the object.
    """
    as_written = _syntax(file, payload)
    contexts = store_contexts(payload.sop_class_uid, as_written)
    if peer.target.confirm == "find":
        contexts.append((FIND, PLAIN))
    begun = time.monotonic()
    with association(peer, contexts) as opened:
        syntax = accepted_syntax(opened, payload.sop_class_uid)
        if syntax not in (as_written, *PLAIN):
            raise refusal(peer, opened, payload.sop_class_uid)
        code = _store(peer, opened, file if syntax == as_written else reencoded(file, syntax))
        try:
            unknown = _confirm(peer, opened, payload)
        except NoResponse:
            unknown = HUNG_UP
    if unknown == HUNG_UP:
        unknown = _confirm_anew(peer, payload)
    warned = "the target warns" if statuses.meaning(code) is Meaning.WARNED else ""
    changed = "" if syntax == as_written else f"sent in {UID(syntax).name}"
    return DeliverResult(
        status=statuses.name(code),
        confirmed=not unknown,
        note="; ".join(note for note in (warned, changed, unknown) if note),
        seconds=round(time.monotonic() - begun, 3),
    )


def store_contexts(sop_class: str, as_written: str) -> list[Context]:
    """Return the contexts in which an object is offered: as it was written, and by default.

    One context for each transfer syntax: of several in one, the target would choose any. Every
    target must accept Implicit VR Little Endian (PS3.5 10.1).
    """
    return [(sop_class, [syntax]) for syntax in dict.fromkeys((as_written, *PLAIN))]


def is_intact(payload: DeliverPayload, file: Path) -> bool:
    """Return whether `file` exists and is the verified object."""
    return file.is_file() and file_digest(file) == payload.sha256


def _syntax(file: Path, payload: DeliverPayload) -> str:
    """Return the transfer syntax of a file, after checking that it is the verified one."""
    if not is_intact(payload, file):
        what = (
            "was altered after it was verified" if file.is_file() else "is no longer in the outbox"
        )
        advice = "`segnode jobs resend N` creates the same object again and sends it."
        raise Defect(f"{payload.file} {what}", advice=advice)
    meta, _ = split_dataset(file)
    return str(meta.TransferSyntaxUID)


def _store(peer: Peer, opened: Association, file: Path | Dataset) -> int:
    """Send the object, and return the status with which it was stored."""
    try:
        answer = opened.send_c_store(file)
    except (RuntimeError, ValueError) as exc:  # the association ended just before
        raise gone(peer, "C-STORE") from exc
    if "Status" not in answer:
        raise gone(peer, "C-STORE")
    code = int(answer.Status)
    if statuses.meaning(code) not in (Meaning.STORED, Meaning.WARNED):
        raise statuses.error(peer.place, code)
    return code


def _confirm(peer: Peer, opened: Association, payload: DeliverPayload) -> str:
    """Query for the object; return an empty text if it exists, or why that is unknown.

    Raises:
        NotConfirmed: the target answers queries, and does not find the object.
        NoResponse: the association ended early.
    """
    if peer.target.confirm == "none":
        return f"not queried: targets.{peer.name}.confirm is none"
    if not accepts(opened, FIND):
        return "the target answers no queries from us"
    for pause_s in peer.patience.confirm_after_s:
        time.sleep(pause_s)
        is_found = _find(peer, opened, payload)
        if is_found is None:
            return "the target refuses queries from us"
        if is_found:
            return ""
    message = f"{peer.place} reported success, but a query does not find the object"
    raise NotConfirmed(message, advice="Check whether the target discards objects of this kind.")


def _confirm_anew(peer: Peer, payload: DeliverPayload) -> str:
    """Query in a separate association, to tell a crashed target from one that aborts on queries.

    Orthanc aborts the association on a query from an unknown AE title.
    """
    try:
        with association(peer, [(FIND, PLAIN)]) as opened:
            return _confirm(peer, opened, payload)
    except NoResponse:
        return HUNG_UP
    except RefusedByTarget:
        return "the target refuses queries from us"
    except (PeerUnreachable, PeerBusy) as exc:
        message = (
            f"{peer.place} reported success, and became unreachable before it answered a query"
        )
        raise NotConfirmed(message) from exc


def _find(peer: Peer, opened: Association, payload: DeliverPayload) -> bool | None:
    """Query for the instance; None if the query itself was refused."""
    query = Dataset()
    query.QueryRetrieveLevel = "IMAGE"
    query.StudyInstanceUID = payload.study_uid
    query.SeriesInstanceUID = payload.series_uid
    query.SOPInstanceUID = payload.sop_instance_uid
    is_found = False
    try:
        for answer, match in opened.send_c_find(query, FIND):
            if "Status" not in answer:
                raise gone(peer, "C-FIND")
            if answer.Status in PENDING:
                is_found |= match is not None and _is(match, payload)
            elif answer.Status != 0:
                return None
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, "C-FIND") from exc
    return is_found


def _is(match: Dataset, payload: DeliverPayload) -> bool:
    """Compare: an archive that ignores unknown keys returns all its instances."""
    return bool(match.get("SOPInstanceUID") == payload.sop_instance_uid)
