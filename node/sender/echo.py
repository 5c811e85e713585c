"""Is a target there, and what would it take? For `segnode check`."""

import time
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from node.config import Target
from node.errors import RefusedByTarget
from node.sender import statuses
from node.sender.peer import Patience, Peer, accepts, association, gone
from node.sender.store import EXPLICIT, FIND, IMPLICIT

SEG_BINARY = "1.2.840.10008.5.1.4.1.1.66.4"
SEG_LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR, the form of our reports
RLE = "1.2.840.10008.1.2.5"  # LABELMAP leaves in it


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
        (str(Verification), [EXPLICIT, IMPLICIT]),
        (SEG_BINARY, [EXPLICIT]),
        (SEG_LABELMAP, [RLE]),
        (REPORT, [EXPLICIT]),
        (FIND, [EXPLICIT, IMPLICIT]),
    ]
    with association(peer, wanted) as opened:
        answers_echo = accepts(opened, str(Verification))
        if answers_echo:
            _echo(peer, opened)
        return Echo(
            seconds=round(time.monotonic() - begun, 3),
            answers_echo=answers_echo,
            takes_binary=accepts(opened, SEG_BINARY),
            takes_labelmap=accepts(opened, SEG_LABELMAP),
            takes_report=accepts(opened, REPORT),
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
