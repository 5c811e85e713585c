"""Send several files over one association, without the queue; for the demo and `send-test`."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pydicom

from node.config import Target
from node.errors import NoResponse, RefusedByTarget
from node.sender import statuses
from node.sender.peer import Context, Patience, Peer, association, gone

ATTEMPTS = 3
ANSWER_S = 5.0  # on loopback an answer takes milliseconds


def send_files(target: Target, calling_ae: str, files: Sequence[Path]) -> None:
    """Send `files` in their order, and release the association.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse, RefusedByTarget: at the first failure.
    """
    send_series(Peer(target.ae, target, calling_ae, Patience(answer_s=ANSWER_S)), files)


def send_series(peer: Peer, files: Sequence[Path]) -> None:
    """Do as `send_files`, for a target with TLS too.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse, RefusedByTarget: at the first failure.
    """
    kinds: dict[str, set[str]] = {}
    for path in files:
        meta = pydicom.filereader.read_file_meta_info(path)
        kinds.setdefault(str(meta.MediaStorageSOPClassUID), set()).add(str(meta.TransferSyntaxUID))
    contexts = [(kind, sorted(syntaxes)) for kind, syntaxes in kinds.items()]
    for _ in range(ATTEMPTS - 1):
        # pynetdicom sometimes loses a response; resending changes nothing at the target
        with contextlib.suppress(NoResponse):
            return _send(peer, contexts, files)
    return _send(peer, contexts, files)


def _send(peer: Peer, contexts: Sequence[Context], files: Sequence[Path]) -> None:
    with association(peer, contexts) as opened:
        for path in files:
            answer = opened.send_c_store(path)
            if "Status" not in answer:
                raise gone(peer, opened, "C-STORE")
            if answer.Status != 0:
                message = f"{peer.place} answered {statuses.name(int(answer.Status))}"
                raise RefusedByTarget(message, advice="See the log of the target.")
