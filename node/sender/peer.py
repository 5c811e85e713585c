"""Open an association to a target, explain a rejection, and always close it."""

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from node.config import Config, Target
from node.dicom import uids
from node.errors import (
    NodeError,
    NoResponse,
    PeerBusy,
    PeerUnreachable,
    RefusedByTarget,
    TlsRequired,
)
from node.message_limits import LimitedUpper, MessagesOfTarget
from node.pynetdicom_adapter import AddressInformation
from node.tls import Credentials, TargetTls, fault_of
from node.upper_layer import LimitedSocket

MAX_PDU_BYTES = 131072
TLS_ALERT = 0x15  # first byte of a TLS record, RFC 8446 5.1
CLASS_REFUSED, SYNTAXES_REFUSED = 3, 4  # PS3.8 table 9-18: results of a presentation context

PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
# class -> the key of a target that requests it; all others are segmentations
KEYS = {
    str(uids.NOTICE_CLASS): "notice",
    str(uids.REPORT_CLASS): "report",
    str(uids.RTSTRUCT_CLASS): "rtstruct",
    str(uids.SECONDARY_CAPTURE_CLASS): "picture",
}
Context = tuple[str, Sequence[str]]  # abstract syntax, transfer syntaxes


@dataclass(frozen=True)
class Patience:
    """Timeouts and pauses for one target."""

    connect_s: float = 10.0
    associate_s: float = 30.0
    answer_s: float = 120.0  # a PACS that writes to tape responds late
    report_s: float = 5.0  # for a storage commitment report on the association of its request
    # some archives index an object shortly after their response
    confirm_after_s: tuple[float, ...] = (0.0, 0.5, 2.0)


class Line:
    """The connection of one delivery, which another thread can cut."""

    def __init__(self) -> None:
        """Start without a connection."""
        self._socket: LimitedSocket | None = None
        self._is_cut = False
        self._lock = threading.Lock()

    def hold(self, connection: LimitedSocket) -> None:
        """Remember the connection; end it at once if the line is cut."""
        with self._lock:
            self._socket = connection
            if self._is_cut:
                connection.hang_up()

    def cut(self) -> None:
        """End the connection, and every later one until `mend`."""
        with self._lock:
            self._is_cut = True
            if self._socket is not None:
                self._socket.hang_up()

    def mend(self) -> None:
        """Allow connections again, for the next delivery."""
        with self._lock:
            self._is_cut = False
            self._socket = None


@dataclass(frozen=True)
class Peer:
    """A target with its name in the configuration, and our calling AE title.

    A caller, to which reports are sent, has no name.
    """

    name: str
    target: Target
    calling_ae: str
    patience: Patience = Patience()
    line: Line = field(default_factory=Line, compare=False)
    tls: TargetTls | None = None  # None: without TLS
    has_answered_queries: bool = False  # in an earlier delivery

    @property
    def key(self) -> str:
        """The place of this peer in the configuration, for messages."""
        return f"targets.{self.name}" if self.name else "callers"

    @property
    def place(self) -> str:
        """Name, AE title and address, for messages."""
        name = self.name or "caller"
        return f"{name} ({self.target.ae} at {self.target.host}:{self.target.port})"


def peer_of(
    config: Config, name: str, credentials: Credentials | None, patience: Patience | None = None
) -> Peer:
    """Return the peer of a target; `credentials` are those of `tls`, if the node has it."""
    target = config.targets[name]
    secured = TargetTls(credentials, target) if target.tls and credentials else None
    return Peer(name, target, config.node.ae_title, patience or Patience(), tls=secured)


# rejections by the service user (PS3.8 table 9-21), by source and diagnostic
_REJECTIONS = {
    (1, 3): "does not know our AE title {ours}: have it registered there",
    (1, 7): "is not called {theirs}: correct {key}.ae",
    (1, 2): "does not support the application context",
}


class _CallingAE(AE):
    """An AE whose connections have deadlines and a limit for PDUs."""

    def __init__(self, peer: Peer) -> None:
        super().__init__(ae_title=peer.calling_ae)
        self._peer = peer
        self.connection: LimitedSocket | None = None

    def _create_socket(
        self, assoc: Association, address: AddressInformation, tls_args: Any
    ) -> LimitedSocket:
        del tls_args  # pynetdicom's own TLS discards the reason of a failure
        assoc.dul, assoc.dimse = LimitedUpper(assoc), MessagesOfTarget(assoc)
        assoc.acse_timeout = self.acse_timeout  # again, because the upper layer keeps the timeouts
        assoc.network_timeout = self.network_timeout
        self.connection = LimitedSocket(
            assoc,
            address=address,
            send_seconds=self._peer.patience.answer_s,
            secure=self._peer.tls.secure if self._peer.tls else None,
        )
        return self.connection


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[Context],
    *,
    handlers: Sequence[Any] = (),
    roles: Sequence[Any] = (),
) -> Iterator[Association]:
    """Open an association, and close it however the block ends.

    `handlers` are for requests of the peer; `roles` are the role selections to negotiate.

    Raises:
        PeerUnreachable: no response, or no TLS connection.
        PeerBusy: a transient rejection.
        RefusedByTarget: a permanent rejection, or none of the contexts is accepted.
    """
    ae = _CallingAE(peer)
    ae.implementation_class_uid = uids.IMPLEMENTATION_UID
    ae.implementation_version_name = uids.IMPLEMENTATION_VERSION
    ae.connection_timeout = peer.patience.connect_s
    ae.acse_timeout = peer.patience.associate_s
    ae.dimse_timeout = ae.network_timeout = peer.patience.answer_s
    proposed = [build_context(abstract, list(syntaxes)) for abstract, syntaxes in contexts]
    all_handlers: list[Any] = [(evt.EVT_CONN_OPEN, _on_open, [peer.line]), *handlers]
    try:
        opened = ae.associate(
            peer.target.host,
            peer.target.port,
            ae_title=peer.target.ae,
            contexts=proposed,
            max_pdu=MAX_PDU_BYTES,
            evt_handlers=all_handlers,
            ext_neg=list(roles),
        )
    except OSError as exc:  # the name of the host cannot be resolved
        raise _unreachable(peer, "the host cannot be found") from exc
    try:
        if not opened.is_established:
            raise _why_not(peer, opened, ae.connection)
        yield opened
    finally:
        if opened.dul.socket.problem:  # aborted: a release would wait for its response
            opened.kill()
            opened.dul.socket.close()
        elif opened.is_established:
            opened.release()
        elif opened.is_alive():
            opened.kill()


