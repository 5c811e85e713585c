"""Check whether a target is reachable, and what it accepts; for `segnode check`."""

import time
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from pynetdicom.association import Association

from node.config import Target
from node.dicom.uids import (
    BINARY_SEG_CLASS,
    LABELMAP_SEG_CLASS,
    REPORT_CLASS,
    VERIFICATION_CLASS,
)
from node.errors import RefusedByTarget
from node.sender import statuses
from node.sender.peer import Patience, Peer, accepts, association, gone
from node.sender.store import FIND, PLAIN


@dataclass(frozen=True, kw_only=True)
class Echo:
    """The capabilities that a target reported."""

    seconds: float
    answers_echo: bool  # False: it accepts associations, but does not offer C-ECHO
    takes_binary: bool
    takes_labelmap: bool
    takes_report: bool
    answers_queries: bool


def send_echo(
    target: Target, calling_ae: str, name: str = "target", patience: Patience | None = None
) -> Echo:
    """Open an association as for a delivery, and send C-ECHO if the target offers it.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse: a retry may succeed.
        RefusedByTarget: the target refuses this AE title, or C-ECHO.
    """
    peer = Peer(name, target, calling_ae, patience or Patience())
    begun = time.monotonic()
    contexts = [
        (VERIFICATION_CLASS, PLAIN),
        (BINARY_SEG_CLASS, [ExplicitVRLittleEndian]),
        (LABELMAP_SEG_CLASS, [RLELossless]),
        (REPORT_CLASS, [ExplicitVRLittleEndian]),
        (FIND, PLAIN),
    ]
    with association(peer, contexts) as opened:
        answers_echo = accepts(opened, VERIFICATION_CLASS)
        if answers_echo:
            _echo(peer, opened)
        return Echo(
            seconds=round(time.monotonic() - begun, 3),
            answers_echo=answers_echo,
            takes_binary=accepts(opened, BINARY_SEG_CLASS),
            takes_labelmap=accepts(opened, LABELMAP_SEG_CLASS),
            takes_report=accepts(opened, REPORT_CLASS),
            answers_queries=accepts(opened, FIND),
        )


def _echo(peer: Peer, opened: Association) -> None:
    try:
        answer = opened.send_c_echo()
    except (RuntimeError, ValueError) as exc:
        raise gone(peer, "C-ECHO") from exc
    if "Status" not in answer:
        raise gone(peer, "C-ECHO")
    if answer.Status != 0:
        message = f"{peer.place} answered C-ECHO with {statuses.name(int(answer.Status))}"
        raise RefusedByTarget(
            message, advice="Ask its administrator for the permissions of our AE title."
        )
