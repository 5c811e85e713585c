"""Notes: events for the operator, left as files for the process that writes the database.

Guarantees: one small file per distinct event, with a count, and a thousand files at most.
`node.housekeeping` takes the notes, records them, and then drops them.
"""

import hashlib
import threading
from pathlib import Path
from typing import Literal

import msgspec

from node import durable

MOST_NOTES = 1000  # that wait to be taken; unknown callers may invent any number of AE titles

NoteKind = Literal[
    "rejected-association",
    "invalid-request",
    "failed-handshake",
    "certificate-ends",
    "no-context",
    "rejected-context",
    "protocol-violation",
    "rejected-instance",
    "conflicting-instance",
    "out-of-space",
    "rejected-commitment",
    "unreported-commitment",
    "notes-full",
]


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One event, without patient data; times are in unix seconds."""

    kind: NoteKind
    message: str
    advice: str = ""
    calling_ae: str = ""
    host: str = ""
    study: str = ""
    series: str = ""
    status: str = ""
    first: float = 0.0
    last: float = 0.0
    count: int = 1
    name: str = ""  # of its file; set when the note is read


FULL = Note(
    kind="notes-full",
    message=f"more than {MOST_NOTES} different notes wait to be recorded",
    advice="See whether the housekeeping process of `segnode serve` runs.",
)


class Notes:
    """The folder of notes: one process adds, another one takes."""

    def __init__(self, folder: Path, temporary_folder: Path) -> None:
        """Use `folder`, which exists; `temporary_folder` is for files being written."""
        self._folder = folder
        self._temporary_folder = temporary_folder
        self._lock = threading.Lock()

    def add(self, note: Note, now: float) -> None:
        """Write `note`, or add its count to that of an equal one that waits; `now` is unix time."""
        with self._lock:
            before = _read(self._path(note))
            if before is None and self._is_full():
                note = FULL
                before = _read(self._path(note))
            first = before.first if before else now
            count = note.count + (before.count if before else 0)
            note = msgspec.structs.replace(note, first=first, last=now, count=count)
            durable.write(self._path(note), msgspec.json.encode(note), self._temporary_folder)

    def take(self) -> list[Note]:
        """Return all notes, oldest first; equal events from now on get a new note.

        Each note is returned again, with the same `name`, until it is dropped: record, then drop.
        """
        for path in self._folder.glob("*.json"):
            note = _read(path)
            stamp = f"{note.last:.6f}" if note else "damaged"
            path.rename(path.with_name(f"{path.stem}-{stamp}.taken"))
        notes = []
        for path in self._folder.glob("*.taken"):
            note = _read(path)
            if note is None:
                path.unlink(missing_ok=True)
            else:
                notes.append(msgspec.structs.replace(note, name=path.name))
        return sorted(notes, key=lambda note: note.first)

    def _path(self, note: Note) -> Path:
        facts = (note.kind, note.message, note.calling_ae, note.host, note.study, note.series)
        key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]
        return self._folder / f"{key}.json"

    def _is_full(self) -> bool:
        return sum(1 for _ in self._folder.iterdir()) >= MOST_NOTES

    def drop(self, note: Note) -> None:
        """Delete a note that has been taken and recorded."""
        if note.name.endswith(".taken") and "/" not in note.name:
            (self._folder / note.name).unlink(missing_ok=True)


def _read(path: Path) -> Note | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None
