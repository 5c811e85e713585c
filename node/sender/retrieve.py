"""Retrieve an object that a target stored (C-GET, PS3.4 C.4.3)."""

from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pynetdicom import build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from node.errors import NoResponse, RefusedByTarget
from node.queue import DeliverPayload
from node.sender.peer import PLAIN, Peer, accepts, association, gone
from node.sender.query import query_of

GET = str(StudyRootQueryRetrieveInformationModelGet)
PENDING = 0xFF00
STORED, NOT_THIS_ONE = 0x0000, 0xA900


def retrieve(peer: Peer, payload: DeliverPayload, syntax: str) -> Dataset | None:
    """Return the object as the target returns it by C-GET; None if it offers none to us.

    `syntax` is the transfer syntax in which it was sent.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse: a retry may succeed.
    """
    kind = payload.sop_class_uid
    contexts = [(GET, PLAIN), (kind, list(dict.fromkeys((syntax, *PLAIN))))]
    received: list[Dataset] = []
    handlers = [(evt.EVT_C_STORE, _on_store, [payload.sop_instance_uid, received])]
    role = build_role(kind, scp_role=True)
    try:
        with association(peer, contexts, handlers=handlers, roles=[role]) as opened:
            if accepts(opened, GET):
                _get(peer, opened, payload)
    except (RefusedByTarget, NoResponse):  # some targets end the association instead of an answer
        return None
    return received[0] if received else None


def _get(peer: Peer, opened: Any, payload: DeliverPayload) -> None:
    try:
        for answer, _ in opened.send_c_get(query_of(payload), GET):
            if "Status" not in answer:
                raise gone(peer, opened, "C-GET")
            if answer.Status != PENDING:
                return
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, opened, "C-GET") from exc


def _on_store(event: Any, instance: str, received: list[Dataset]) -> int:
    """Take the object that was requested, and no other."""
    if event.request.AffectedSOPInstanceUID != instance:
        return NOT_THIS_ONE
    dataset = pydicom.dcmread(BytesIO(event.encoded_dataset()))
    received.append(dataset)
    return STORED