def accepts(opened: Association, abstract: str) -> bool:
    """Return whether the target accepted a context for `abstract`."""
    return any(context.abstract_syntax == abstract for context in opened.accepted_contexts)


def gone(peer: Peer, opened: Association, before: str) -> NoResponse:
    """Return the error of an association that ended before a response: the result is unknown."""
    problem: str = opened.dul.socket.problem
    if problem:
        return NoResponse(
            f"{peer.place} violated the protocol before it answered {before}: {problem}"
        )
    return NoResponse(f"{peer.place} closed the association before it answered {before}")


def accepted_syntax(opened: Association, abstract: str) -> str:
    """Return the first transfer syntax that was accepted for `abstract`; empty if none was."""
    for context in opened.accepted_contexts:
        if context.abstract_syntax == abstract:
            return str(context.transfer_syntax[0])
    return ""


def refusal(peer: Peer, opened: Association, abstract: str) -> RefusedByTarget:
    """Return the error of a class that was refused, or of which every transfer syntax was."""
    refused = [cx for cx in opened.rejected_contexts if cx.abstract_syntax == abstract]
    name = UID(abstract).name
    if any(context.result == SYNTAXES_REFUSED for context in refused):
        offered = [
            UID(syntax).name
            for context in opened.requestor.requested_contexts
            for syntax in context.transfer_syntax
            if context.abstract_syntax == abstract
        ]
        message = f"{peer.place} accepts {name}, but none of the transfer syntaxes offered: "
        advice = "Ask which transfer syntaxes it accepts for this class, and allow one of these."
        return RefusedByTarget(message + ", ".join(dict.fromkeys(offered)), advice=advice)
    key = KEYS.get(abstract, "seg")
    advice = f"Ask whether it can store this object, or change targets.{peer.name}.{key}."
    return RefusedByTarget(f"{peer.place} does not accept {name}", advice=advice)


def _on_open(event: Any, line: Line) -> None:
    """Send without delay: otherwise each message waits 40 ms for a delayed acknowledgement."""
    connection = event.assoc.dul.socket
    connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.hold(connection)


def _why_not(peer: Peer, opened: Association, connection: LimitedSocket | None) -> NodeError:
    if opened.is_rejected:
        return _rejected(peer, opened.acceptor.primitive)
    if opened.rejected_contexts:
        return refusal(peer, opened, str(opened.rejected_contexts[0].abstract_syntax))
    fault = _tls_fault(peer, connection) if connection else None
    if fault is not None:
        return type(fault)(f"{peer.place}: {fault.message}", advice=fault.advice)
    if connection is not None and connection.is_unanswered:
        tls = "" if peer.tls else f" Does it expect TLS (targets.{peer.name}.tls)?"
        message = f"{peer.place}: it closed the connection without an answer"
        return PeerUnreachable(message, advice=f"Does it know the address of this machine?{tls}")
    if connection is not None and connection.problem:
        return _unreachable(peer, f"it violated the protocol: {connection.problem}")
    return _unreachable(peer, "no association could be opened")


def _tls_fault(peer: Peer, connection: LimitedSocket) -> NodeError | None:
    """Return why TLS, or its absence, prevented an association; None if it did not."""
    if peer.tls is None:
        if connection.first_byte != TLS_ALERT:
            return None
        advice = f"Set targets.{peer.name}.tls to true, or correct its port."
        return TlsRequired("it answered with a TLS alert: it expects TLS", advice=advice)
    is_tls = isinstance(connection.error, (ssl.SSLError, NodeError))
    return fault_of(connection.error) if connection.error and is_tls else None


def _rejected(peer: Peer, answer: Any) -> NodeError:
    """Return the error of a rejection; only a permanent one ends the delivery."""
    if answer.result != 1:
        return PeerBusy(f"{peer.place} rejects associations for now")
    why = _REJECTIONS.get((answer.result_source, answer.diagnostic), "rejects our association")
    why = why.format(ours=peer.calling_ae, theirs=peer.target.ae, key=peer.key)
    problem, _, advice = why.partition(": ")
    number = f"source {answer.result_source}, reason {answer.diagnostic}"
    message = f"{peer.place} {problem} ({number})"
    return RefusedByTarget(message, advice=f"{advice[:1].upper()}{advice[1:]}." if advice else "")


def _unreachable(peer: Peer, why: str) -> PeerUnreachable:
    advice = "Is the target running, and may this machine reach that port?"
    return PeerUnreachable(f"{peer.place}: {why}", advice=advice)
