"""The sender process: one thread per target, so that an unreachable target delays no other."""

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
LONGEST_S = 1800.0  # a longer delivery loses its lease: its thread may hang
POLL_S = 0.5
log = logging.getLogger("node.sender")


def run(config: Config, stop: Event | None = None, *, once: bool = False) -> None:
    """Deliver until `stop` is set, or with `once` until nothing is due.

    Raises:
        Misconfigured: the database cannot be opened.
    """
    stop = stop or Event()
    engine = schema.open_configured(config.data)
    threads = [
        _TargetThread(config, engine, name, target, stop, once=once)
        for name, target in config.targets.items()
    ]
    for thread in threads:
        thread.start()
    supervisor = _Supervisor(config, engine, threads)
    while not stop.is_set():
        is_over = once and not any(thread.is_alive() for thread in threads)
        supervisor.run_due(time.time())
        if is_over:
            return
        stop.wait(POLL_S)
    for thread in threads:
        thread.join()


class _TargetThread(threading.Thread):
    """Delivers to one target, one object after another."""

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
        self.job: Job | None = None  # being delivered; read by `_Supervisor`
        self.since = 0.0
        self.error: Exception | None = None  # the error that ended this thread

    def run(self) -> None:
        """Deliver; `_Supervisor` raises any error that does not belong to one delivery."""
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
            log.warning(
                "delivery failed, job is %s: %s",
                state or "unchanged",
                error,
                extra={**where, "code": error.code},
            )
            return
        try:
            queue.finish_delivery(self._engine, job, result, time.time())
        except LeaseLost:  # another sender delivers the same object too, which is harmless
            log.warning("the lease was lost after the delivery", extra=where)
        else:
            log.info("delivered", extra={**where, "status": result.status})


class _Supervisor:
    """Runs in the main thread: extends leases, writes heartbeats, fails jobs without a target."""

    def __init__(self, config: Config, engine: Engine, threads: list[_TargetThread]) -> None:
        self._config, self._engine, self._threads = config, engine, threads
        self._due = 0.0
        self._worker = f"{PROCESS}-{os.getpid()}-{secrets.token_hex(4)}"

    def run_due(self, now: float) -> None:
        """Do what is due; raise the error that ended a thread."""
        for thread in self._threads:
            if thread.error is not None:
                raise thread.error
        if now < self._due:
            return
        self._due = now + EXTEND_S
        busy = [thread for thread in self._threads if thread.job is not None]
        for thread in busy:
            if thread.job is not None and now - thread.since < LONGEST_S:
                self._extend(thread.job, now)
        detail = ", ".join(thread.name for thread in busy) or "idle"
        queue.heartbeat(self._engine, PROCESS, os.getpid(), now, detail)
        self._fail_unknown_targets(now)

    def _extend(self, job: Job, now: float) -> None:
        # lost: it has just ended; cancelled: an object that is being sent is not stopped
        with contextlib.suppress(LeaseLost, Cancelled):
            queue.extend(self._engine, job, now, LEASE_S)

    def _fail_unknown_targets(self, now: float) -> None:
        """Fail jobs of targets that are no longer configured: no thread would claim them."""
        for target in (
            queue.targets_with_queued_deliveries(self._engine) - self._config.targets.keys()
        ):
            advice = "Add it to `targets` and retry the job, or leave the job failed."
            error = Misconfigured(f"target {target!r} is no longer configured", advice=advice)
            while job := queue.claim(
                self._engine, Kind.DELIVER, self._worker, now, LEASE_S, target
            ):
                queue.fail(self._engine, job, error, now)
