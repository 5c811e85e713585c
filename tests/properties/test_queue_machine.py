"""The queue as a state machine on real SQLite, with workers that crash or resume too late."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from node import queue, schema
from node.errors import Cancelled, Defect, LeaseLost, PeerBusy, Unsuitable
from node.queue import AlreadySuperseded, Job, Policy, SameWork
from node.queue.commitment import REPORTED
from node.states import TRANSITIONS, Ending, IllegalTransition, Kind, State, Transition
from tests.support.rows import SEGMENTED, SENT, T0, a_delivery, a_segment_job, an_arrival

LEASE_S, MOST_ATTEMPTS = 30.0, 3
TARGETS = ("pacs", "viewer")
POLICY = Policy(give_up_after_s=600.0)
ERRORS = st.sampled_from([Unsuitable("x"), PeerBusy("x"), Defect("x"), LeaseLost("x")])


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = T0
        self.held: dict[str, Job] = {}  # the claim that each worker believes to hold
        self.zombies: list[Job] = []  # claims of workers that crashed or were too slow
        self.done: list[int] = []  # each time a finish was accepted
        self.segmented: set[int] = set()  # segmentations that were ever done
        self.known: set[int] = set()

    @initialize()
    def open(self) -> None:
        self.engine = schema.open_database(Path(self.folder.name) / "a.sqlite")

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    @rule(seconds=st.sampled_from([1.0, 10.0, 45.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(series=st.integers(1, 3), inputs=st.sampled_from("ab"), priority=st.integers(0, 9))
    def arrive(self, series: int, inputs: str, priority: int) -> None:
        job = a_segment_job(series, inputs, priority)
        queue.record_arrival(self.engine, an_arrival(series, inputs), job, self.now)

    @rule(worker=st.sampled_from("uvw"), whose=st.sampled_from(["", *TARGETS]))
    def claim(self, worker: str, whose: str) -> None:
        if worker in self.held:
            return
        kind = Kind.DELIVER if whose else Kind.SEGMENT
        job = queue.claim(self.engine, kind, worker, self.now, LEASE_S, whose)
        if job is not None:
            assert job.not_before <= self.now
            assert job.id not in {
                other.id for other in self.held.values() if self.is_current(other)
            }
            self.held[worker] = job

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.commit(self.held.pop(data.draw(st.sampled_from(sorted(self.held)))))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), error=ERRORS)
    def go_wrong(self, data: st.DataObject, error: Exception) -> None:
        job = self.held.pop(data.draw(st.sampled_from(sorted(self.held))))
        queue.settle(self.engine, job, error, self.now, POLICY)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def await_report(self, data: st.DataObject) -> None:
        """The worker of a delivery requests storage commitment, or waits for its report again."""
        worker = data.draw(st.sampled_from(sorted(self.held)))
        job = self.held[worker]
        if job.kind is Kind.SEGMENT:
            return
        del self.held[worker]
        is_current = self.is_current(job)
        try:
            if not job.transaction_uid:
                uid, due_at = f"2.25.{job.id}{job.claims:03}", self.now + 300.0
                queue.request_commitment(self.engine, job, uid, SENT, due_at)
            queue.await_report(self.engine, job, self.now)
        except LeaseLost:
            assert not is_current

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """A report comes, perhaps late or once more, and makes its delivery due."""
        job = queue.get(self.engine, data.draw(st.sampled_from(sorted(self.known))))
        uid = job.transaction_uid
        updated = queue.record_report(self.engine, uid, {"transaction": uid}, "kept", self.now)
        is_awaited = uid != "" and job.state.value in LIVE and not job.commitment_report
        assert (updated is not None) == is_awaited
        if updated is not None and updated.state is State.QUEUED:
            assert updated.not_before == self.now

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.held)))
        try:
            queue.extend(self.engine, self.held[worker], self.now, LEASE_S)
        except LeaseLost:
            self.zombies.append(self.held.pop(worker))
        except Cancelled as error:
            queue.settle(self.engine, self.held.pop(worker), error, self.now, POLICY)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """A worker is killed at any line: its claim is never finished, or much too late."""
        self.zombies.append(self.held.pop(data.draw(st.sampled_from(sorted(self.held)))))

    @rule()
    def crash_of_everything(self) -> None:
        """Power failure: all workers end, and the database is reopened."""
        self.zombies += self.held.values()
        self.held.clear()
        self.engine.dispose()
        self.engine = schema.open_database(Path(self.folder.name) / "a.sqlite")

    @precondition(lambda self: self.zombies)
    @rule(data=st.data())
    def resume_too_late(self, data: st.DataObject) -> None:
        job = self.zombies.pop(data.draw(st.integers(0, len(self.zombies) - 1)))
        self.commit(job)

    @rule()
    def expire(self) -> None:
        for job in queue.expire_leases(self.engine, self.now, MOST_ATTEMPTS):
            assert job.kind is Kind.SEGMENT or job.state is not State.FAILED

    @precondition(lambda self: self.known)
    @rule(data=st.data(), again=st.booleans())
    def operate(self, data: st.DataObject, again: bool) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        before = queue.get(self.engine, job_id)
        transition = Transition.REQUEUE if again else Transition.CANCEL
        if not again and before.state is State.RUNNING:
            transition = Transition.REQUEST_CANCEL
        try:
            (queue.requeue if again else queue.cancel)(self.engine, job_id, self.now)
        except IllegalTransition:
            assert (before.state, transition) not in TRANSITIONS
        except (SameWork, AlreadySuperseded):
            assert again
        else:
            assert (before.state, transition) in TRANSITIONS

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.known)))
        before = queue.get(self.engine, job_id)
        try:
            queue.resend(self.engine, job_id, self.now)
        except IllegalTransition:
            assert before.state.value in LIVE
        except (SameWork, AlreadySuperseded):
            assert before.state.value not in LIVE
        else:
            self.done = self.done_still()

    def done_still(self) -> list[int]:
        """Return the finished jobs without those that are queued again."""
        rows = {job["id"]: job["state"] for job in self.rows(schema.jobs)}
        return [job_id for job_id in self.done if rows[job_id] not in LIVE]

    def is_current(self, job: Job) -> bool:
        current = queue.get(self.engine, job.id)
        return current.state is State.RUNNING and current.claims == job.claims

    def commit(self, job: Job) -> None:
        """Finish a job; it is accepted only if this claim is still the job's latest."""
        is_current = self.is_current(job)
        try:
            if job.kind is Kind.SEGMENT:
                new = [a_delivery(target) for target in TARGETS]
                queue.finish_segment(self.engine, job, SEGMENTED, new, self.now)
            else:
                queue.finish_delivery(self.engine, job, SENT, self.now)
        except LeaseLost:
            assert not is_current
        else:
            assert is_current
            if job.kind is Kind.SEGMENT:
                self.segmented.add(job.id)
                # its earlier deliveries are queued again, and newer ones may supersede them
                of_job = {j["id"] for j in self.rows(schema.jobs) if j["parent_id"] == job.id}
                self.done = [job_id for job_id in self.done if job_id not in of_job]
            self.done.append(job.id)

    @invariant()
    def no_job_is_lost_or_finished_twice(self) -> None:
        jobs = self.rows(schema.jobs)
        ids = {job["id"] for job in jobs}
        assert self.known <= ids
        self.known = ids
        assert sorted(self.done) == sorted(j["id"] for j in jobs if j["state"] == "done")
        segments = [j for j in jobs if j["kind"] == "segment"]
        assert len(jobs) - len(segments) == len(TARGETS) * len(self.segmented)
        running = [(j["study_uid"], j["series_uid"]) for j in segments if j["state"] == "running"]
        assert len(running) == len(set(running))

    @invariant()
    def every_transition_is_legal_and_has_an_event(self) -> None:
        state: dict[int, State] = {}
        for event in self.rows(schema.events):
            if event["job_id"] is None or event["event"] == REPORTED:
                continue
            if event["event"] == "queued":
                assert event["job_id"] not in state
                state[event["job_id"]] = State.QUEUED
            else:
                transition = Transition(event["event"])
                state[event["job_id"]] = TRANSITIONS[state[event["job_id"]], transition]
        assert state == {job["id"]: job["state"] for job in self.rows(schema.jobs)}

    @invariant()
    def no_older_result_is_queued(self) -> None:
        sent = [j for j in self.rows(schema.jobs) if j["kind"] == "deliver"]
        best: dict[tuple[str, str], int] = {}  # newest arrival that is queued, running or done
        for job in sent:
            if job["state"] in (*LIVE, "done"):
                place = job["series_uid"], job["target"]
                best[place] = max(best.get(place, 0), job["arrival_id"])
        waiting = [j for j in sent if j["state"] == "queued"]
        assert all(best[j["series_uid"], j["target"]] == j["arrival_id"] for j in waiting)

    @invariant()
    def every_arrival_has_one_ending(self) -> None:
        live = {j["arrival_id"] for j in self.rows(schema.jobs) if j["state"] in LIVE}
        for history in queue.histories(self.engine):
            assert (history.ending is Ending.IN_PROGRESS) == (history.arrival.id in live)
        recorded = {arrival["id"]: arrival["ending"] for arrival in self.rows(schema.arrivals)}
        assert recorded == {h.arrival.id: h.ending for h in queue.histories(self.engine)}

    def rows(self, table: sa.Table) -> list[Any]:
        with schema.read_transaction(self.engine) as connection:
            return list(connection.execute(sa.select(table).order_by(table.c.id)).mappings())


LIVE = ("queued", "running")
TestQueueMachine = pytest.mark.slow(QueueMachine.TestCase)
TestQueueMachine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
