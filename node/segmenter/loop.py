"""The segmenter's loop: claim, let the child work, commit."""

import contextlib
import hashlib
import logging
import os
import secrets
import time
from threading import Event

from sqlalchemy import Engine

import node
from node import measured, queue, schema
from node.config import AUTO, Config
from node.engines import ONNXRUNTIME, OPENVINO
from node.errors import NodeError
from node.queue import (
    DeliverPayload,
    Destination,
    Job,
    NewDelivery,
    Policy,
    SegmentPayload,
    SegmentResult,
)
from node.seg import SegIdentity
from node.segmenter.measuring import COMPILED, Background
from node.segmenter.messages import Done, OutboxObject, RehearsalRequest, SegmentRequest, Stage
from node.segmenter.rehearse import rehearsals
from node.segmenter.warm import Warm
from node.states import Kind

PROCESS = "segmenter"
LEASE_S = 30.0
EXTEND_S = 3.0  # also how long a cancelled job may run on
BEAT_S = 10.0
POLL_S = 0.5
GIVE_UP_AFTER_S = 24 * 3600.0  # a full disk may take an operator a day
log = logging.getLogger("node.segmenter")


def run(config: Config, stop: Event | None = None, *, once: bool = False) -> None:
    """Work until `stop` is set, or with `once` until nothing is due.

    Raises:
        Misconfigured: the database cannot be opened.
        ChildKilled: the child cannot start.
    """
    stop = stop or Event()
    engine = schema.open_configured(config.data)
    pulse = _Pulse(engine)
    level = logging.getLevelName(log.getEffectiveLevel())
    background = Background(config)
    with (
        contextlib.closing(Warm(config.limits, level, libraries_of(config))) as warm,
        contextlib.closing(background),
    ):
        doing = ""
        while not stop.is_set():
            warm.ready()
            pulse.beat(doing or "idle")
            job = queue.claim(engine, Kind.SEGMENT, pulse.worker, time.time(), LEASE_S)
            if job is not None:
                background.give_way()
                _do(config, engine, warm, job, pulse)
            elif once:
                return
            else:
                warm.rehearse(lambda: _rehearsals(config))
                doing = background.go_on()
                stop.wait(POLL_S)


def _rehearsals(config: Config) -> list[RehearsalRequest]:
    try:
        return list(rehearsals(config, config.data.dir / COMPILED, identity_of(config)))
    except NodeError as error:  # whoever plans with it says so too, and more loudly
        log.warning("nothing is rehearsed: %s", error, extra={"code": error.code})
        return []


def _do(config: Config, engine: Engine, warm: Warm, job: Job, pulse: "_Pulse") -> None:
    """Do one job; an error of a class that we know ends or delays it, others end this process."""
    where = {"job": job.id, "series": job.series_uid, "study": job.study_uid}
    try:
        payload = job.segment_payload()
        done = warm.work(request_of(config, job, payload), lambda stage: pulse.keep(job, stage))
        result, deliveries = _results(job, payload, done)
        queue.finish_segment(engine, job, result, deliveries, time.time())
    except NodeError as error:
        state = queue.settle(engine, job, error, time.time(), policy_of(config))
        log.warning("%s: %s", state or "left", error, extra={**where, "code": error.code})
    else:
        log.info("segmented", extra={**where, "seconds": round(sum(done.seconds.values()), 2)})


