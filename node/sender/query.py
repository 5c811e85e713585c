"""Query a target for an object that was sent to it."""

import time

from pydicom.dataset import Dataset
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from node.dicom.build import new_dataset
from node.errors import NoResponse, NotConfirmed, PeerBusy, PeerUnreachable, RefusedByTarget
from node.queue import DeliverPayload
from node.sender.peer import PLAIN, Peer, accepts, association, gone

FIND = str(StudyRootQueryRetrieveInformationModelFind)
HUNG_UP = "the target aborts associations on queries from us"
MOST_MATCHES = 10_000  # an archive that ignores unknown keys may return all instances of a study
PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4: the response has a match


def confirm(peer: Peer, opened: Association, payload: DeliverPayload) -> str:
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


def confirm_anew(peer: Peer, payload: DeliverPayload) -> str:
    """Query in a separate association, to tell a crashed target from one that aborts on queries.

    Orthanc aborts the association on a query from an unknown AE title.

    Raises:
        NotConfirmed: as `confirm`, or the target became unreachable.
        NoResponse: it aborts, although it has answered queries before.
    """
    try:
        with association(peer, [(FIND, PLAIN)]) as opened:
            return confirm(peer, opened, payload)
    except NoResponse as exc:
        if not peer.has_answered_queries:
            return HUNG_UP
        message = f"{peer.place} reported success, and ends associations when queried"
        advice = (
            "It has answered queries before. If it no longer does, set "
            f"targets.{peer.name}.confirm to none."
        )
        raise NoResponse(message, advice=advice) from exc
    except RefusedByTarget:
        return "the target refuses queries from us"
    except (PeerUnreachable, PeerBusy) as exc:
        message = (
            f"{peer.place} reported success, and became unreachable before it answered a query"
        )
        raise NotConfirmed(message) from exc


def query_of(payload: DeliverPayload) -> Dataset:
    """Return the identifier that queries for the object, or retrieves it (PS3.4 C.6.2)."""
    return new_dataset(
        QueryRetrieveLevel="IMAGE",
        StudyInstanceUID=payload.study_uid,
        SeriesInstanceUID=payload.series_uid,
        SOPInstanceUID=payload.sop_instance_uid,
    )


def _find(peer: Peer, opened: Association, payload: DeliverPayload) -> bool | None:
    """Query for the instance; None if the query itself was refused.

    Raises:
        NoResponse: the association ended early, or the responses do not end.
    """
    query = query_of(payload)
    is_found = False
    until = time.monotonic() + peer.patience.answer_s
    try:
        for count, (answer, match) in enumerate(opened.send_c_find(query, FIND)):
            if count > MOST_MATCHES or time.monotonic() > until:
                opened.abort()
                if is_found:
                    return True
                raise NoResponse(f"{peer.place} sends matches of a query without end")
            if "Status" not in answer:
                raise gone(peer, opened, "C-FIND")
            if answer.Status in PENDING:
                is_found |= match is not None and _is(match, payload)
            elif answer.Status != 0:
                return None
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, opened, "C-FIND") from exc
    return is_found


def _is(match: Dataset, payload: DeliverPayload) -> bool:
    """Compare: an archive that ignores unknown keys returns all its instances."""
    return bool(match.get("SOPInstanceUID") == payload.sop_instance_uid)
