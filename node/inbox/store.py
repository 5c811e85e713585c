"""The inbox: bytes of one instance in, a durable file out.

Promises: what `keep` returns for is on disk, whole, and survives SIGKILL and power loss.
Leaves to the listener: whether the bytes are an instance at all.
"""

import enum
import fcntl
import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node import durable
from node.dicom.file_meta import file_head
from node.errors import DiskLow, Misconfigured
from node.inbox import folder as listing
from node.inbox.folder import RECORD, InstanceFile, SeriesFolder, SeriesRecord
from node.inbox.keys import AGAIN, SAME, content_key, instance_name, series_key, sop_key
from node.inbox.markers import AssociationRecord, abort_open
from node.inbox.notes import Note, Notes

MOST_READY_FOLDERS = 100_000  # remembered as prepared; beyond it, the memory is worth more


class Kept(enum.Enum):
    """What became of an instance that is now safe."""

    new = "new"
    identical = "identical"  # the same bytes are here already; no second file was made
    conflicting = "conflicting"  # kept beside other content under the same SOP Instance UID


@dataclass(frozen=True, slots=True)
class Incoming:
    """One instance as received; UIDs have been checked, `data` is the encoded data set."""

    study: str
    series: str
    sop_class: str
    sop_instance: str
    transfer_syntax: str
    data: bytes | memoryview
    received: float  # unix time


