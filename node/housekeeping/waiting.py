"""Record the series that are not decided yet, so that no command reads an image."""

from collections.abc import Iterable

import sqlalchemy as sa

from node import queue
from node.arrival import Completion
from node.housekeeping.rows import study_index
from node.housekeeping.snapshot import SeriesSnapshot
from node.identifiers import Identifiers
from node.inbox import SeriesFolder, SeriesRecord, read_series

WRITE_S = 1.0  # a series that arrives changes at each sweep


class WaitingSeries:
    """The undecided series, in memory and in the database."""

    def __init__(self, engine: sa.Engine, identifiers: Identifiers) -> None:
        """Start from the rows of the process that ran before."""
        self._engine = engine
        self._identifiers = identifiers
        self._indexed: set[str] = set()  # series whose study is recorded for the search
        self._now: dict[str, queue.ArrivingSeries] = {}
        self._written: dict[str, queue.ArrivingSeries] | None = None  # None: not read yet
        self._written_at = 0.0

    def add(self, snapshot: SeriesSnapshot, verdict: Completion, ahead_s: float) -> None:
        """Remember that a series waits, and for what.

        `ahead_s` is how far the wall clock is ahead of the clock of the verdict.
        """
        until = verdict.wait_until and round(verdict.wait_until + ahead_s, 1)
        self._add(snapshot, verdict.why, until)

    def add_paused(self, snapshot: SeriesSnapshot, pause: queue.PausedRule) -> None:
        """Remember that a complete series waits for the end of a pause."""
        why = f"{pause.text}; `segnode rules resume {pause.rule}` plans the series"
        self._add(snapshot, why, paused_rule=pause.rule)

    def _add(
        self,
        snapshot: SeriesSnapshot,
        why: str,
        until: float | None = None,
        paused_rule: str = "",
    ) -> None:
        record = read_series(snapshot.folder.path)
        if record is not None:
            self._now[snapshot.folder.key] = queue.ArrivingSeries(
                series_key=snapshot.folder.key,
                study_uid=record.study,
                series_uid=record.series,
                instances=len(snapshot.files),
                caller_ae=snapshot.caller,
                why=why,
                until=until,
                paused_rule=paused_rule,
            )
            self._index(snapshot, record)

    def _index(self, snapshot: SeriesSnapshot, record: SeriesRecord) -> None:
        """Record the study of a new series, so that a search finds it before the decision."""
        if snapshot.folder.key in self._indexed or snapshot.findings is None:
            return
        received = queue.ReceivedStudy(
            study_uid=record.study,
            caller_ae=snapshot.caller,
            first_at=min(record.first_seen, snapshot.taken_at),
            last_at=snapshot.taken_at,
        )
        queue.record_study(self._engine, received, study_index(snapshot, self._identifiers))
        self._indexed.add(snapshot.folder.key)

    def add_unreadable(self, folder: SeriesFolder, why: str) -> None:
        """Remember that a series waits although its images could not be read."""
        self._add_bare(folder, f"its images cannot be read for now: {why}; the node tries again")

    def add_being_read(self, folder: SeriesFolder) -> None:
        """Remember that a series waits because reading its images takes long."""
        self._add_bare(folder, "its images are being read, which takes longer than usual")

    def _add_bare(self, folder: SeriesFolder, why: str) -> None:
        record = read_series(folder.path)
        if record is not None:
            self._now[folder.key] = queue.ArrivingSeries(
                series_key=folder.key,
                study_uid=record.study,
                series_uid=record.series,
                instances=0,
                caller_ae="",
                why=why,
                until=None,
            )

    def remove(self, key: str) -> None:
        """Forget a series that is decided."""
        self._now.pop(key, None)
        self._indexed.discard(key)

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget series whose folders were deleted."""
        for key in self._now.keys() - set(keys):
            self.remove(key)

    def write(self, now: float) -> None:
        """Write what changed: other changes than counts and times at once, those once a second.

        The write also wakes the segmenter, which looks for the offer of a series that settles.
        """
        if self._written is None:
            self._written = {row.series_key: row for row in queue.arriving_series(self._engine)}
        changed = [row for key, row in self._now.items() if self._written.get(key) != row]
        removed = self._written.keys() - self._now.keys()
        written = {key: row.why for key, row in self._written.items()}
        is_new = any(written.get(row.series_key) != row.why for row in changed)
        is_due = abs(now - self._written_at) >= WRITE_S  # also after a step of the clock
        if removed or is_new or (changed and is_due):
            queue.record_arriving(self._engine, changed, removed)
            self._written, self._written_at = dict(self._now), now