class _Pulse:
    """Signs of life: of this process for people, of its job for the queue."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # never the name of another worker, nor of this one before it was started again
        self.worker = f"{PROCESS}-{os.getpid()}-{secrets.token_hex(4)}"
        self._beat_at = self._extended_at = 0.0

    def beat(self, detail: str) -> None:
        """Say that the process lives, not too often."""
        now = time.time()
        if now - self._beat_at > BEAT_S:
            self._beat_at = now
            queue.heartbeat(self._engine, PROCESS, os.getpid(), now, detail)

    def keep(self, job: Job, stage: Stage) -> None:
        """Keep the job; raises when it was lost or cancelled."""
        now = time.time()
        if now - self._extended_at > EXTEND_S:
            self._extended_at = now
            queue.extend(self._engine, job, now, LEASE_S)
        self.beat(f"job {job.id}, {stage.name} {stage.share:.0%}")


def policy_of(config: Config) -> Policy:
    """Return how often a segmentation is tried again."""
    return Policy(give_up_after_s=GIVE_UP_AFTER_S, killed_attempts=config.limits.attempts)


def request_of(config: Config, job: Job, payload: SegmentPayload) -> SegmentRequest:
    """Return what the child needs to know of a job."""
    wanted = dict.fromkeys(target.encoding for target in payload.targets)
    return SegmentRequest(
        job=job.id,
        folder=str(config.data.dir / "inbox" / "series" / payload.series_key),
        files=payload.files,
        inputs_digest=payload.inputs_digest,
        package=str(config.model.dir / payload.package),
        package_digest=payload.package_digest,
        size=payload.size,
        encodings=tuple(wanted),
        reports=tuple({t.encoding: None for t in payload.targets if t.report}),
        identity=identity_of(config),
        created_at=payload.created_at,
        outbox=str(config.data.dir / _outbox(job)),
        engine=engine_of(config, payload),
        compiled=str(config.data.dir / COMPILED),
    )


def engine_of(config: Config, payload: SegmentPayload) -> str:
    """Return the engine of a job: the configured one, else the planned one where it is proved.

    The job may be older than the library or the machine that it is done with.
    """
    if config.model.engine != AUTO:
        return config.model.engine
    if payload.engine == ONNXRUNTIME:
        return ONNXRUNTIME
    known = measured.known(config.data, measured.here(config.limits.threads))
    is_proved = any(
        (one.digest, one.size, one.engine) == (payload.package_digest, payload.size, payload.engine)
        and not one.problem
        for one in known
    )
    return payload.engine if is_proved else ONNXRUNTIME


def libraries_of(config: Config) -> tuple[str, ...]:
    """Return the engines whose libraries the child should have imported before a study comes."""
    if config.model.engine == AUTO:
        return (OPENVINO,)
    return (config.model.engine,)


def identity_of(config: Config) -> SegIdentity:
    """Return the maker that results name: this node."""
    return SegIdentity(
        manufacturer="segnode",
        model_name="segnode",
        serial=config.node.ae_title,
        software_version=node.__version__,
        institution=config.node.institution,
        uid_root=config.node.uid_root,
    )


def _results(
    job: Job, payload: SegmentPayload, done: Done
) -> tuple[SegmentResult, list[NewDelivery]]:
    outbox = _outbox(job)
    result = SegmentResult(
        objects=tuple(f"{outbox}/{made.name}" for made in done.objects),
        volumes_ml=done.volumes_ml,
        seconds={stage: round(seconds, 4) for stage, seconds in done.seconds.items()},
        repairs=done.repairs,
        dropped=done.dropped,
        cut=done.cut,
        peak_mb=done.peak_mb,
        engine=done.engine,
    )
    deliveries = [
        _delivery(job, target, made)
        for target in payload.targets
        for made in done.objects
        if made.encoding == target.encoding and (target.report or not made.is_report)
    ]
    return result, deliveries


def _delivery(job: Job, target: Destination, made: OutboxObject) -> NewDelivery:
    return NewDelivery(
        target=target.name,
        priority=job.priority,
        payload=DeliverPayload(
            file=f"{_outbox(job)}/{made.name}",
            sha256=made.sha256,
            size_bytes=made.size_bytes,
            sop_class_uid=made.sop_class_uid,
            sop_instance_uid=made.sop_instance_uid,
            study_uid=job.study_uid,
            series_uid=made.series_uid,
            target=target.name,
        ),
    )


def _outbox(job: Job) -> str:
    """Return the folder of a job's objects, relative to the data folder: the same every attempt."""
    return f"outbox/{hashlib.sha256(job.dedup_key.encode()).hexdigest()[:32]}"
