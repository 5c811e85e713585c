"""Report what peers did wrong as notes and log lines, aggregated by host.

Guarantees: a host causes at most `MOST_DISTINCT` + 1 notes of each kind at once, and as many counts
at the end of each window, whatever it sends; the windows of a host that goes on become longer. One
kind hides no other: a host with ever new AE titles is still reported for a malformed request. At
most `MOST_SOURCES` pairs of a host and a kind are distinguished.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from node.inbox import Note, NoteKind

WINDOW_SECONDS = 600.0  # the first window; each further one is twice as long
LONGEST_WINDOW_SECONDS = 86400.0
MOST_DISTINCT = 5  # different reports of one host and kind, such as AE titles to be allowed
MOST_SOURCES = 256
MOST_EXAMPLES = 3  # AE titles in a report about the others
OTHER_HOSTS = "other hosts"

log = logging.getLogger("node.listener")


Source = tuple[str, NoteKind]  # host, kind


@dataclass(slots=True)
class _Source:
    """The reports of one kind about one host since `begun`."""

    begun: float
    window_s: float = WINDOW_SECONDS
    counts: dict[Note, int] = field(default_factory=dict)  # repeats that are not noted yet
    others: int = 0
    is_full: bool = False  # a note says that further ones are counted only
    examples: dict[str, None] = field(default_factory=dict)


class Reports:
    """Leaves the first notes of a host at once, and counts the others."""

    def __init__(
        self, leave: Callable[[Note], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Write notes with `leave`."""
        self._leave = leave
        self._clock = clock
        self._sources: dict[Source, _Source] = {}
        self._lock = threading.Lock()

    def add(self, kind: NoteKind, message: str, ae: str, host: str, advice: str = "") -> None:
        """Report one event."""
        note = Note(kind=kind, message=message, advice=advice, calling_ae=ae, host=host)
        with self._lock:
            known = self._of((host, kind))
            if note in known.counts:
                known.counts[note] += 1
                return
            if len(known.counts) < MOST_DISTINCT:
                known.counts[note] = 0
            else:
                known.others += 1
                if len(known.examples) < MOST_EXAMPLES:
                    known.examples[ae] = None
                if known.is_full:
                    return
                note = _about_others((host, kind), known)
                known.others, known.is_full = 0, True
        self._report(note)

    def flush(self, *, everything: bool = False) -> None:
        """Report the counts of all windows that are over."""
        now = self._clock()
        notes: list[Note] = []
        with self._lock:
            for source, known in list(self._sources.items()):
                if not everything and now - known.begun < known.window_s:
                    continue
                source_notes = _counts(source, known)
                notes += source_notes
                if source_notes:
                    window_s = min(2 * known.window_s, LONGEST_WINDOW_SECONDS)
                    counts = dict.fromkeys(known.counts, 0)
                    self._sources[source] = _Source(now, window_s, counts, is_full=known.is_full)
                else:
                    del self._sources[source]
        for note in notes:
            self._report(note)

    def _of(self, source: Source) -> _Source:
        if source not in self._sources and len(self._sources) >= MOST_SOURCES:
            source = (OTHER_HOSTS, source[1])
        return self._sources.setdefault(source, _Source(self._clock()))

    def _report(self, note: Note) -> None:
        facts = {"ae": note.calling_ae, "host": note.host, "kind": note.kind, "count": note.count}
        log.warning("%s", note.message, extra=facts | {"advice": note.advice})
        self._leave(note)


def _counts(source: Source, known: _Source) -> list[Note]:
    notes = [
        msgspec.structs.replace(note, count=count) for note, count in known.counts.items() if count
    ]
    return [*notes, _about_others(source, known)] if known.others else notes


def _about_others(source: Source, known: _Source) -> Note:
    host, kind = source
    titles = ", ".join(known.examples)
    advice = f"Calling AE titles, for example: {titles}. " if any(known.examples) else ""
    return Note(
        kind=kind,
        message=f"{host} caused further notes of the kind {kind}; they are counted only",
        advice=f"{advice}Find out what runs on that host.",
        host=host,
        count=known.others,
    )
