"""The sweep, retention, status and the whole loop while the wall clock is set."""

import os
import time
from collections.abc import Callable
from threading import Event, Thread

import pytest

from node import housekeeping, queue, status
from node.clock import Clock, Step
from node.states import Ending
from tests.support.housekeeping import DAY_S, HOUR_S, QUIET, SETTLED, Site
from tests.support.phantoms import Scan
from tests.support.received import receive
from tests.support.rows import T0
from tests.support.running import wait_until

STEPS = [HOUR_S, -HOUR_S, DAY_S, -DAY_S]


@pytest.mark.parametrize("step", [*STEPS, 10 - T0])
def test_a_step_neither_delays_nor_hastens_the_quiet_time(
    site: Site, head: Scan, step: float
) -> None:
    receive(site.inbox, head.paths, T0, ends="aborted")
    assert site.sweep.run(T0 + 1, T0 + 1) == 0
    assert site.sweep.run(T0 + 30 + step, T0 + 30) == 0
    assert site.sweep.run(T0 + 59 + step, T0 + 59) == 0
    assert site.sweep.run(T0 + 61 + step, T0 + 61) == 1
    (history,) = queue.histories(site.engine)
    assert history.arrival.last_at <= T0 + 61 + step, "no recorded time lies in the future"


@pytest.mark.parametrize("boot", [10.0, T0 - HOUR_S, T0 - DAY_S])
def test_images_of_the_future_count_as_received_at_the_first_sight(
    site: Site, head: Scan, boot: float
) -> None:
    receive(site.inbox, head.paths, T0, ends="aborted")
    assert site.sweep.run(boot) == 0
    assert site.sweep.run(boot + 59) == 0
    assert site.sweep.run(boot + 61) == 1


@pytest.mark.parametrize("step", STEPS)
def test_a_decided_series_stays_decided(site: Site, head: Scan, step: float) -> None:
    receive(site.inbox, head.paths, T0)
    assert site.sweep.run(SETTLED, SETTLED) == 1
    assert site.sweep.run(QUIET + step, QUIET) == 0
    assert site.fresh().run(QUIET + step) == 0


def test_a_folder_of_the_future_is_still_deleted(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    site.segment(SETTLED)
    os.utime(folder.path, (T0 + 900 * DAY_S, T0 + 900 * DAY_S))
    assert site.prune(SETTLED + HOUR_S) == 0
    assert site.prune(SETTLED + 3 * DAY_S) == 1


@pytest.mark.parametrize(("ahead", "is_alive"), [(0.0, True), (3.0, True), (HOUR_S, False)])
def test_a_heartbeat_in_the_future_is_not_alive(
    site: Site, ahead: float, *, is_alive: bool
) -> None:
    queue.heartbeat(site.engine, "sender", os.getpid(), T0 + ahead)
    snapshot = status.snapshot(site.config, site.engine, T0)
    assert ("sender" not in snapshot.not_running) is is_alive


STEPS_NOW = [HOUR_S, -HOUR_S, DAY_S, -DAY_S, 10.0 - time.time()]


@pytest.mark.parametrize("step", STEPS_NOW, ids=["hour", "hour back", "day", "day back", "1970"])
def test_the_loop_goes_on_while_the_clock_is_set(site: Site, head: Scan, step: float) -> None:
    """Only the wall clock moves, as when NTP or a hypervisor sets it."""
    offset = [0.0]

    class Shifted(Clock):
        def __init__(self, on_step: Callable[[Step], None]) -> None:
            super().__init__(on_step, lambda: time.time() + offset[0])

    receive(site.inbox, head.paths, time.time() + 5)  # not decided before the step
    stop = Event()
    loop = Thread(target=housekeeping.run, args=(site.config, stop, Shifted))
    loop.start()
    try:
        wait_until(lambda: bool(queue.beats(site.engine)), describe=lambda: "no start")
        offset[0] = step
        wait_until(lambda: bool(queue.histories(site.engine)), describe=lambda: "it does not sweep")
    finally:
        stop.set()
        loop.join(240)
    assert not loop.is_alive()
    assert [series.ending for series in queue.histories(site.engine)] == [Ending.IN_PROGRESS]
