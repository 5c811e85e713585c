"""Send one object to one target as the verified bytes, then query the target for it."""

import time
from pathlib import Path

import msgspec
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset

from node.errors import Defect, NoResponse
from node.package.folder import file_digest
from node.pynetdicom_adapter import send_files_unchanged
from node.queue import DeliverPayload, DeliverResult
from node.sender import statuses
from node.sender.peer import (
    PLAIN,
    Context,
    Peer,
    accepted_syntax,
    association,
    gone,
    refusal,
)
from node.sender.query import FIND, HUNG_UP, confirm, confirm_anew
from node.sender.reencode import reencoded
from node.sender.statuses import Meaning

send_files_unchanged()


def deliver(peer: Peer, payload: DeliverPayload, file: Path) -> DeliverResult:
    """Send `file` and query for it.

    Raises:
        Defect: the file is not the one that was verified.
        PeerUnreachable, NoResponse, PeerBusy, NotConfirmed: to be retried with the same object.
        RefusedByTarget: the target refuses the object.
    """
    contexts = contexts_of(payload, file)
    if peer.target.confirm == "find":
        contexts.append((FIND, PLAIN))
    begun = time.monotonic()
    with association(peer, contexts) as opened:
        sent = store(peer, opened, payload, file)
        try:
            unknown = confirm(peer, opened, payload)
        except NoResponse:
            unknown = HUNG_UP
    if unknown == HUNG_UP:
        unknown = confirm_anew(peer, payload)
    return msgspec.structs.replace(
        sent,
        confirmed_by="" if unknown else "query",
        note="; ".join(note for note in (sent.note, unknown) if note),
        seconds=round(time.monotonic() - begun, 3),
    )


def contexts_of(payload: DeliverPayload, file: Path) -> list[Context]:
    """Return the contexts in which the object of `file` is offered.

    Raises:
        Defect: the file is not the one that was verified.
    """
    return store_contexts(payload.sop_class_uid, _syntax(file, payload))


def store(peer: Peer, opened: Association, payload: DeliverPayload, file: Path) -> DeliverResult:
    """Send `file` over an association with its contexts; return the answer, still unconfirmed.

    Raises:
        NoResponse, PeerBusy, RefusedByTarget: as `deliver`.
    """
    begun = time.monotonic()
    as_written = _syntax(file, payload)
    syntax = accepted_syntax(opened, payload.sop_class_uid)
    if syntax not in (as_written, *PLAIN):
        raise refusal(peer, opened, payload.sop_class_uid)
    code = _store(peer, opened, file if syntax == as_written else reencoded(file, syntax))
    warned = "the target warns" if statuses.meaning(code) is Meaning.WARNED else ""
    changed = "" if syntax == as_written else f"sent in {UID(syntax).name}"
    return DeliverResult(
        status=statuses.name(code),
        note="; ".join(note for note in (warned, changed) if note),
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
        problem = (
            "was altered after it was verified" if file.is_file() else "is no longer in the outbox"
        )
        advice = "`segnode jobs resend N` creates the same object again and sends it."
        raise Defect(f"{payload.file} {problem}", advice=advice)
    meta, _ = split_dataset(file)
    return str(meta.TransferSyntaxUID)


def _store(peer: Peer, opened: Association, file: Path | Dataset) -> int:
    """Send the object, and return the status with which it was stored."""
    try:
        answer = opened.send_c_store(file)
    except (RuntimeError, ValueError) as exc:  # the association ended just before
        raise gone(peer, opened, "C-STORE") from exc
    if "Status" not in answer:
        raise gone(peer, opened, "C-STORE")
    code = int(answer.Status)
    if statuses.meaning(code) not in (Meaning.STORED, Meaning.WARNED):
        raise statuses.error(peer.place, code)
    return code
