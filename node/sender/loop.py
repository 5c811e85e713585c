"""The sender's loop: one line per target, so that a dead target delays no other."""

import contextlib
import logging
import os
import secrets
import threading
import time
from threading import Event

from sqlalchemy import Engine

from node import queue, schema
from node.config import Config, Target
from node.errors import Cancelled, LeaseLost, Misconfigured
from node.queue import Job, Policy
from node.sender.peer import Peer
from node.sender.store import deliver
from node.states import Kind

PROCESS = "sender"
LEASE_S = 60.0
EXTEND_S = 10.0
LONGEST_S = 1800.0  # no delivery is kept alive for longer: its thread may hang
POLL_S = 0.5
log = logging.getLogger("node.sender")


def run(config: Config, stop: Event | None = None, *, once: bool = False) -> None:
    """Deliver until `stop` is set, or with `once` until nothing is due.

    Raises:
        Misconfigured: the database cannot be opened.
    """
    stop = stop or Event()
    engine = schema.open_configured(config.data)
    lines = [
        _Line(config, engine, name, target, stop, once=once)
        for name, target in config.targets.items()
    ]
    for line in lines:
        line.start()
    watch = _Watch(config, engine, lines)
    while not stop.is_set():
        is_over = once and not any(line.is_alive() for line in lines)
        watch.look(time.time())
        if is_over:
            return
        stop.wait(POLL_S)
    for line in lines:
        line.join()


class _Line(threading.Thread):
    """Everything that goes to one target, one object after another."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        name: str,
        target: Target,
        stop: Event,
        *,
        once: bool,
    ) -> None:
        super().__init__(name=f"to-{name}", daemon=True)
        self._config, self._engine, self._target = config, engine, name
        self._peer = Peer(name, target, config.node.ae_title)
        self._policy = Policy(give_up_after_s=target.give_up_after, longest_delay_s=300.0)
        self._stop_asked, self._once = stop, once
        self._worker = f"{PROCESS}-{name}-{os.getpid()}-{secrets.token_hex(4)}"
        self.job: Job | None = None  # in the works, for `_Watch`
        self.since = 0.0
        self.error: Exception | None = None  # that ended this thread

    def run(self) -> None:
        """Deliver; an error that is not a delivery's own ends the process, through `_Watch`."""
        try:
            while not self._stop_asked.is_set():
                now = time.time()
                job = queue.claim(
                    self._engine, Kind.DELIVER, self._worker, now, LEASE_S, self._target
                )
                if job is not None:
                    self.job, self.since = job, now
                    self._deliver(job)
                    self.job = None
                elif self._once:
                    return
                else:
                    self._stop_asked.wait(POLL_S)
        except Exception as exc:  # noqa: BLE001  handed to the main thread, which raises it
            self.error = exc

    def _deliver(self, job: Job) -> None:
        where = {"job": job.id, "study": job.study_uid, "target": job.target}
        try:
            payload = job.deliver_payload()
            result = deliver(self._peer, payload, self._config.data.dir / payload.file)
        except Exception as exc:  # noqa: BLE001  the worker loop: a strange peer must not end it
            error = queue.as_node_error(exc)
            state = queue.settle(self._engine, job, error, time.time(), self._policy)
            log.warning("%s: %s", state or "left", error, extra={**where, "code": error.code})
            return
        try:
            queue.finish_delivery(self._engine, job, result, time.time())
        except LeaseLost:  # another sender delivers the same object once more, which is harmless
            log.warning("the lease was lost after the delivery", extra=where)
        else:
            log.info("delivered", extra={**where, "status": result.status})


class _Watch:
    """What the main thread does meanwhile: leases, signs of life, and jobs that nobody serves."""

    def __init__(self, config: Config, engine: Engine, lines: list[_Line]) -> None:
        self._config, self._engine, self._lines = config, engine, lines
        self._due = 0.0
        self._worker = f"{PROCESS}-{os.getpid()}-{secrets.token_hex(4)}"

    def look(self, now: float) -> None:
        """Do what is due; raise what ended a line."""
        for line in self._lines:
            if line.error is not None:
                raise line.error
        if now < self._due:
            return
        self._due = now + EXTEND_S
        busy = [line for line in self._lines if line.job is not None]
        for line in busy:
            if line.job is not None and now - line.since < LONGEST_S:
                self._extend(line.job, now)
        detail = ", ".join(line.name for line in busy) or "idle"
        queue.heartbeat(self._engine, PROCESS, os.getpid(), now, detail)
        self._fail_strangers(now)

    def _extend(self, job: Job, now: float) -> None:
        # lost: it has just ended; cancelled: what is half sent is not called back
        with contextlib.suppress(LeaseLost, Cancelled):
            queue.extend(self._engine, job, now, LEASE_S)

    def _fail_strangers(self, now: float) -> None:
        """Fail jobs of targets that are no longer configured: nobody would ever claim them."""
        for target in (
            queue.targets_with_queued_deliveries(self._engine) - self._config.targets.keys()
        ):
            advice = "Add it to targets again and retry the job, or leave it."
            error = Misconfigured(f"there is no target {target!r} any more", advice=advice)
            while job := queue.claim(
                self._engine, Kind.DELIVER, self._worker, now, LEASE_S, target
            ):
                queue.fail(self._engine, job, error, now)
