"""Plan the complete series of the inbox: record arrivals and queue jobs.

Promises: every set of images is decided exactly once, whenever a process is killed; a series that
cannot be planned does not delay others.
Leaves to `node.arrival`: when a series is complete, and the decision.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from node import measured, queue
from node.arrival import (
    AssociationSummary,
    CompletionSigns,
    Decision,
    completion,
    decision_for,
    leading_header,
    plan,
    try_survey,
)
from node.config import Config
from node.errors import Defect, NodeError, Unsuitable
from node.housekeeping.choice import Content, choose
from node.housekeeping.copies import Copies
from node.housekeeping.recall import TRANSIENT, Retries, Settled, describe
from node.housekeeping.rows import rows
from node.housekeeping.snapshot import (
    SeriesSnapshot,
    announced,
    caller_of,
    is_current,
    repeated,
    shortfall,
)
from node.housekeeping.study import StudyPatients, two_patients
from node.housekeeping.waiting import Waiting, unreadable
from node.inbox import (
    Inbox,
    InstanceFile,
    SeriesFolder,
    closed_after,
    inputs_digest,
    read_markers,
    read_series,
)
from node.package import Use
from node.series import Header, read_headers
from node.states import ArrivalOutcome, Kind, State

UNPLANNED = "planning this series failed"

log = logging.getLogger("node.housekeeping")


class Sweep:
    """Scans the inbox repeatedly, and remembers unchanged folders."""

    def __init__(
        self, config: Config, engine: sa.Engine, inbox: Inbox, uses: Sequence[Use]
    ) -> None:
        """Start empty; `uses` has one verified package per rule with a model."""
        self._config = config
        self._engine = engine
        self._inbox = inbox
        self._uses = {use.rule: use for use in uses}
        self._host = measured.here(config.limits.threads)
        self._settled = Settled()
        self._retries = Retries()
        self._copies = Copies(inbox)
        self._study = StudyPatients(inbox)
        self._snapshots: dict[str, SeriesSnapshot] = {}  # series that are still arriving
        self._headers: dict[Path, tuple[Header, ...] | Unsuitable] = {}
        self._failed: dict[str, int] = {}  # series key -> mtime_ns when planning it failed

    def run(self, now: float) -> int:
        """Decide every series that is complete at `now`; return how many were decided."""
        folders = self._inbox.series_folders()
        self._settled.keep_only({folder.key for folder in folders})
        decided = 0
        for folder in folders:
            if not self._settled.holds(folder, now):
                decided += self._guarded(folder, now)
        return decided

    def replan(
        self, folder: SeriesFolder, now: float, content: Content | None = None
    ) -> queue.Recorded | None:
        """Apply the current rules to a series without a job; return None if the folder is empty.

        The series need not be complete. `content` chooses the version of duplicated images; with
        it, the series is planned although its study holds images of another patient.

        Raises:
            Defect: planning fails; the earlier decision stays.
        """
        try:
            while self._copies.set_aside(self._inbox.instances(folder)):
                pass
            snapshot = self._take_snapshot(folder, now, content)
            if snapshot is None:
                return None
            others = [] if content else self._study.other_patients(folder, snapshot.headers)
            decision = self._plan(snapshot, others)
        except (NodeError, sa.exc.OperationalError, *TRANSIENT):
            raise
        except Exception as exc:
            log.exception("a series could not be planned", extra={"path": folder.key})
            raise Defect(UNPLANNED, advice="Report it with the log.") from exc
        decided = rows(snapshot, decision, self._config, now)
        return queue.replan_arrival(self._engine, *decided, now, shortfall(snapshot))

    def waiting(self, now: float) -> list[Waiting]:
        """Return the series that are still arriving, and the reason why each waits."""
        found = []
        for folder in self._inbox.series_folders():
            try:
                waits = self._waits(folder, now)
            except TRANSIENT as exc:
                waits = unreadable(folder, describe(exc))
            if waits is not None:
                found.append(waits)
        return found

    def _waits(self, folder: SeriesFolder, now: float) -> Waiting | None:
        record = read_series(folder.path)
        if record is None or self._known(folder, self._inbox.instances(folder)):
            return None  # most series are decided: no header is read for them
        snapshot = self._take_snapshot(folder, now)
        if snapshot is None:
            return None
        verdict = completion(snapshot.signs, self._config.complete, now)
        return Waiting(
            study_uid=record.study,
            series_uid=record.series,
            instances=len(snapshot.files),
            caller_ae=snapshot.caller,
            why=verdict.why,
            until=verdict.wait_until,
        )

    def _guarded(self, folder: SeriesFolder, now: float) -> bool:
        """Handle one series; after a transient fault of the machine decide nothing and retry."""
        if self._retries.is_pausing(folder.key, now):
            return False
        try:
            decided = self._handle_or_hold(folder, now)
        except TRANSIENT as exc:
            pause_s = self._retries.add(folder.key, now)
            where = {"path": folder.key, "seconds": pause_s}
            log.warning("a series cannot be read for now: %s", describe(exc), extra=where)
            return False
        self._retries.end(folder.key)
        return decided

    def _handle_or_hold(self, folder: SeriesFolder, now: float) -> bool:
        """Handle one series; hold it after an unexpected error, so that the others go on."""
        try:
            return self._handle(folder, now)
        except (sa.exc.OperationalError, *TRANSIENT):
            raise  # the database concerns all series: repeat the whole sweep
        except Exception:  # a defect for this series: hold it for a person
            if self._failed.get(folder.key) != folder.mtime_ns:
                self._failed[folder.key] = folder.mtime_ns
                log.exception("a series could not be planned", extra={"path": folder.key})
            if now < folder.mtime_ns / 1e9 + self._config.complete.quiet:
                return False  # images still arrive: hold all of them together
            return self._hold(folder, now)

    def _hold(self, folder: SeriesFolder, now: float) -> bool:
        """Hold a series whose planning failed, without reading its images again."""
        files = tuple(self._inbox.instances(folder))
        if not files or read_series(folder.path) is None:
            return False
        advice = "Report it with the log. After the correction run `segnode jobs replan UID`."
        error = Defect(UNPLANNED, advice=advice)
        held = Decision(ArrivalOutcome.HELD, error.code, error.message, error.advice)
        self._record(self._snapshot_of(folder, files, (), None, now), held, now)
        return True

    def _handle(self, folder: SeriesFolder, now: float) -> bool:
        snapshot = self._snapshots.get(folder.key)
        if snapshot is None or not is_current(snapshot, folder):
            files = self._inbox.instances(folder)
            arrival = self._known(folder, files)
            if arrival is not None:
                self._record_resent(folder, arrival)
                self._settle(folder, files, now)
                return False
            keep_last = self._config.complete.copies == "last" and not self._is_recorded(folder)
            if self._copies.set_aside(files, keep_last=keep_last):
                return False  # the files changed, or more are to be compared
            snapshot = self._take_snapshot(folder, now)
            if snapshot is None:
                return False
            self._snapshots[folder.key] = snapshot
        if not completion(snapshot.signs, self._config.complete, now).complete:
            return False
        others = self._study.other_patients(folder, snapshot.headers)
        self._record(snapshot, self._plan(snapshot, others), now)
        for other in others:  # it is unknown which series is right, so both wait for a person
            queue.hold_planned(self._engine, other.key, two_patients([folder]), now)
        return True

    def _take_snapshot(
        self, folder: SeriesFolder, now: float, content: Content | None = None
    ) -> SeriesSnapshot | None:
        files = choose(self._inbox.instances(folder), content)
        if not files or read_series(folder.path) is None:
            return None
        headers, problem = self._read(files)
        return self._snapshot_of(folder, files, headers, problem or repeated(files), now)

    def _snapshot_of(
        self,
        folder: SeriesFolder,
        files: tuple[InstanceFile, ...],
        headers: tuple[Header, ...],
        problem: Unsuitable | None,
        now: float,
    ) -> SeriesSnapshot:
        found, survey_problem = try_survey(headers) if headers else (None, None)
        markers = read_markers(folder.path)
        earlier = queue.arrivals_of(self._engine, series_key=folder.key)
        return SeriesSnapshot(
            folder=folder,
            taken_at=now,
            files=files,
            digest=inputs_digest(files),
            headers=headers,
            modality=leading_header(headers, found).modality if headers else "",
            problem=problem,
            caller=caller_of(markers, headers),
            signs=CompletionSigns(
                instances=len(files),
                frames=sum({h.sop_instance_uid: h.number_of_frames for h in headers}.values()),
                expected=announced(headers),
                associations=[AssociationSummary(m.state, m.instances, m.closed) for m in markers],
                last_at=folder.mtime_ns / 1e9,
                problem=problem or survey_problem,
                extends_earlier=bool(earlier),
            ),
        )

    def _read(self, files: Sequence[InstanceFile]) -> tuple[tuple[Header, ...], Unsuitable | None]:
        """Read each file once; return the headers, and the problem of the first unreadable file."""
        headers: list[Header] = []
        problem = None
        for file in files:
            if file.path not in self._headers:
                try:
                    self._headers[file.path] = read_headers(file.path)
                except Unsuitable as exc:
                    self._headers[file.path] = exc
            found = self._headers[file.path]
            if isinstance(found, Unsuitable):
                problem = problem or found
            else:
                headers.extend(found)
        return tuple(headers), problem

    def _known(self, folder: SeriesFolder, files: Sequence[InstanceFile]) -> queue.Arrival | None:
        known = queue.arrivals_of(self._engine, series_key=folder.key)
        digest = inputs_digest(files) if known else ""
        return next((arrival for arrival in known if arrival.inputs_digest == digest), None)

    def _is_recorded(self, folder: SeriesFolder) -> bool:
        """Return whether earlier images of the series got a decision, whose job may name them."""
        return bool(queue.arrivals_of(self._engine, series_key=folder.key))

    def _record_resent(self, folder: SeriesFolder, arrival: queue.Arrival) -> None:
        """Record in the history that decided images were resent."""
        if folder.mtime_ns / 1e9 > arrival.planned_at:
            at = closed_after(folder.path, arrival.planned_at)
            if at is not None:
                queue.record_resent(self._engine, arrival, at)

    def _plan(self, snapshot: SeriesSnapshot, others: Sequence[SeriesFolder]) -> Decision:
        if snapshot.problem is not None:
            return decision_for(snapshot.problem)
        if others:
            return decision_for(two_patients(others))
        known = measured.known(self._config.data, self._host)
        waiting = queue.counts(self._engine)[Kind.SEGMENT, State.QUEUED]
        return plan(
            snapshot.headers, snapshot.caller, self._config.rules, self._uses, known, waiting
        )

    def _record(self, snapshot: SeriesSnapshot, decision: Decision, now: float) -> None:
        decided = rows(snapshot, decision, self._config, now)
        recorded = queue.record_arrival(self._engine, *decided, now, shortfall(snapshot))
        self._settle(snapshot.folder, snapshot.files, now)
        series = snapshot.headers[0].series_uid if snapshot.headers else ""
        log.info(
            "%s", decision.outcome,
            extra={"series": series, "code": decision.code, "job": recorded.job_id},
        )  # fmt: skip

    def _settle(self, folder: SeriesFolder, files: Sequence[InstanceFile], now: float) -> None:
        self._settled.add(folder, now)
        self._snapshots.pop(folder.key, None)
        self._failed.pop(folder.key, None)
        self._copies.forget(folder.path)
        for file in files:
            self._headers.pop(file.path, None)