class Inbox:
    """The folder that the listener writes, and that everyone else reads."""

    def __init__(self, root: Path, stop_below_bytes: int = 0) -> None:
        """Make the folders; below `stop_below_bytes` of free space, nothing is accepted."""
        self.root = root
        self.temporary_folder = root / "tmp"  # files being written; swept at start
        self._series = root / "series"
        self._stop_below_bytes = stop_below_bytes
        self._ready: set[str] = set()
        self._lock = threading.Lock()
        self._owner = -1
        for part in (self.temporary_folder, self._series, root / "notes"):
            part.mkdir(parents=True, exist_ok=True)
        self._notes = Notes(root / "notes", self.temporary_folder)

    # -- the listener's side

    def recover(self, now: float) -> int:
        """Own the inbox, sweep what a killed listener left, and return its open associations.

        Raises:
            Misconfigured: another process receives into this inbox.
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
        aborted = sum(
            abort_open(series.path, now, self.temporary_folder) for series in self.series_folders()
        )
        durable.sync_folder(self.root)
        durable.sync_folder(self.root.parent)
        return aborted

    def release(self) -> None:
        """Give up owning the inbox; the end of the process does the same."""
        if self._owner >= 0:
            os.close(self._owner)
            self._owner = -1

    def check_space(self, coming_bytes: int = 0) -> None:
        """Do nothing while there is room, also when `coming_bytes` more have been written.

        Raises:
            DiskLow: less free space than `data.stop_accepting_below`.
        """
        free = self.free_bytes()
        if free - coming_bytes < self._stop_below_bytes:
            coming = f" beside {coming_bytes >> 20} MiB that come" if coming_bytes >> 20 else ""
            wanted = f"{self._stop_below_bytes >> 20} MiB are wanted{coming}"
            message = f"{free >> 20} MiB are free, {wanted}"
            raise DiskLow(message, advice="Free some space, or lower `data.stop_accepting_below`.")

    def open(self, calling_ae: str, host: str, now: float) -> AssociationRecord:
        """Begin an association; it leaves its mark in each series that it adds to."""
        return AssociationRecord(calling_ae, host, now)

    def keep(self, instance: Incoming, association: AssociationRecord) -> Kept:
        """Write one received instance durably.

        Raises:
            DiskLow: too little space to accept anything.
            OSError: the disk is full or broken; nothing of the instance remains.
        """
        self.check_space(len(instance.data))
        key = series_key(instance.study, instance.series)
        sop = sop_key(instance.sop_instance)
        content = content_key(instance.transfer_syntax, instance.data)
        with self._entered(key, instance) as (folder, descriptor):
            association.enter(folder)
            kept = self._write(instance, association, folder, (sop, content))
            os.fsync(descriptor)  # also when identical: its first sender may not have got so far
        association.instances[folder] += 1
        return kept

    def close(self, association: AssociationRecord, now: float, *, released: bool) -> None:
        """Write in each series that the association ended, and how; a second time does nothing."""
        if not association.is_closed:
            association.is_closed = True
            association.close("released" if released else "aborted", now, self.temporary_folder)

    def note(self, note: Note, now: float) -> None:
        """Leave a fact for the operator; counted when it waits already."""
        self._notes.add(note, now)

    # -- the readers' side

    def series_folders(self) -> list[SeriesFolder]:
        """Return every series, without opening any."""
        found = []
        with os.scandir(self._series) as entries:
            for entry in entries:
                try:
                    found.append(
                        SeriesFolder(entry.name, Path(entry.path), entry.stat().st_mtime_ns)
                    )
                except FileNotFoundError:  # pruned while we looked
                    continue
        return sorted(found, key=lambda series: series.key)

    def instances(self, folder: SeriesFolder) -> list[InstanceFile]:
        """Return the kept instances of a series, by name."""
        return listing.instances(folder.path)

    def prune(self, folder: SeriesFolder) -> bool:
        """Delete a series, unless it has changed since `folder` was listed or is being written.

        The lock makes this safe: an instance is linked, and acknowledged, under a shared one.
        """
        try:
            descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_mtime_ns != folder.mtime_ns:
                return False
            gone = self.temporary_folder / f"{uuid.uuid4().hex}.pruned"
            folder.path.rename(gone)  # at once: a killed process must not leave half a series
            shutil.rmtree(gone, ignore_errors=True)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def set_aside(self, file: InstanceFile, like: InstanceFile) -> None:
        """Let `file` count as an instance no more: `like` holds the same image. Its bytes stay.

        That `like` came again is recorded. When power fails it may all have to be done once more.
        """
        try:
            if file.last_ns > like.last_ns:
                again = file.path.with_suffix(AGAIN)
                link = self.temporary_folder / f"{uuid.uuid4().hex}.part"
                link.hardlink_to(again if again.exists() else file.path)  # bears the time
                link.replace(like.path.with_suffix(AGAIN))
            file.path.rename(file.path.with_suffix(SAME))
        except FileNotFoundError:  # pruned meanwhile, or set aside by an operator's command
            return

    def read_notes(self) -> list[Note]:
        """Return the notes left so far; they come again until each is dropped."""
        return self._notes.take()

    def drop_note(self, note: Note) -> None:
        """Forget a note that has been recorded elsewhere."""
        self._notes.drop(note)

    def free_bytes(self) -> int:
        """Return what an ordinary user may still write to this file system."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    # -- inside

    @contextmanager
    def _entered(self, key: str, instance: Incoming) -> Iterator[tuple[Path, int]]:
        """Hold the folder of a series, made if need be, so that it cannot be pruned meanwhile."""
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
                if _is_at(folder, descriptor):
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
    ) -> Kept:
        path = folder / instance_name(*keys)
        known = _known(association, folder).setdefault(keys[0], set())
        others = any(  # looked up: the folder may have been pruned since the scan
            (folder / instance_name(keys[0], content)).exists() for content in known - {keys[1]}
        )
        if path.exists():
            if others:  # which of them came last is for a person to ask; the file tells the first
                durable.write(path.with_suffix(AGAIN), b"", self.temporary_folder)
            return Kept.identical
        kept = Kept.conflicting if others else Kept.new
        head = file_head(
            instance.sop_class,
            instance.sop_instance,
            instance.transfer_syntax,
            association.calling_ae,
        )
        with durable.temporary(self.temporary_folder, head, instance.data) as written:
            try:
                path.hardlink_to(written)  # never replaces; a name that exists has the same content
            except FileExistsError:
                kept = Kept.identical
        known.add(keys[1])
        return kept


def _is_at(folder: Path, descriptor: int) -> bool:
    """Say whether the open folder is still the one of this name."""
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _known(association: AssociationRecord, folder: Path) -> dict[str, set[str]]:
    """Return sop key -> content keys of what lies in `folder`, scanned once per association."""
    if folder not in association.known:
        known: dict[str, set[str]] = {}
        for file in listing.instances(folder):
            known.setdefault(file.sop_key, set()).add(file.content_key)
        association.known[folder] = known
    return association.known[folder]
