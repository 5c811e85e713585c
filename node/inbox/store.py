"""The inbox: write each received instance to a durable file, and list and prune series.

Guarantees: an instance for which `keep` has returned is complete on disk, and survives SIGKILL and
power loss. The listener has checked before that the bytes are an instance.
"""

import enum
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node import disk, durable
from node.dicom.file_meta import file_head
from node.errors import DiskLow, Misconfigured
from node.inbox import folder as listing
from node.inbox import sending
from node.inbox.changes import Changes
from node.inbox.folder import RECORD, InstanceFile, SeriesFolder, SeriesRecord
from node.inbox.keys import DUPLICATE, RESENT, content_key, instance_name, series_key, sop_key
from node.inbox.markers import AssociationRecord, abort_open
from node.inbox.notes import Note, Notes

MOST_READY_FOLDERS = 100_000  # remembered as prepared; then the memory is freed


class StoreOutcome(enum.Enum):
    """How an instance was stored."""

    new = "new"
    identical = "identical"  # the same bytes were stored before; no second file is written
    conflicting = "conflicting"  # stored beside other content with the same SOP Instance UID


@dataclass(frozen=True, slots=True)
class Incoming:
    """One received instance with checked UIDs; `data` is the encoded data set."""

    study: str
    series: str
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes | memoryview
    received: float  # unix time


