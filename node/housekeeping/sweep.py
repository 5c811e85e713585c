"""Plan the complete series of the inbox: record arrivals and queue jobs.

Promises: every set of images is decided exactly once, whenever a process is killed; a series that
cannot be planned does not delay others.
Leaves to `node.arrival`: when a series is complete, and the decision.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

import sqlalchemy as sa

from node import measured, queue
from node.arrival import Completion, Decision, completion, decision_for, plan
from node.config import Config
from node.errors import DatabaseDamaged, Defect, NodeError, ReaderKilled, Transient
from node.housekeeping import earlier
from node.housekeeping.ahead import Offers
from node.housekeeping.choice import choose
from node.housekeeping.copies import Copies
from node.housekeeping.pauses import Pauses
from node.housekeeping.recall import TRANSIENT, LastChanges, Retries, Settled, describe
from node.housekeeping.rows import facts, job_of, makes_job, rows, study_index
from node.housekeeping.sizes import with_sizes
from node.housekeeping.snapshot import Listing, SeriesSnapshot, is_current, snapshot_of
from node.housekeeping.study import StudyPatients, two_patients
from node.housekeeping.verdicts import record_verdicts
from node.housekeeping.visits import EAGER, Pace, Visits
from node.housekeeping.waiting import WaitingSeries
from node.identifiers import open_identifiers
from node.inbox import (
    Inbox,
    SeriesFolder,
    read_markers,
    read_series,
)
from node.package import Use
from node.reader import Reader, ReaderDeaths, SeriesReading, StillReading
from node.states import ArrivalOutcome, Content, Kind, State

UNPLANNED = "planning this series failed"

log = logging.getLogger("node.housekeeping")


class Sweep:
    """Visits the series of the inbox repeatedly, and remembers unchanged folders."""

    def __init__(
        self, config: Config, engine: sa.Engine, inbox: Inbox, uses: Sequence[Use], reader: Reader,
        pace: Pace = EAGER,
    ) -> None:  # fmt: skip
        """Start empty; `uses` has one verified package per rule with a model."""
        self._engine = engine
        self._pauses = Pauses(engine)
        self.reconfigure(config, uses)
        self._inbox = inbox
        self._settled = Settled()
        self._visits = Visits(inbox, self._settled, pace)
        self._changes = LastChanges()
        self._steady = 0.0  # at the begin of the current call
        self._retries = Retries()
        self._reader = reader
        self._deaths = ReaderDeaths(config.data.dir)
        self._copies = Copies(inbox, reader)
        self._study = StudyPatients(inbox, reader, self._deaths)
        self._identifiers = open_identifiers(config.data)
        self._waiting = WaitingSeries(engine, self._identifiers)
        self._offers = Offers(config.data.dir)
        self._snapshots: dict[str, SeriesSnapshot] = {}  # series that are still arriving
        self._failed: dict[str, int] = {}  # series key -> mtime_ns when planning it failed

    def reconfigure(self, config: Config, uses: Sequence[Use]) -> None:
        """Plan with another configuration from now on; decided series stay decided."""
        self._config = config
        self.uses = {use.rule: use for use in uses}  # by rule
        self._host = measured.this_host(config.limits.threads)
        self._pauses.clear()

    def run(self, now: float, steady: float | None = None) -> int:
        """Decide every series that is complete at `now`; return how many were decided.

        `steady` is the time of a clock that nobody sets (default: `now`); it measures silence.
        """
        self._steady = now if steady is None else steady
        due, keys = self._visits.begin(self._steady)
        if keys is not None:
            for one in (self._settled, self._changes, self._waiting, self._offers, self._pauses):
                one.keep_only(keys)
        if due:
            self._pauses.refresh()
        # series that killed their reader come last, so that they delay no other
        due.sort(key=lambda folder: self._deaths.of(folder.key).deaths)
        decided = sum(self._guarded(folder, now) for folder in due)
        self._visits.end(due, self._steady)
        self._waiting.write(now)
        return decided

    def replan(
        self,
        folder: SeriesFolder,
        now: float,
        content: Content | None = None,
        part: int | None = None,
    ) -> queue.Recorded | None:
        """Apply the current rules to a series without a job; return None if it has no images.

        The series need not be complete. `content` chooses the version of duplicated images, and
        `part` one of several parts that contradict each other. With a choice, the series is planned
        although its study holds images of another patient.

        Raises:
            ReaderKilled: the images killed the process that reads them.
            Defect: planning fails; the earlier decision stays.
        """
        self._steady = now
        try:
            is_chosen = content is not None or part is not None
            self._copies.set_aside_all(folder, is_chosen=is_chosen)
            snapshot = self._take_snapshot(folder, now, content, part)
            if snapshot is None:
                return None
            others = [] if is_chosen else self._others(snapshot)
            decision = self._plan(snapshot, others)
        except (NodeError, sa.exc.OperationalError, *TRANSIENT):
            raise
        except Exception as exc:
            log.exception("a series could not be planned", extra={"path": folder.key})
            raise Defect(UNPLANNED, advice="Report it with the log.") from exc
        self._deaths.forget(folder.key)
        decided = rows(snapshot, decision, self._config, now)
        index = study_index(snapshot, self._identifiers)
        further = facts(snapshot, decision)
        return queue.replan_arrival(self._engine, *decided, now, further, index)

    def _guarded(self, folder: SeriesFolder, now: float) -> bool:
        """Handle one series; after a transient fault of the machine decide nothing and retry."""
        if self._retries.is_pausing(folder.key, self._steady) or self._pauses.hold(folder):
            return False
        if self._visits.was_just_read(self._snapshots.get(folder.key), folder, now):
            return False
        try:
            decided = self._handle_or_hold(folder, now)
        except StillReading:
            self._waiting.add_being_read(folder)
            return False
        except ReaderKilled as exc:
            count = self._deaths.add(folder.key, exc.message)
            pause_s = self._retries.add(folder.key, self._steady)
            where = {"path": folder.key, "seconds": pause_s, "code": exc.code, "count": count}
            log.error("%s", exc.message, extra=where)  # noqa: TRY400  the traceback says nothing
            self._waiting.add_unreadable(folder, exc.message)
            return False
        except TRANSIENT as exc:
            pause_s = self._retries.add(folder.key, self._steady)
            where = {"path": folder.key, "seconds": pause_s}
            log.warning("a series cannot be read for now: %s", describe(exc), extra=where)
            self._waiting.add_unreadable(folder, describe(exc))
            return False
        self._retries.end(folder.key)
        return decided

    def _handle_or_hold(self, folder: SeriesFolder, now: float) -> bool:
        """Handle one series; hold it after an unexpected error, so that the others go on."""
        try:
            return self._handle(folder, now)
        except (Transient, DatabaseDamaged, sa.exc.OperationalError):
            raise  # the database concerns all series: repeat the whole sweep
        except (ReaderKilled, StillReading, *TRANSIENT):
            raise
        except Exception:  # a defect for this series: hold it for a person
            if self._failed.get(folder.key) != folder.mtime_ns:
                self._failed[folder.key] = folder.mtime_ns
                log.exception("a series could not be planned", extra={"path": folder.key})
            advice = "Report it with the log. After the correction run `segnode jobs replan UID`."
            return self._hold(folder, Defect(UNPLANNED, advice=advice), now)

    def _hold(self, folder: SeriesFolder, error: NodeError, now: float) -> bool:
        """Hold a series without reading its images again."""
        last_at = self._changes.of(folder, now, self._steady)
        if self._steady < last_at + self._config.complete.quiet:
            self._waiting.add_unreadable(folder, error.message)
            return False  # images still arrive: hold all of them together
        markers = read_markers(folder.path)
        files = tuple(self._inbox.instances(folder))
        if not files or read_series(folder.path) is None:
            return False
        held = Decision(ArrivalOutcome.HELD, error.code, error.message, error.advice)
        snapshot = self._snapshot_of(folder, Listing(markers, files), SeriesReading(), now)
        self._record(snapshot, held, now)
        return True

    def _handle(self, folder: SeriesFolder, now: float) -> bool:
        snapshot = self._snapshots.get(folder.key)
        if snapshot is None or not is_current(snapshot, folder):
            files = self._inbox.instances(folder)
            arrival = earlier.same_images(self._engine, folder, files)
            if arrival is not None:
                earlier.record_resent(self._engine, folder, arrival)
                self._settle(folder, now)
                return False
            if self._deaths.are_too_many(folder.key):
                return self._hold(folder, self._deaths.error_of(folder.key), now)
            keep_last = self._config.complete.copies == "last" and not earlier.is_recorded(
                self._engine, folder
            )
            if self._copies.set_aside(files, keep_last=keep_last):
                return False  # the files changed, or more are to be compared
            snapshot = self._take_snapshot(folder, now)
            if snapshot is None:
                return False
            self._snapshots[folder.key] = snapshot
        sent_at = self._inbox.last_sent(snapshot.senders, snapshot.study)
        sending_at = sent_at - (now - self._steady) if sent_at else snapshot.signs.last_at
        signs = replace(snapshot.signs, sending_at=sending_at)
        verdict = completion(signs, self._config.complete, self._steady)
        if not verdict.complete:
            self._wait(snapshot, verdict, now)
            return False
        return self._decide(snapshot, self._others(snapshot), now)

    def _decide(self, snapshot: SeriesSnapshot, others: Sequence[SeriesFolder], now: float) -> bool:
        """Decide about a complete series, unless its rule is paused."""
        decision = self._plan(snapshot, others)
        if (pause := self._pause_of(decision)) is not None:
            self._pauses.add(snapshot.folder, pause)
            self._offers.remove(snapshot.folder.key)
            self._waiting.add_paused(snapshot, pause)
            return False
        self._record(snapshot, decision, now)
        for other in others:  # it is unknown which series is right, so both wait for a person
            queue.hold_planned(self._engine, other.key, two_patients([snapshot.folder]), now)
        return True

    def _pause_of(self, decision: Decision) -> queue.PausedRule | None:
        """Return the pause for which a series waits that would get a job; None if there is none."""
        return self._pauses.of(decision) if makes_job(decision, self._config) else None

    def _wait(self, snapshot: SeriesSnapshot, verdict: Completion, now: float) -> None:
        """Record that a series waits; offer one that settles with the job that it would get."""
        self._waiting.add(snapshot, verdict, now - self._steady)
        if not self._offers.holds(snapshot) and verdict.settles:
            decision = self._plan(snapshot, self._others(snapshot))
            is_planned = decision.outcome is ArrivalOutcome.PLANNED
            is_due = is_planned and self._pause_of(decision) is None
            job = job_of(snapshot, decision, self._config, now) if is_due else None
            self._offers.add(snapshot, job, now)

    def _take_snapshot(
        self,
        folder: SeriesFolder,
        now: float,
        content: Content | None = None,
        part: int | None = None,
    ) -> SeriesSnapshot | None:
        markers = read_markers(folder.path)  # first: images may arrive while the files are read
        files = choose(self._inbox.instances(folder), content)
        if not files or read_series(folder.path) is None:
            return None
        reading = self._reader.survey(folder.path, [file.path.name for file in files], part)
        if part is not None:
            files = tuple(files[at] for at in reading.in_part)
            if not files:
                return None
        return self._snapshot_of(folder, Listing(markers, files), reading, now)

    def _snapshot_of(
        self,
        folder: SeriesFolder,
        listing: Listing,
        reading: SeriesReading,
        now: float,
    ) -> SeriesSnapshot:
        last_at = self._changes.of(folder, now, self._steady)
        is_known = earlier.is_recorded(self._engine, folder)
        return snapshot_of(folder, listing, reading, now, last_at, extends_earlier=is_known)

    def _others(self, snapshot: SeriesSnapshot) -> list[SeriesFolder]:
        """Return the series of the study that belong to another patient."""
        patients = snapshot.findings.patients if snapshot.findings else ()
        return self._study.other_patients(snapshot.folder, patients)

    def _plan(self, snapshot: SeriesSnapshot, others: Sequence[SeriesFolder]) -> Decision:
        if snapshot.problem is not None:
            return decision_for(snapshot.problem)
        if others:
            return decision_for(two_patients(others))
        assert snapshot.findings is not None  # else an unreadable file is the problem
        measurements = measured.read(self._config.data, self._host)
        waiting = queue.counts(self._engine)[Kind.SEGMENT, State.QUEUED]
        uses = with_sizes(self._engine, self.uses)
        rules = self._config.rules
        return plan(snapshot.findings, snapshot.caller, rules, uses, measurements, waiting)

    def _record(self, snapshot: SeriesSnapshot, decision: Decision, now: float) -> None:
        created_at = self._offers.created_at(snapshot, now)
        decided = rows(snapshot, decision, self._config, now, created_at)
        index = study_index(snapshot, self._identifiers)
        further = facts(snapshot, decision)
        recorded = queue.record_arrival(self._engine, *decided, now, further, index)
        if recorded.is_new:
            record_verdicts(self._engine, snapshot, now)
        self._settle(snapshot.folder, now)
        if decision.code == ReaderKilled.code:
            self._deaths.allow_one_more(snapshot.folder.key)
        else:
            self._deaths.forget(snapshot.folder.key)
        series = snapshot.findings.series_uid if snapshot.findings else ""
        labels = {"series": series, "code": decision.code, "job": recorded.job_id}
        log.info("%s", decision.outcome, extra=labels)

    def _settle(self, folder: SeriesFolder, now: float) -> None:
        self._settled.add(folder, now, self._steady)
        self._snapshots.pop(folder.key, None)
        self._failed.pop(folder.key, None)
        self._waiting.remove(folder.key)
        self._offers.remove(folder.key)
        self._copies.forget(folder.path)
