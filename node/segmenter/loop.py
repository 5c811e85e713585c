"""Run the segmenter's loop: claim a job, let the child segment it, commit the result."""

import contextlib
import logging
import math
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from sqlalchemy import Engine

from node import queue, schema
from node.config import AUTO, Config, RunningConfig
from node.engines import ONNXRUNTIME, OPENVINO
from node.errors import DatabaseDamaged, NodeError, Transient, rebuild
from node.fault_log import FaultLog
from node.queue import (
    DeliverPayload,
    Destination,
    Job,
    NewDelivery,
    Policy,
    SegmentPayload,
    SegmentResult,
)
from node.segmenter.ahead import WorkAhead
from node.segmenter.measuring import COMPILED, BackgroundMeasuring
from node.segmenter.messages import Done, OutboxObject, RehearsalRequest, Stage, Unsuited
from node.segmenter.rehearse import rehearsals
from node.segmenter.requests import identity_of, outbox_of, request_of
from node.segmenter.warm import WarmChild
from node.states import Kind

PROCESS = "segmenter"
LEASE_S = 30.0
EXTEND_S = 3.0  # a cancelled job runs on for at most this long
BEAT_S = 10.0
POLL_S = 0.5
GIVE_UP_AFTER_S = 24 * 3600.0  # a full disk may take an operator a day
log = logging.getLogger("node.segmenter")


def run(
    config: Config,
    stop: Event | None = None,
    *,
    once: bool = False,
    running: RunningConfig | None = None,
) -> None:
    """Process jobs until `stop` is set, or with `once` until none is due.

    `running` follows what is accepted later, between two jobs.

    Raises:
        Misconfigured: the database cannot be opened.
        ChildKilled: the child cannot start.
    """
    stop = stop or Event()
    running = running or RunningConfig(config)
    engine = schema.open_configured(config.data)
    heartbeat = _Heartbeat(engine)
    level = logging.getLevelName(log.getEffectiveLevel())
    background = BackgroundMeasuring(config)
    doorbell = queue.Doorbell(engine)
    with (
        contextlib.closing(WarmChild(config.limits, level, libraries_of(config))) as warm,
        contextlib.closing(background),
    ):
        activity, faults = "", FaultLog(log, PROCESS)
        settlement, ahead = _Settlement(running, engine), WorkAhead(config)
        while not stop.is_set():
            try:
                settlement.finish()
                if running.follow():
                    config = running.config
                    warm.reconfigure(config.limits, libraries_of(config))
                    background.reconfigure(config)
                    ahead = WorkAhead(config)
                warm.ready()
                heartbeat.beat(activity or "idle")
                job = queue.claim(engine, Kind.SEGMENT, heartbeat.worker, time.time(), LEASE_S)
                faults.worked()
                if job is not None:
                    background.interrupt()
                    child = _Segmenting(config, warm, ahead)
                    _process_job(engine, child, job, heartbeat, settlement)
                elif once:
                    return
                elif not ahead.step(warm, background.interrupt, heartbeat.ahead):
                    warm.rehearse(lambda: _rehearsals(running.config, engine))
                    activity = background.step()
                    doorbell.wait(stop, POLL_S)
            except Transient as exc:  # of the database or its disk: `settlement` has the job
                stop.wait(faults.failed(exc))


def _rehearsals(config: Config, engine: Engine) -> list[RehearsalRequest]:
    sizes = {key: chosen.size for key, chosen in queue.sizes(engine).items()}
    try:
        return list(rehearsals(config, config.data.dir / COMPILED, identity_of(config), sizes))
    except NodeError as error:  # the planner reports the same error at ERROR level
        log.warning("no rehearsal: %s", error, extra={"code": error.code})
        return []


class _Settlement:
    """Settles a job that ended with an error, later if the database fails at that moment."""

    def __init__(self, running: RunningConfig, engine: Engine) -> None:
        self._engine, self._running = engine, running
        self._left: tuple[Job, NodeError] | None = None

    def settle(self, job: Job, error: NodeError) -> None:
        """End or delay a job by its error."""
        self._left = (job, error)
        self.finish()

    def finish(self) -> None:
        """Settle the job that is left, if there is one.

        Raises:
            Transient: the database fails; call it again.
        """
        if self._left is None:
            return
        job, error = self._left
        policy = policy_of(self._running.config)
        state = queue.settle(self._engine, job, error, time.time(), policy)
        self._left = None
        where = {"job": job.id, "series": job.series_uid, "study": job.study_uid}
        log.warning("%s: %s", state or "left", error, extra={**where, "code": error.code})


@dataclass(frozen=True)
class _Segmenting:
    """What gives the result of a job: the work ahead of it, else the child."""

    config: Config
    warm: WarmChild
    ahead: WorkAhead

    def done(
        self, job: Job, payload: SegmentPayload, tick: Callable[[Stage], None]
    ) -> Done | Unsuited:
        request = request_of(self.config, job, payload)
        return self.ahead.take(request) or self.warm.segment(request, tick)


