"""Call each periodic function in its own thread, at a pace that no clock setting changes.

Late calls are merged into one and never dropped: a machine that was suspended must still sweep.
A function that fails is called again with growing pauses.
"""

import contextlib
import logging
import threading
from collections.abc import Callable

import sqlalchemy as sa

from node import ahead, queue, schema
from node.clock import Clock, Moment, Step
from node.config import Config, RunningConfig
from node.fault_log import PeriodicThread
from node.housekeeping import upkeep
from node.housekeeping.sizes import decide_sizes
from node.housekeeping.sweep import Sweep
from node.housekeeping.visits import Pace
from node.inbox import Inbox
from node.package import uses
from node.reader import Reader

SWEEP_S = 0.1  # a complete series waits half of this on average
# a change whose mark was lost waits for the scan; a reading compares the headers of all images
PACE = Pace(scan_s=10.0, reread_s=0.25)
LEASES_S = 5.0
NOTES_S = 2.0
SIZES_S = 30.0
PRUNE_S = 600.0
BEAT_S = 10.0
POLL_S = 0.2
PATIENCE_S = 3.0  # for which one series may delay the others: reading most series takes 0.2 s
log = logging.getLogger("node.housekeeping")


def run(
    config: Config,
    stop: threading.Event | None = None,
    make_clock: type[Clock] = Clock,
    running: RunningConfig | None = None,
) -> None:
    """Run the periodic functions until `stop` is set.

    `running` follows what is accepted later: between two sweeps, so that every series is planned
    with one configuration.

    Raises:
        Misconfigured: a package or the database cannot be used, or the database is damaged.
    """
    stop = stop or threading.Event()
    current = running or RunningConfig(config)
    engine = schema.open_configured(config.data)
    inbox = Inbox(config.data.dir / "inbox")
    level = logging.getLevelName(log.getEffectiveLevel())
    reader = Reader(log_level=level, patience_s=PATIENCE_S)
    ahead.withdraw_all(config.data.dir)
    sweep = Sweep(config, engine, inbox, uses(config), reader, PACE)
    clock = make_clock(lambda step: _record_step(engine, step))
    _log_rebased(queue.rebase(engine, clock.now().wall))
    ended = threading.Event()

    def every(seconds: float, name: str, function: Callable[[Moment], object]) -> PeriodicThread:
        return PeriodicThread(name, seconds, lambda: function(clock.now()), ended, log)

    threads = [
        every(SWEEP_S, "sweep", lambda at: _follow_and_sweep(current, sweep, at)),
        every(LEASES_S, "leases", upkeep.Leases(engine, current).expire),
        every(
            SIZES_S, "sizes", lambda at: decide_sizes(engine, current.config, sweep.uses, at.wall)
        ),
        every(NOTES_S, "notes", lambda at: upkeep.record_notes(engine, inbox, at.wall)),
        every(PRUNE_S, "prune", lambda at: upkeep.prune(engine, current.config, inbox, at.wall)),
        every(BEAT_S, "beat", lambda at: upkeep.write_heartbeat(engine, at.wall)),
    ]
    upkeep.write_heartbeat(engine, clock.now().wall)
    with contextlib.closing(reader):
        reader.start()
        for thread in threads:
            thread.start()
        try:
            while not stop.wait(POLL_S):
                for thread in threads:
                    if thread.error is not None:
                        raise thread.error
        finally:
            ended.set()
            reader.interrupt()  # else the sweep would first finish the series that it reads
            for thread in threads:
                thread.join()


def _follow_and_sweep(running: RunningConfig, sweep: Sweep, at: Moment) -> None:
    running.follow(lambda config: sweep.reconfigure(config, uses(config)))
    sweep.run(at.wall, at.steady)


def _record_step(engine: sa.Engine, step: Step) -> None:
    """Record a step of the wall clock, and correct the recorded times.

    The event comes first: if it cannot be written, nothing is corrected twice.
    """
    detail = f"by {step.seconds:+.0f} s: it was set, or the machine was suspended"
    queue.add_note(engine, queue.CLOCK_STEP, detail, step.now)
    _log_rebased(queue.rebase(engine, step.now, step.seconds, step.running_s))


def _log_rebased(count: int) -> None:
    if count:
        log.warning("recorded times were corrected to the clock", extra={"count": count})
