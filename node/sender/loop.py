"""The sender process: one thread per target, so that an unreachable target delays no other."""

import contextlib
import dataclasses
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from threading import Event

from sqlalchemy import Engine

from node import queue, schema
from node.commitment import ReceivedReports
from node.config import Config, RunningConfig
from node.errors import Cancelled, LeaseLost, Transient
from node.fault_log import FaultLog, PeriodicThread
from node.queue import DeliverResult, Job, Policy
from node.sender.commit import Commitment, conclude, deliver_for_commitment
from node.sender.peer import Line, Peer, peer_of
from node.sender.reports import commitment_threads, record_reports
from node.sender.store import deliver
from node.sender.unknown import fail_unknown
from node.states import Kind
from node.tls import WARN_EVERY_S, Credentials, lifetime

PROCESS = "sender"
LEASE_S = 60.0
EXTEND_S = 10.0
# a delivery that takes longer is ended: this long, and for each byte as on a slow line
LONGEST_S = 600.0
SLOWEST_BYTES_PER_S = 50_000.0
GRACE_S = 90.0  # for a thread whose line was cut; then another thread takes its place
POLL_S = 0.5
CERTIFICATE_ENDS = "certificate-ends"  # kind of a note
log = logging.getLogger("node.sender")


def run(
    config: Config,
    stop: Event | None = None,
    *,
    once: bool = False,
    running: RunningConfig | None = None,
) -> None:
    """Deliver until `stop` is set, or with `once` until nothing is due.

    `running` follows what is accepted later: a delivery that has begun ends as it began.

    Raises:
        Misconfigured: the database cannot be opened, or a file of `tls` cannot be used.
    """
    stop = stop or Event()
    running = running or RunningConfig(config)
    engine = schema.open_configured(config.data)
    credentials = Credentials(config.tls) if config.tls.is_on else None

    def thread_of(name: str) -> _TargetThread:
        peer = peer_of(running.config, name, credentials)
        return _TargetThread(running, engine, peer, stop, once=once)

    threads = [thread_of(name) for name in config.targets]
    reports = ReceivedReports(config.data.dir)
    reports.remove_leftovers()
    record_reports(engine, reports, time.time())
    ended = Event()
    others = commitment_threads(running, engine, credentials, ended)
    for thread in (*threads, *others):
        thread.start()
    supervisor = _Supervisor(running, engine, threads, thread_of)
    try:
        while not stop.is_set():
            is_over = once and not any(thread.is_alive() for thread in supervisor.threads)
            supervisor.run_due(time.monotonic())
            _raise_errors(others)
            if is_over:
                return
            stop.wait(POLL_S)
        for thread in supervisor.threads:
            thread.join()
    finally:
        ended.set()
        for other in others:
            other.join()


def _raise_errors(threads: Sequence["_TargetThread | PeriodicThread"]) -> None:
    """Raise the error that ended one of the threads."""
    for thread in threads:
        if thread.error is not None:
            raise thread.error