class Inbox:
    """The folder of received instances: one listener writes, other processes read and prune."""

    def __init__(self, root: Path, stop_below_bytes: int = 0) -> None:
        """Create the folders; with less than `stop_below_bytes` of free space, `keep` refuses."""
        self.root = root
        self.temporary_folder = root / "tmp"  # files being written; emptied at start
        self._series = root / "series"
        self._sending = root / "sending"
        self._stop_below_bytes = stop_below_bytes
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._owner = -1
        changed = root / "changed"
        for part in (self.temporary_folder, self._series, self._sending, changed, root / "notes"):
            part.mkdir(parents=True, exist_ok=True)
        self.changes = Changes(changed)
        self._notes = Notes(root / "notes", self.temporary_folder)

    # -- for the listener

    def recover(self, now: float) -> int:
        """Take ownership of the inbox, and clean up after a killed listener.

        Returns how many associations of that listener were open; they are marked as aborted.

        Raises:
            Misconfigured: another listener owns this inbox.
        """
        self._owner = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            self.release()
            message = f"another listener receives into {self.root}"
            raise Misconfigured(message, advice="Give each listener its own `data.dir`.") from exc
        for path in self.temporary_folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in self._sending.iterdir():
            path.unlink(missing_ok=True)
        aborted = 0
        for series in self.series_folders():
            if count := abort_open(series.path, now, self.temporary_folder):
                aborted += count
                self.changes.mark([series.key])
        durable.sync_folder(self.root)
        durable.sync_folder(self.root.parent)
        return aborted

    def release(self) -> None:
        """Release the ownership of the inbox; the end of the process does the same."""
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1

    def stop_below(self, free_bytes: int) -> None:
        """Change how much space must stay free."""
        self._stop_below_bytes = free_bytes

    def check_space(self, coming_bytes: int = 0) -> None:
        """Check that `coming_bytes` can be written without going below the required free space.

        Raises:
            DiskLow: fewer free bytes or inodes than `data.stop_accepting_below` requires.
        """
        shortage = disk.space(self.root).shortage(self._stop_below_bytes, coming_bytes)
        if shortage:
            raise DiskLow(shortage, advice="Free some space, or lower `data.stop_accepting_below`.")

    def open(self, calling_ae: str, host: str, now: float) -> AssociationRecord:
        """Record the begin of an association; `keep` leaves a marker in each series it adds to."""
        return AssociationRecord(calling_ae, host, now)

    def keep(self, instance: Incoming, association: AssociationRecord) -> StoreOutcome:
        """Write one received instance durably.

        Raises:
            DiskLow: too little free space.
            OSError: the disk is full or failing; nothing of the instance remains.
        """
        self.check_space(len(instance.data))
        key = series_key(instance.study, instance.series)
        sop = sop_key(instance.sop_instance)
        content = content_key(instance.transfer_syntax, instance.data)
        with self._entered(key, instance) as (folder, descriptor):
            association.enter(folder)
            outcome = self._write(instance, association, folder, (sop, content))
            os.fsync(descriptor)  # also if identical: the first sender may still wait for its fsync
        association.instances[folder] += 1
        self.changes.mark([key])
        sending.mark(self._sending, association, instance.study)
        return outcome

    def close(self, association: AssociationRecord, now: float, *, released: bool) -> None:
        """Mark the end of an association in each of its series; a second call does nothing."""
        if not association.is_closed:
            association.is_closed = True
            association.close("released" if released else "aborted", now, self.temporary_folder)
            self.changes.mark(folder.name for folder in association.instances)
            sending.end(association)

    def note(self, note: Note, now: float) -> None:
        """Leave a note for the operator; equal notes are counted."""
        self._notes.add(note, now)

    # -- for readers

    def series_folders(self) -> list[SeriesFolder]:
        """Return all series, without opening their folders."""
        folders = []
        with os.scandir(self._series) as entries:
            for entry in entries:
                try:
                    folders.append(
                        SeriesFolder(entry.name, Path(entry.path), entry.stat().st_mtime_ns)
                    )
                except FileNotFoundError:  # pruned during the scan
                    continue
        return sorted(folders, key=lambda series: series.key)

    def series_folder(self, key: str) -> SeriesFolder | None:
        """Return one series; None if it was pruned."""
        path = self._series / key
        try:
            return SeriesFolder(key, path, path.stat().st_mtime_ns)
        except FileNotFoundError:
            return None

    def instances(self, folder: SeriesFolder) -> list[InstanceFile]:
        """Return the stored instances of a series, by name."""
        return listing.instances(folder.path)

    def last_sent(self, associations: Iterable[str], study: str) -> float:
        """Return when one of the open associations last sent an image of `study`; 0 if never."""
        return sending.last_sent(self._sending, associations, study)

    def prune(self, folder: SeriesFolder) -> bool:
        """Delete a series, unless it has changed since `folder` was listed or is being written.

        Returns whether the series is gone. An exclusive lock makes this safe: `keep` links and
        acknowledges an instance while it holds a shared lock.
        """
        try:
            descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_mtime_ns != folder.mtime_ns:
                return False
            removed = self.temporary_folder / f"{uuid.uuid4().hex}.pruned"
            folder.path.rename(removed)  # at once: a killed process must not leave half a series
            shutil.rmtree(removed, ignore_errors=True)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def set_aside(self, file: InstanceFile, like: InstanceFile) -> None:
        """Mark `file` as a duplicate of `like`, which has the same image; its bytes stay.

        The later of the two times of receipt is recorded at `like`. Not fsynced: after a power
        loss the caller does this again.
        """
        try:
            if file.last_ns > like.last_ns:
                resent = file.path.with_suffix(RESENT)
                link = self.temporary_folder / f"{uuid.uuid4().hex}.part"
                link.hardlink_to(
                    resent if resent.exists() else file.path
                )  # its time is the time of receipt
                link.replace(like.path.with_suffix(RESENT))
            file.path.rename(file.path.with_suffix(DUPLICATE))
        except FileNotFoundError:  # pruned or set aside by another process meanwhile
            return

    def read_notes(self) -> list[Note]:
        """Return all notes; each is returned again until it is dropped."""
        return self._notes.take()

    def drop_note(self, note: Note) -> None:
        """Delete a note that has been recorded in the database."""
        self._notes.drop(note)

    # -- private

    @contextmanager
    def _entered(self, key: str, instance: Incoming) -> Iterator[tuple[Path, int]]:
        """Create the folder of a series if needed, and lock it against pruning."""
        folder = self._series / key
        while True:
            self._prepare(folder, key, instance)
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                self._ready.discard(key)
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                if listing.is_at(folder, descriptor):
                    yield folder, descriptor
                    return
            finally:
                os.close(descriptor)
            self._ready.discard(key)  # pruned between open and lock

    def _prepare(self, folder: Path, key: str, instance: Incoming) -> None:
        with self._lock:
            if key in self._ready:
                return
            durable.make_folder(folder)
            if not (folder / RECORD).exists():
                record = SeriesRecord(instance.study, instance.series, instance.received)
                content = msgspec.json.encode(record)
                durable.write(folder / RECORD, content, self.temporary_folder)
            if len(self._ready) >= MOST_READY_FOLDERS:
                self._ready.clear()
            self._ready.add(key)

    def _write(
        self,
        instance: Incoming,
        association: AssociationRecord,
        folder: Path,
        keys: tuple[str, str],
    ) -> StoreOutcome:
        path = folder / instance_name(*keys)
        known = _known(association, folder).setdefault(keys[0], set())
        others = any(  # checked on disk: the folder may have been pruned since the scan
            (folder / instance_name(keys[0], content)).exists() for content in known - {keys[1]}
        )
        if path.exists():
            if (
                others
            ):  # an operator may choose the content received last; the instance has its first time
                durable.write(path.with_suffix(RESENT), b"", self.temporary_folder)
            return StoreOutcome.identical
        outcome = StoreOutcome.conflicting if others else StoreOutcome.new
        head = file_head(
            instance.sop_class,
            instance.sop_instance,
            instance.transfer_syntax,
            association.calling_ae,
        )
        with durable.temporary(self.temporary_folder, head, instance.data) as written:
            try:
                path.hardlink_to(written)  # never replaces: an existing name has the same content
            except FileExistsError:
                outcome = StoreOutcome.identical
        known.add(keys[1])
        return outcome


def _known(association: AssociationRecord, folder: Path) -> dict[str, set[str]]:
    """Return sop key -> content keys of the instances in `folder`, scanned once per association."""
    if folder not in association.known:
        known: dict[str, set[str]] = {}
        for file in listing.instances(folder):
            known.setdefault(file.sop_key, set()).add(file.content_key)
        association.known[folder] = known
    return association.known[folder]