def _process_job(
    engine: Engine,
    segmenting: _Segmenting,
    job: Job,
    heartbeat: "_Heartbeat",
    settlement: _Settlement,
) -> None:
    """Process one job; a NodeError ends or delays it, other errors end this process."""
    where = {"job": job.id, "series": job.series_uid, "study": job.study_uid}
    try:
        payload = job.segment_payload()
        done = segmenting.done(job, payload, lambda stage: heartbeat.keep(job, stage))
        if isinstance(done, Unsuited):
            _end_with_notice(engine, job, payload, done)
            return
        result, deliveries = _results(job, payload, done)
        queue.finish_segment(engine, job, result, deliveries, time.time())
    except DatabaseDamaged:
        raise  # nothing can be recorded: the node ends
    except NodeError as error:
        settlement.settle(job, error)
    else:
        log.info("segmented", extra={**where, "seconds": round(sum(done.seconds.values()), 2)})


def _end_with_notice(engine: Engine, job: Job, payload: SegmentPayload, unsuited: Unsuited) -> None:
    reason = unsuited.reason
    error = rebuild(reason.code, reason.message, reason.advice)
    notices = [
        _delivery(job, target, unsuited.notice) for target in payload.targets if target.notice
    ]
    queue.end_unsuitable(engine, job, error, notices, time.time())
    where = {"job": job.id, "series": job.series_uid, "study": job.study_uid}
    log.warning("unsuitable, a notice is sent: %s", error, extra={**where, "code": error.code})


class _Heartbeat:
    """Writes the heartbeat of this process, and extends the lease of its job."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # unique, also after a restart
        self.worker = f"{PROCESS}-{os.getpid()}-{secrets.token_hex(4)}"
        self._beat_at = self._extended_at = -math.inf  # monotonic

    def beat(self, detail: str) -> None:
        """Write the heartbeat, at most every `BEAT_S`."""
        if time.monotonic() - self._beat_at > BEAT_S:
            self._beat_at = time.monotonic()
            queue.heartbeat(self._engine, PROCESS, os.getpid(), time.time(), detail)

    def ahead(self, stage: Stage) -> None:
        """Write the heartbeat during work ahead of a job."""
        self.beat(f"ahead of a job, {stage.name} {stage.share:.0%}")

    def keep(self, job: Job, stage: Stage) -> None:
        """Extend the lease, at most every `EXTEND_S`; raise when the job was lost or cancelled."""
        if time.monotonic() - self._extended_at > EXTEND_S:
            self._extended_at = time.monotonic()
            queue.extend(self._engine, job, time.time(), LEASE_S)
        self.beat(f"job {job.id}, {stage.name} {stage.share:.0%}")


def policy_of(config: Config) -> Policy:
    """Return how often and how long a segmentation is retried."""
    return Policy(give_up_after_s=GIVE_UP_AFTER_S, killed_attempts=config.limits.attempts)


def libraries_of(config: Config) -> tuple[str, ...]:
    """Return the engines whose libraries the child imports before a study arrives."""
    if config.model.engine == AUTO:
        return (ONNXRUNTIME, OPENVINO)
    return (config.model.engine,)


def _results(
    job: Job, payload: SegmentPayload, done: Done
) -> tuple[SegmentResult, list[NewDelivery]]:
    outbox = outbox_of(job.dedup_key)
    result = SegmentResult(
        objects=tuple(f"{outbox}/{written.name}" for written in done.objects),
        volumes_ml=done.volumes_ml,
        sums_ml=done.sums_ml,
        seconds={stage: round(seconds, 4) for stage, seconds in done.seconds.items()},
        caveats=done.caveats,
        peak_mb=done.peak_mb,
        engine=done.engine,
    )
    deliveries = [
        _delivery(job, target, written)
        for target in payload.targets
        for written in done.objects
        if _is_for(target, written)
    ]
    return result, deliveries


def _is_for(target: Destination, written: OutboxObject) -> bool:
    """Return whether a target gets an object of a result."""
    match written.kind:
        case "seg":
            return target.seg and written.encoding == target.encoding
        case "report":
            return written.encoding == target.encoding and target.report
        case "rtstruct":
            return target.rtstruct
        case "picture":
            return target.picture
        case "notice":
            return target.notice


def _delivery(job: Job, target: Destination, written: OutboxObject) -> NewDelivery:
    return NewDelivery(
        target=target.name,
        priority=job.priority,
        payload=DeliverPayload(
            file=f"{outbox_of(job.dedup_key)}/{written.name}",
            sha256=written.sha256,
            size_bytes=written.size_bytes,
            sop_class_uid=written.sop_class_uid,
            sop_instance_uid=written.sop_instance_uid,
            study_uid=job.study_uid,
            series_uid=written.series_uid,
            target=target.name,
        ),
    )