class _TargetThread(threading.Thread):
    """Delivers to one target, one object after another."""

    def __init__(
        self,
        running: RunningConfig,
        engine: Engine,
        peer: Peer,
        stop: Event,
        *,
        once: bool,
    ) -> None:
        name, patience_s = peer.name, peer.target.give_up_after
        super().__init__(name=f"to-{name}", daemon=True)
        self._running, self._engine, self._target = running, engine, name
        self.peer = peer
        self._reports = ReceivedReports(running.config.data.dir)
        self._policy = Policy(give_up_after_s=patience_s, longest_delay_s=300.0)
        self._stop_asked, self._once = stop, once
        self._worker = f"{PROCESS}-{name}-{os.getpid()}-{secrets.token_hex(4)}"
        self._faults = FaultLog(log, self.name)
        self._report_due = -math.inf  # monotonic time of the next report on the certificate
        self._doorbell = queue.Doorbell(engine)
        self.job: Job | None = None  # being delivered; read by `_Supervisor`
        self.must_end = 0.0  # monotonic time at which its delivery is ended
        self.is_cut = False  # the line of its delivery
        self.is_replaced = False  # it ends after its delivery: another thread took over, or none
        self.error: Exception | None = None  # the error that ended this thread

    def run(self) -> None:
        """Deliver; `_Supervisor` raises any error that does not belong to one delivery."""
        try:
            while not self._stop_asked.is_set() and not self.is_replaced:
                try:
                    if not self._deliver_next():
                        return
                except Transient as exc:  # of the database or its disk
                    self.job = None
                    self._stop_asked.wait(self._faults.failed(exc))
        except Exception as exc:  # noqa: BLE001  handed to the main thread, which raises it
            self.error = exc

    def _deliver_next(self) -> bool:
        """Deliver what is due, or wait; return whether to go on."""
        job = queue.claim(
            self._engine, Kind.DELIVER, self._worker, time.time(), LEASE_S, self._target
        )
        self._faults.worked()
        if job is not None:
            self.peer.line.mend()
            self.is_cut = False
            self.must_end = time.monotonic() + LONGEST_S
            self.job = job
            self._deliver(job)
            self.job = None
            self._report_certificate(time.monotonic())
        elif self._once:
            return False
        else:
            self._doorbell.wait(self._stop_asked, POLL_S)
        return True

    def _report_certificate(self, now: float) -> None:
        """Report, once a day, that the certificate of the target ends soon; `now` is monotonic."""
        tls = self.peer.tls
        if tls is None or tls.certificate is None or now < self._report_due:
            return
        before_s = self._running.config.tls.warn_before
        validity = lifetime("certificate", tls.certificate, time.time(), before_s)
        if validity.is_ending:
            self._report_due = now + WARN_EVERY_S
            message = f"the certificate of target {self._target} {validity.text}"
            advice = "Let its administrator renew it."
            facts = {"target": self._target, "code": CERTIFICATE_ENDS, "advice": advice}
            log.warning(message, extra=facts)
            queue.add_note(self._engine, CERTIFICATE_ENDS, f"{message}. {advice}", time.time())

    def successor(self) -> "_TargetThread":
        """Return a thread that takes the place of this one, which no longer responds."""
        self.is_replaced = True
        peer = dataclasses.replace(self.peer, line=Line())
        return _TargetThread(self._running, self._engine, peer, self._stop_asked, once=self._once)

    def cut_line(self) -> None:
        """End the connection of the delivery."""
        self.peer.line.cut()

    def _deliver(self, job: Job) -> None:
        where = {"job": job.id, "study": job.study_uid, "target": job.target}
        try:
            result = self._attempt(job)
        except Exception as exc:  # noqa: BLE001  the worker loop: a strange peer must not end it
            error = queue.as_node_error(exc)
            state = queue.settle(self._engine, job, error, time.time(), self._policy)
            where = {**where, "code": error.code}
            log.warning("delivery failed, job is %s: %s", state or "unchanged", error, extra=where)
            return
        try:
            if result is None:
                queue.await_report(self._engine, job, time.time())
                log.info("sent, awaits the storage commitment report", extra=where)
            else:
                queue.finish_delivery(self._engine, job, result, time.time())
                log.info("delivered", extra={**where, "status": result.status})
        except LeaseLost:  # another sender delivers the same object too, which is harmless
            log.warning("the lease was lost after the delivery", extra=where)

    def _attempt(self, job: Job) -> DeliverResult | None:
        """Deliver, or conclude from a report; return None if a report is to be awaited."""
        payload = job.deliver_payload()
        has_answered = queue.has_answered_queries(self._engine, self._target)
        peer = dataclasses.replace(self.peer, has_answered_queries=has_answered)
        if job.report_due_at is not None:
            if not job.commitment_report and time.time() < job.report_due_at:
                return None
            return conclude(peer, payload, job.deliver_result(), job.commitment_report)
        self.must_end += payload.size_bytes / SLOWEST_BYTES_PER_S
        file = self._running.config.data.dir / payload.file
        if peer.target.confirm != "commitment":
            return deliver(peer, payload, file)

        def record(transaction: str, sent: DeliverResult) -> None:
            due_at = time.time() + peer.target.report_within
            queue.request_commitment(self._engine, job, transaction, sent, due_at)

        def is_reported() -> bool:
            return bool(queue.get(self._engine, job.id).commitment_report)

        commitment = Commitment(self._reports, record, is_reported)
        return deliver_for_commitment(peer, payload, file, commitment)


