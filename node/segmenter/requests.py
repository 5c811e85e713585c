"""Turn the payload of a job into the request of the child that segments it."""

import hashlib

import node
from node import measured
from node.config import AUTO, Config
from node.engines import ONNXRUNTIME
from node.queue import Job, SegmentPayload
from node.seg import SegIdentity
from node.segmenter.measuring import COMPILED
from node.segmenter.messages import SegmentRequest


def request_of(config: Config, job: Job, payload: SegmentPayload) -> SegmentRequest:
    """Return the child's request for a job."""
    return request_for(config, job.id, job.dedup_key, payload)


def request_for(
    config: Config, job_id: int, dedup_key: str, payload: SegmentPayload
) -> SegmentRequest:
    """Return the child's request for the work that `dedup_key` names."""
    encodings = dict.fromkeys(target.encoding for target in payload.targets)
    return SegmentRequest(
        job=job_id,
        folder=str(config.data.dir / "inbox" / "series" / payload.series_key),
        files=payload.files,
        inputs_digest=payload.inputs_digest,
        package=str(config.model.dir / payload.package),
        package_digest=payload.package_digest,
        size=payload.size,
        why=payload.why,
        encodings=tuple(encodings),
        reports=tuple({t.encoding: None for t in payload.targets if t.report}),
        rtstruct=any(target.rtstruct for target in payload.targets),
        picture=any(target.picture for target in payload.targets),
        notice=any(target.notice for target in payload.targets),
        unsuitable=payload.unsuitable,
        identity=identity_of(config),
        created_at=payload.created_at,
        outbox=str(config.data.dir / outbox_of(dedup_key)),
        engine=engine_of(config, payload),
        compiled=str(config.data.dir / COMPILED),
    )


def engine_of(config: Config, payload: SegmentPayload) -> str:
    """Return the engine of a job: the configured one, else the planned one where it is verified.

    The job may be older than the current library or machine.
    """
    if config.model.engine != AUTO:
        return config.model.engine
    if payload.engine == ONNXRUNTIME:
        return ONNXRUNTIME
    measurements = measured.read(config.data, measured.this_host(config.limits.threads))
    is_verified = any(
        (one.digest, one.size, one.engine) == (payload.package_digest, payload.size, payload.engine)
        and not one.problem
        for one in measurements
    )
    return payload.engine if is_verified else ONNXRUNTIME


def identity_of(config: Config) -> SegIdentity:
    """Return the equipment that results name: this node."""
    return SegIdentity(
        manufacturer="segnode",
        model_name="segnode",
        serial=config.node.ae_title,
        software_version=node.__version__,
        institution=config.node.institution,
        uid_root=config.node.uid_root,
    )


def outbox_of(dedup_key: str) -> str:
    """Return the folder of a job's objects in the data folder; the same for each attempt."""
    return f"outbox/{hashlib.sha256(dedup_key.encode()).hexdigest()[:32]}"
