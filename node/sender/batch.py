"""Many files over one association, for the demo and for tests by hand: no queue, no retry."""

from collections.abc import Sequence
from pathlib import Path

import pydicom

from node.config import Target
from node.errors import Refused
from node.sender import statuses
from node.sender.peer import Patience, Peer, association, gone


def send_files(target: Target, calling_ae: str, files: Sequence[Path]) -> None:
    """Send `files` in their order and release.

    Raises:
        PeerUnreachable, PeerBusy, NoResponse, Refused: at the first that is not stored.
    """
    peer = Peer(target.ae, target, calling_ae, Patience())
    kinds: dict[str, set[str]] = {}
    for path in files:
        meta = pydicom.filereader.read_file_meta_info(path)
        kinds.setdefault(str(meta.MediaStorageSOPClassUID), set()).add(str(meta.TransferSyntaxUID))
    with association(
        peer, [(kind, sorted(syntaxes)) for kind, syntaxes in kinds.items()]
    ) as opened:
        for path in files:
            answer = opened.send_c_store(path)
            if "Status" not in answer:
                raise gone(peer, "C-STORE")
            if answer.Status != 0:
                message = f"{peer.place} answered {statuses.name(int(answer.Status))}"
                raise Refused(message, advice="See its log.")