class _Supervisor:
    """Runs in the main thread: extends leases, ends long deliveries, follows the configuration."""

    def __init__(
        self,
        running: RunningConfig,
        engine: Engine,
        threads: list[_TargetThread],
        thread_of: Callable[[str], _TargetThread],
    ) -> None:
        self._running, self._engine, self.threads = running, engine, threads
        self._thread_of = thread_of
        self._due = -math.inf
        self._faults = FaultLog(log, PROCESS)
        self._worker = f"{PROCESS}-{os.getpid()}-{secrets.token_hex(4)}"

    def run_due(self, now: float) -> None:
        """Do what is due at `now` (monotonic); raise the error that ended a thread."""
        _raise_errors(self.threads)
        self.threads[:] = [self._watched(thread, now) for thread in self.threads]
        if self._running.follow():
            self._change_targets()
        if now < self._due:
            return
        self._due = now + EXTEND_S
        try:
            self._extend_and_report()
        except Transient as exc:  # of the database or its disk
            self._due = now + self._faults.failed(exc)
        else:
            self._faults.worked()

    def _change_targets(self) -> None:
        """Start threads for new and changed targets; end the others after their delivery."""
        targets = self._running.config.targets
        unchanged = set()
        for thread in self.threads:
            if targets.get(thread.peer.name) != thread.peer.target:
                thread.is_replaced = True
            if not thread.is_replaced:
                unchanged.add(thread.peer.name)
        self.threads[:] = [thread for thread in self.threads if thread.is_alive()]
        for name in targets:
            if name not in unchanged:
                thread = self._thread_of(name)
                self.threads.append(thread)
                thread.start()

    def _extend_and_report(self) -> None:
        busy = [thread for thread in self.threads if thread.job is not None]
        for thread in busy:
            if thread.job is not None:
                self._extend(thread.job, time.time())
        detail = ", ".join(thread.name for thread in busy) or "idle"
        queue.heartbeat(self._engine, PROCESS, os.getpid(), time.time(), detail)
        self._fail_unknown_targets(time.time())

    def _watched(self, thread: _TargetThread, now: float) -> _TargetThread:
        """End a delivery that takes too long; replace a thread that does not return even then."""
        job = thread.job
        if job is None or now < thread.must_end:
            return thread
        where = {"job": job.id, "target": job.target}
        if now < thread.must_end + GRACE_S:
            if not thread.is_cut:
                thread.is_cut = True
                log.error("a delivery takes too long, its connection is ended", extra=where)
                thread.cut_line()
            return thread
        if thread.is_replaced:
            return thread
        log.error("a delivery does not end, another thread takes over", extra=where)
        successor = thread.successor()
        successor.start()
        return successor

    def _extend(self, job: Job, now: float) -> None:
        # lost: it has just ended; cancelled: an object that is being sent is not stopped
        with contextlib.suppress(LeaseLost, Cancelled):
            queue.extend(self._engine, job, now, LEASE_S)

    def _fail_unknown_targets(self, now: float) -> None:
        """Fail jobs of targets that are no longer configured: no thread would claim them."""
        # the jobs first: a target that one of them names was accepted before it
        queued = queue.targets_with_queued_deliveries(self._engine)
        if self._running.follow():
            self._change_targets()
        unknown = queued - self._running.config.targets.keys()
        fail_unknown(self._engine, unknown, self._worker, LEASE_S, now)
