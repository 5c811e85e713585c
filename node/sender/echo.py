"""Check whether a target is reachable, and what it accepts; for `segnode check`."""

import time
from dataclasses import dataclass

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.association import Association

from node.config import Target
from node.dicom.uids import (
    BINARY_SEG_CLASS,
    COMMITMENT_CLASS,
    LABELMAP_SEG_CLASS,
    REPORT_CLASS,
    RTSTRUCT_CLASS,
    SECONDARY_CAPTURE_CLASS,
    VERIFICATION_CLASS,
)
from node.errors import RefusedByTarget
from node.sender import statuses
from node.sender.peer import (
    PLAIN,
    Context,
    Patience,
    Peer,
    accepted_syntax,
    accepts,
    association,
    gone,
    refusal,
)
from node.sender.query import FIND
from node.sender.store import store_contexts
from node.tls import Session, session_of

# class -> the transfer syntax in which its objects are written
WRITTEN: dict[str, str] = {
    BINARY_SEG_CLASS: ExplicitVRLittleEndian,
    LABELMAP_SEG_CLASS: RLELossless,
    REPORT_CLASS: ExplicitVRLittleEndian,
    RTSTRUCT_CLASS: ImplicitVRLittleEndian,
    SECONDARY_CAPTURE_CLASS: ExplicitVRLittleEndian,
}


@dataclass(frozen=True, kw_only=True)
class Echo:
    """The capabilities that a target reported."""

    seconds: float
    answers_echo: bool  # False: it accepts associations, but does not offer C-ECHO
    answers_queries: bool
    commits: bool  # it accepts requests for storage commitment
    syntaxes: dict[str, str]  # class -> the transfer syntax that it accepts
    refusals: dict[str, RefusedByTarget]  # class -> why none is accepted
    session: Session | None  # None: without TLS

    @property
    def takes_binary(self) -> bool:
        """Whether it accepts binary segmentations."""
        return BINARY_SEG_CLASS in self.syntaxes

    @property
    def takes_labelmap(self) -> bool:
        """Whether it accepts label maps."""
        return LABELMAP_SEG_CLASS in self.syntaxes

    @property
    def takes_report(self) -> bool:
        """Whether it accepts reports."""
        return REPORT_CLASS in self.syntaxes

    def changed_syntax(self, sop_class: str) -> str:
        """Name the syntax in which objects must be written again; empty if they need not."""
        accepted = self.syntaxes.get(sop_class, "")
        return "" if accepted in ("", WRITTEN[UID(sop_class)]) else UID(accepted).name


def send_echo(target: Target, calling_ae: str, patience: Patience | None = None) -> Echo:
    """Do as `echo`, for a target that is not configured; without TLS."""
    return echo(Peer("target", target, calling_ae, patience or Patience()))


def echo(peer: Peer) -> Echo:
    """Open an association as for a delivery, and send C-ECHO if the target offers it.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse: a retry may succeed.
        RefusedByTarget: the target refuses this AE title, or C-ECHO.
    """
    begun = time.monotonic()
    contexts: list[Context] = [(VERIFICATION_CLASS, PLAIN), (FIND, PLAIN)]
    contexts.append((COMMITMENT_CLASS, PLAIN))
    for sop_class, syntax in WRITTEN.items():
        contexts += store_contexts(sop_class, syntax)
    with association(peer, contexts) as opened:
        answers_echo = accepts(opened, VERIFICATION_CLASS)
        if answers_echo:
            _echo(peer, opened)
        session = session_of(opened.dul.socket.socket)
        syntaxes = {str(sop_class): accepted_syntax(opened, sop_class) for sop_class in WRITTEN}
        return Echo(
            seconds=round(time.monotonic() - begun, 3),
            answers_echo=answers_echo,
            answers_queries=accepts(opened, FIND),
            commits=accepts(opened, COMMITMENT_CLASS),
            session=session,
            syntaxes={sop_class: syntax for sop_class, syntax in syntaxes.items() if syntax},
            refusals={
                sop_class: refusal(peer, opened, sop_class)
                for sop_class, syntax in syntaxes.items()
                if not syntax
            },
        )


def _echo(peer: Peer, opened: Association) -> None:
    try:
        answer = opened.send_c_echo()
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, opened, "C-ECHO") from exc
    if "Status" not in answer:
        raise gone(peer, opened, "C-ECHO")
    if answer.Status != 0:
        message = f"{peer.place} answered C-ECHO with {statuses.name(int(answer.Status))}"
        raise RefusedByTarget(
            message, advice="Ask its administrator for the permissions of our AE title."
        )
