"""Reports about our results, left as files for the process that writes the database."""

import hashlib
from pathlib import Path

import msgspec

from node import durable
from node.commitment.messages import (
    ALL_COMMITTED,
    LARGEST_MESSAGE_BYTES,
    SOME_FAILED,
    CommitmentStatus,
    Report,
    TooManyReferences,
    read_report,
)
from node.dicom.elements import MalformedDataSet

MOST_WAITING = 1000  # files; the sender takes each within a second
LEFTOVER_S = 3600.0  # an unfinished file of this age has no writer
LARGEST_REPORT_BYTES = 1 << 16  # a request of ours names one instance


class ReceivedReports:
    """The folder of received reports: any process adds, the sender takes."""

    def __init__(self, data: Path) -> None:
        """Use the data folder `data`."""
        self._folder = data / "commitment" / "reports"
        durable.make_folder(self._folder)

    def add(self, report: Report) -> bool:
        """Write a report durably; return False if too many wait, or if it is too long.

        Raises:
            OSError: the disk is full or failing.
        """
        content = msgspec.json.encode(report)
        path = self._path(report.transaction)
        if len(content) > LARGEST_REPORT_BYTES:
            return False
        if not path.exists() and len(list(self._folder.iterdir())) >= MOST_WAITING:
            return False
        durable.write(path, content)
        return True

    def receive(self, event: int, data: memoryview, transfer_syntax: str) -> CommitmentStatus:
        """Read and keep an N-EVENT-REPORT; return the status of the answer."""
        if event not in (ALL_COMMITTED, SOME_FAILED):
            return CommitmentStatus.NO_SUCH_EVENT
        if len(data) > LARGEST_MESSAGE_BYTES:
            return CommitmentStatus.RESOURCE_LIMITATION
        try:
            is_kept = self.add(read_report(data, transfer_syntax))
        except (MalformedDataSet, TooManyReferences):
            return CommitmentStatus.INVALID_ARGUMENT
        except OSError:
            return CommitmentStatus.PROCESSING_FAILURE
        return CommitmentStatus.SUCCESS if is_kept else CommitmentStatus.RESOURCE_LIMITATION

    def take(self) -> list[Report]:
        """Return all reports; each is returned again until it is dropped."""
        reports = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                reports.append(msgspec.json.decode(path.read_bytes(), type=Report))
            except FileNotFoundError:
                continue
            except msgspec.MsgspecError:  # of another version
                path.unlink(missing_ok=True)
        return reports

    def drop(self, report: Report) -> None:
        """Delete a report that was recorded in the database."""
        self._path(report.transaction).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Remove what killed processes left unfinished."""
        durable.remove_leftovers(self._folder, LEFTOVER_S)

    def _path(self, transaction: str) -> Path:
        return self._folder / f"{hashlib.sha256(transaction.encode()).hexdigest()[:32]}.json"
