"""Send one object to a target outside of the queue, and find out what the target kept of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pydicom
from pydicom.uid import UID

from node.commitment import ReceivedReports
from node.errors import NodeError, RefusedByTarget
from node.queue import DeliverPayload, DeliverResult
from node.sender.commit import Commitment, conclude, deliver_for_commitment
from node.sender.compare import additions, differences
from node.sender.peer import Peer
from node.sender.retrieve import retrieve
from node.sender.store import deliver

MOST_NAMED = 10  # elements in a list


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a target did with one object."""

    object: str  # segmentation, report, ...
    sop_instance_uid: str
    transfer_syntax: str  # in which the object was written; a note says if it was sent in another
    status: str = ""  # by name; empty if it was not stored
    confirmed_by: str = ""  # query or commitment; empty: not confirmed
    retrieved: bool = False
    changed: tuple[str, ...] = ()  # elements that the target changed or removed
    added: tuple[str, ...] = ()  # elements that it added
    note: str = ""
    problem: str = ""  # why it was not stored or not found
    advice: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the target stored the object, and changed nothing of it."""
        return bool(self.status) and not self.problem and not self.changed


def send_trial(peer: Peer, payload: DeliverPayload, file: Path, name: str, folder: Path) -> Trial:
    """Store `file`, confirm it as the target is configured, and retrieve it where that is offered.

    `folder` is for the report of a storage commitment.

    Raises:
        PeerUnreachable, NoResponse, PeerBusy: a retry may succeed.
    """
    syntax = UID(pydicom.filereader.read_file_meta_info(file).TransferSyntaxUID)
    trial = Trial(
        object=name, sop_instance_uid=payload.sop_instance_uid, transfer_syntax=syntax.name
    )
    try:
        result = _delivered(peer, payload, file, folder)
    except RefusedByTarget as exc:
        return replace(trial, problem=exc.message, advice=exc.advice)
    except NodeError as exc:
        if exc.code != "not-confirmed":
            raise
        return replace(trial, problem=exc.message, advice=exc.advice)
    trial = replace(trial, status=result.status, confirmed_by=result.confirmed_by, note=result.note)
    retrieved = retrieve(peer, payload, syntax)
    if retrieved is None:
        note = "; ".join(filter(None, (trial.note, "not compared: the target offers us no C-GET")))
        return replace(trial, note=note)
    sent = pydicom.dcmread(file)
    changed, added = (
        differences(sent, retrieved)[:MOST_NAMED],
        additions(sent, retrieved)[:MOST_NAMED],
    )
    return replace(trial, retrieved=True, changed=tuple(changed), added=tuple(added))


class _Request:
    """A request for storage commitment outside of the queue."""

    def __init__(self, reports: ReceivedReports) -> None:
        self.reports = reports
        self.sent: DeliverResult | None = None
        self._transaction = ""

    def record(self, transaction: str, sent: DeliverResult) -> None:
        """Remember the request, before it is sent."""
        self._transaction, self.sent = transaction, sent

    def report(self) -> str:
        """Return the report as JSON; empty if it did not come."""
        reports = [one for one in self.reports.take() if one.transaction == self._transaction]
        return msgspec.json.encode(reports[0]).decode() if reports else ""


def _delivered(peer: Peer, payload: DeliverPayload, file: Path, folder: Path) -> DeliverResult:
    if peer.target.confirm != "commitment":
        # a target that is trusted in daily work is queried here, where it answers
        asked = replace(peer, target=msgspec.structs.replace(peer.target, confirm="find"))
        return deliver(asked, payload, file)
    request = _Request(ReceivedReports(folder))
    commitment = Commitment(request.reports, request.record, lambda: bool(request.report()))
    result = deliver_for_commitment(peer, payload, file, commitment)
    if result is not None:
        return result
    sent = request.sent
    assert sent is not None  # recorded before the request
    if report := request.report():
        return conclude(peer, payload, sent, report)
    asked = replace(peer, target=msgspec.structs.replace(peer.target, confirm="find"))
    result = conclude(asked, payload, sent, "")
    note = "the target accepted the request for storage commitment; its report on another "
    note += "association is not awaited"
    return msgspec.structs.replace(result, note=note)
