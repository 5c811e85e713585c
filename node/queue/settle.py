"""The class of an error decides what happens to its job: one `match`, and nowhere else."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Engine

from node.errors import (
    ChildKilled,
    Defect,
    LeaseLost,
    Misconfigured,
    NodeError,
    Transient,
    Unsuitable,
)
from node.errors import Refused as PeerSaidNo
from node.queue.arrows import fail, reject, retry_later
from node.queue.rows import Job
from node.states import Arrow, State

JITTER_SHARE = 0.2  # of the delay, up or down: jobs that failed together do not return together


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How long one kind of work is tried again."""

    give_up_after_s: float  # what may pass by itself gets so long
    killed_attempts: int = 2  # a child that was killed may have met a busy machine, once
    first_delay_s: float = 5.0
    longest_delay_s: float = 600.0


class Decision(NamedTuple):
    """Which arrow to take; for RETRY, how long to wait."""

    arrow: Arrow
    delay_s: float = 0.0


def settle(engine: Engine, job: Job, error: Exception, now: float, policy: Policy) -> State | None:
    """Let `error` end the job or queue it again; return its state, or None if it is not ours.

    A lost lease changes nothing: whoever holds the job now decides.
    """
    said = as_node_error(error)
    decision = decide(job, said, now, policy)
    try:
        match decision.arrow:
            case Arrow.REJECT:
                return reject(engine, job, said, now).state
            case Arrow.RETRY:
                return retry_later(engine, job, said, now + decision.delay_s, now).state
            case Arrow.FAIL:
                return fail(engine, job, said, now).state
            case _:
                return None
    except LeaseLost:
        return None


def decide(job: Job, error: NodeError, now: float, policy: Policy) -> Decision:
    """Return what `error` means for `job`, without touching it."""
    match error:
        case LeaseLost():
            return Decision(Arrow.EXPIRE)  # as if this worker had fallen silent
        case Unsuitable():
            return Decision(Arrow.REJECT)
        case Transient():
            delay_s = backoff_s(job, policy)
            is_over = now + delay_s - job.queued_at > policy.give_up_after_s
            return Decision(Arrow.FAIL) if is_over else Decision(Arrow.RETRY, delay_s)
        case ChildKilled() if job.attempts < policy.killed_attempts:
            return Decision(Arrow.RETRY, backoff_s(job, policy))
        case PeerSaidNo() | Misconfigured() | Defect() | NodeError():
            # a wrong configuration is not retried: an operator mends it and asks for another try
            return Decision(Arrow.FAIL)


def backoff_s(job: Job, policy: Policy) -> float:
    """Return the delay before the next attempt: doubling, with a jitter that is the job's own."""
    doubled = policy.first_delay_s * 2.0 ** min(max(job.attempts, 1) - 1, 30)
    seed = hashlib.sha256(f"{job.dedup_key}/{job.attempts}".encode()).digest()
    share = 1.0 + JITTER_SHARE * (seed[0] / 127.5 - 1.0)
    return min(doubled, policy.longest_delay_s) * share


def as_node_error(error: Exception) -> NodeError:
    """Return `error`, or a `Defect` that tells its type and place.

    An unexpected exception's text may hold values of a header, so it is not kept.
    """
    if isinstance(error, NodeError):
        return error
    place, traceback = "", error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f" at {code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return Defect(
        f"unexpected {type(error).__name__}{place}", advice="Report it with the job's events."
    )
