"""Leases end when a worker is gone, not when the database was."""

from node import queue
from node.clock import Moment
from node.config import RunningConfig
from node.errors import DatabaseBusy
from node.housekeeping.upkeep import OUTAGE_S, RETURN_S, Leases
from node.queue import Policy
from node.states import Kind, State
from tests.support.housekeeping import Site
from tests.support.rows import LEASE_S, T0, a_segment_job, an_arrival

POLICY = Policy(give_up_after_s=3600.0)


def claimed(site: Site) -> queue.Job:
    queue.record_arrival(site.engine, an_arrival(), a_segment_job(), T0)
    job = queue.claim(site.engine, Kind.SEGMENT, "w", T0, LEASE_S)
    assert job is not None
    return job


def expire(leases: Leases, at: float) -> None:
    leases.expire(Moment(at, at))


def state(site: Site, job: queue.Job) -> State:
    return queue.get(site.engine, job.id).state


def test_a_worker_that_lived_through_an_outage_keeps_its_job_and_its_attempts(site: Site) -> None:
    job, leases = claimed(site), Leases(site.engine, RunningConfig(site.config))
    expire(leases, T0 + 1)
    back = T0 + 600
    expire(leases, back)  # the first call that reaches the database again
    expire(leases, back + 5)
    assert state(site, job) is State.RUNNING
    busy = DatabaseBusy("the database is busy")
    assert queue.settle(site.engine, job, busy, back + 30, POLICY) is State.QUEUED
    assert queue.get(site.engine, job.id).attempts == 0


def test_a_worker_that_died_in_the_outage_loses_its_job_later(site: Site) -> None:
    job, leases = claimed(site), Leases(site.engine, RunningConfig(site.config))
    expire(leases, T0 + 1)
    back = T0 + 600
    for seconds in range(0, int(RETURN_S) + 10, 5):
        expire(leases, back + seconds)
    assert state(site, job) is State.QUEUED
    assert queue.get(site.engine, job.id).attempts == 1


def test_a_lease_ends_in_time_without_an_outage(site: Site) -> None:
    job, leases = claimed(site), Leases(site.engine, RunningConfig(site.config))
    at = T0
    while at < T0 + LEASE_S + OUTAGE_S:
        at += 5
        expire(leases, at)
    assert state(site, job) is State.QUEUED
