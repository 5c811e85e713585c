"""Is a target there, and what would it take? For `segnode check`."""

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
    """What a target answered."""

    seconds: float
    answers_echo: bool  # False: it opens associations, but was never asked for C-ECHO
    takes_binary: bool
    takes_labelmap: bool
    takes_report: bool
    answers_queries: bool


def send_echo(
    target: Target, calling_ae: str, name: str = "target", patience: Patience | None = None
) -> Echo:
    """Open an association as for a delivery and send C-ECHO, where the target offers it.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse: not now.
        RefusedByTarget: not with this AE title, or C-ECHO itself is refused.
    """
    peer = Peer(name, target, calling_ae, patience or Patience())
    begun = time.monotonic()
    wanted = [
        (VERIFICATION_CLASS, PLAIN),
        (BINARY_SEG_CLASS, [ExplicitVRLittleEndian]),
        (LABELMAP_SEG_CLASS, [RLELossless]),
        (REPORT_CLASS, [ExplicitVRLittleEndian]),
        (FIND, PLAIN),
    ]
    with association(peer, wanted) as opened:
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
            message, advice="Ask its administrator what our AE title may do there."
        )
