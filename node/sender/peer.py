"""Open an association to a target, explain a rejection, and always close it."""

import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association

from node.config import Target
from node.dicom.uids import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from node.errors import NodeError, NoResponse, PeerBusy, PeerUnreachable, RefusedByTarget

MAX_PDU_BYTES = 131072

Context = tuple[str, Sequence[str]]  # abstract syntax, transfer syntaxes


@dataclass(frozen=True)
class Patience:
    """Timeouts and pauses for one target."""

    connect_s: float = 10.0
    associate_s: float = 30.0
    answer_s: float = 120.0  # a PACS that writes to tape responds late
    # some archives index an object shortly after their response
    confirm_after_s: tuple[float, ...] = (0.0, 0.5, 2.0)


@dataclass(frozen=True)
class Peer:
    """A target with its name in the configuration, and our calling AE title."""

    name: str
    target: Target
    calling_ae: str
    patience: Patience = Patience()

    @property
    def place(self) -> str:
        """Name, AE title and address, for messages."""
        return f"{self.name} ({self.target.ae} at {self.target.host}:{self.target.port})"


# rejections by the service user (PS3.8 table 9-21), by source and diagnostic
_REJECTIONS = {
    (1, 3): "does not know our AE title {ours}: have it registered there",
    (1, 7): "is not called {theirs}: correct targets.{name}.ae",
    (1, 2): "does not support the application context",
}


@contextmanager
def association(peer: Peer, contexts: Sequence[Context]) -> Iterator[Association]:
    """Open an association, and close it however the block ends.

    Raises:
        PeerUnreachable: no response.
        PeerBusy: a transient rejection.
        RefusedByTarget: a permanent rejection, or none of the contexts is accepted.
    """
    ae = AE(ae_title=peer.calling_ae)
    ae.implementation_class_uid = IMPLEMENTATION_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION
    ae.connection_timeout = peer.patience.connect_s
    ae.acse_timeout = peer.patience.associate_s
    ae.dimse_timeout = ae.network_timeout = peer.patience.answer_s
    for abstract, syntaxes in contexts:
        ae.add_requested_context(abstract, list(syntaxes))
    handlers = [(evt.EVT_CONN_OPEN, _tune, [peer.patience.answer_s])]
    try:
        opened = ae.associate(
            peer.target.host,
            peer.target.port,
            ae_title=peer.target.ae,
            max_pdu=MAX_PDU_BYTES,
            evt_handlers=handlers,
        )
    except OSError as exc:  # the name of the host cannot be resolved
        raise _unreachable(peer, "the host cannot be found") from exc
    try:
        if not opened.is_established:
            raise _why_not(peer, opened)
        yield opened
    finally:
        if opened.is_established:
            opened.release()
        elif opened.is_alive():
            opened.kill()


def accepts(opened: Association, abstract: str) -> bool:
    """Return whether the target accepted a context for `abstract`."""
    return any(context.abstract_syntax == abstract for context in opened.accepted_contexts)


def gone(peer: Peer, before: str) -> NoResponse:
    """Return the error of an association that ended before a response: the result is unknown."""
    return NoResponse(f"{peer.place} closed the association before it answered {before}")


def _tune(event: Any, patience_s: float) -> None:
    """Send without delay, and stop waiting for a peer that does not read."""
    wire = event.assoc.dul.socket.socket
    # otherwise each message waits 40 ms for a delayed acknowledgement
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(patience_s), 0))


def _why_not(peer: Peer, opened: Association) -> NodeError:
    if opened.is_rejected:
        return _rejected(peer, opened.acceptor.primitive)
    if opened.rejected_contexts:
        refused = ", ".join(sorted({cx.abstract_syntax.name for cx in opened.rejected_contexts}))
        advice = f"Ask whether it can store this object, or change targets.{peer.name}.seg."
        return RefusedByTarget(f"{peer.place} does not accept {refused}", advice=advice)
    return _unreachable(peer, "no association could be opened")


def _rejected(peer: Peer, answer: Any) -> NodeError:
    """Return the error of a rejection; only a permanent one ends the delivery."""
    if answer.result != 1:
        return PeerBusy(f"{peer.place} rejects associations for now")
    why = _REJECTIONS.get((answer.result_source, answer.diagnostic), "rejects our association")
    why = why.format(ours=peer.calling_ae, theirs=peer.target.ae, name=peer.name)
    what, _, advice = why.partition(": ")
    number = f"source {answer.result_source}, reason {answer.diagnostic}"
    message = f"{peer.place} {what} ({number})"
    return RefusedByTarget(message, advice=f"{advice[:1].upper()}{advice[1:]}." if advice else "")


def _unreachable(peer: Peer, why: str) -> PeerUnreachable:
    advice = "Is the target running, and may this machine reach that port?"
    return PeerUnreachable(f"{peer.place}: {why}", advice=advice)
