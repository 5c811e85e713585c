"""Call each periodic function with APScheduler; no other module uses it.

Late runs are merged into one and never dropped: a machine that was suspended must still sweep.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler

from node import schema
from node.config import Config
from node.housekeeping import upkeep
from node.housekeeping.sweep import Sweep
from node.inbox import Inbox
from node.package import uses
from node.reader import Reader

SWEEP_S = 0.25  # a complete series waits half of this on average
LEASES_S = 5.0
NOTES_S = 2.0
PRUNE_S = 600.0
BEAT_S = 10.0
log = logging.getLogger("node.housekeeping")


def run(config: Config, stop: threading.Event | None = None) -> None:
    """Run the periodic functions until `stop` is set.

    Raises:
        Misconfigured: a package or the database cannot be used.
    """
    stop = stop or threading.Event()
    engine = schema.open_configured(config.data)
    inbox = Inbox(config.data.dir / "inbox")
    reader = Reader(log_level=logging.getLevelName(log.getEffectiveLevel()))
    sweep = Sweep(config, engine, inbox, uses(config), reader)
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.add_listener(_report, EVENT_JOB_ERROR)

    def every(seconds: float, name: str, function: Callable[[float], object]) -> None:
        scheduler.add_job(
            lambda: function(time.time()), "interval", seconds=seconds, id=name,
            coalesce=True, max_instances=1, misfire_grace_time=None,
        )  # fmt: skip

    every(SWEEP_S, "sweep", sweep.run)
    every(LEASES_S, "leases", lambda now: upkeep.expire_leases(engine, config, now))
    every(NOTES_S, "notes", lambda now: upkeep.record_notes(engine, inbox, now))
    every(PRUNE_S, "prune", lambda now: upkeep.prune(engine, config, inbox, now))
    every(BEAT_S, "beat", lambda now: upkeep.write_heartbeat(engine, now))
    upkeep.write_heartbeat(engine, time.time())
    with contextlib.closing(reader):
        reader.start()
        scheduler.start()
        stop.wait()
        reader.interrupt()  # else the sweep would first finish the series that it reads
        scheduler.shutdown(wait=True)


def _report(event: JobExecutionEvent) -> None:
    """Log that a periodic function failed; it is called again at its next time."""
    error = event.exception
    log.error(
        "%s failed", event.job_id,
        exc_info=(type(error), error, error.__traceback__), extra={"stage": event.job_id},
    )  # fmt: skip
