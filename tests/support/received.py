"""Put images into an inbox through `node.inbox`, as the listener does, at any time."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pydicom

from node.inbox import Inbox, Incoming, SeriesFolder
from tests.support.peers import EXPLICIT, IMPLICIT, encode

Ends = Literal["released", "aborted", "open"]


def receive(
    inbox: Inbox, paths: Sequence[Path], at: float, *, ends: Ends = "released", ae: str = "CT01"
) -> SeriesFolder:
    """Receive files of one series over one association at the time `at`; return their folder."""
    association = inbox.open(ae, "10.1.2.3", at)
    before = {folder.key: folder.mtime_ns for folder in inbox.series_folders()}
    for path in paths:
        dataset = pydicom.dcmread(path)
        inbox.keep(
            Incoming(
                study=str(dataset.StudyInstanceUID),
                series=str(dataset.SeriesInstanceUID),
                sop_class=str(dataset.SOPClassUID),
                sop_instance=str(dataset.SOPInstanceUID),
                transfer_syntax=str(dataset.file_meta.TransferSyntaxUID),
                data=encode(pydicom.Dataset(dataset), _plain(dataset.file_meta.TransferSyntaxUID)),
                received=at,
            ),
            association,
        )
    for path in association.sending:
        os.utime(path, (at, at))
    if ends != "open":
        inbox.close(association, at, released=ends == "released")
    (changed,) = (f for f in inbox.series_folders() if before.get(f.key) != f.mtime_ns)
    os.utime(changed.path, (at, at))  # the times of the folder follow the clock of the test
    (folder,) = (f for f in inbox.series_folders() if f.key == changed.key)
    return folder


def _plain(syntax: pydicom.uid.UID) -> str:
    """Return the encoding of all elements but the pixels."""
    return IMPLICIT if syntax == IMPLICIT else EXPLICIT
