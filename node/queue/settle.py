"""Decide from the class of an error what happens to its job: one table, and nowhere else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sqlalchemy import Engine

from node.errors import (
    Cancelled,
    ChildKilled,
    Defect,
    LeaseLost,
    NodeError,
    Superseded,
    Transient,
    Unsuitable,
)
from node.queue.rows import Job
from node.queue.transitions import end, retry_later
from node.queue.upkeep import return_attempt
from node.states import Kind, State, Transition

LONGEST_DELAY_S = 720.0  # the longest delay of a `Policy`, with the jitter
JITTER_SHARE = 0.2  # of the delay, up or down: jobs that failed together do not return together
TRANSITION_OF: Mapping[type[NodeError], Transition] = MappingProxyType(  # the first class that fits
    {
        LeaseLost: Transition.EXPIRE,  # as if the lease had run out
        Unsuitable: Transition.MARK_UNSUITABLE,
        Superseded: Transition.SUPERSEDE,
        Cancelled: Transition.CANCEL,
        Transient: Transition.RETRY,
        NodeError: Transition.FAIL,  # all others: an operator mends the cause and requeues the job
    }
)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How long one kind of work is retried."""

    give_up_after_s: float  # transient errors are retried for so long
    killed_attempts: int = 2  # one killed child may be due to a busy machine
    first_delay_s: float = 5.0
    longest_delay_s: float = 600.0


class NextTransition(NamedTuple):
    """The transition that follows an error; for RETRY also the delay before the next attempt."""

    transition: Transition
    delay_s: float = 0.0


def settle(engine: Engine, job: Job, error: Exception, now: float, policy: Policy) -> State | None:
    """End the job with `error` or queue it again; return its state.

    Return None where this worker no longer holds the job: the worker that holds it now decides. An
    attempt of a segmentation that a transient error ended does not count: attempts are the deaths
    of the process that segments.
    """
    known = as_node_error(error)
    transition, delay_s = decide(job, known, now, policy)
    try:
        match transition:
            case Transition.EXPIRE:
                pass
            case Transition.RETRY:
                later = retry_later(
                    engine, job, known, now + delay_s, now, is_counted=not _is_free(job, known)
                )
                return later.state
            case _:
                return end(engine, job, transition, known, now).state
    except LeaseLost:
        pass
    if _is_free(job, known):
        return_attempt(engine, job)
    return None


def _is_free(job: Job, error: NodeError) -> bool:
    """Return whether an attempt that ended with `error` does not count."""
    return job.kind is Kind.SEGMENT and isinstance(error, Transient)


def decide(job: Job, error: NodeError, now: float, policy: Policy) -> NextTransition:
    """Return the transition that `error` causes for `job`; change nothing."""
    classes = (kind for kind in TRANSITION_OF if isinstance(error, kind))
    transition = TRANSITION_OF[next(classes, NodeError)]
    if isinstance(error, ChildKilled) and job.attempts < policy.killed_attempts:
        transition = Transition.RETRY
    if transition is not Transition.RETRY:
        return NextTransition(transition)
    delay_s = backoff_s(job, policy)
    if now + delay_s - job.queued_at > policy.give_up_after_s and isinstance(error, Transient):
        return NextTransition(Transition.FAIL)
    return NextTransition(Transition.RETRY, delay_s)


def backoff_s(job: Job, policy: Policy) -> float:
    """Return the delay before the next attempt, in seconds.

    It doubles with each attempt up to the policy's longest delay. A segmentation does not count
    them: it waits as long again as it has waited. The jitter is derived from the job and the
    attempt, so that it is reproducible.
    """
    doubled = policy.first_delay_s * 2.0 ** min(max(job.attempts, 1) - 1, 30)
    if job.kind is Kind.SEGMENT:
        doubled = max(doubled, job.not_before - job.queued_at)
    seed = hashlib.sha256(f"{job.dedup_key}/{job.attempts}".encode()).digest()
    share = 1.0 + JITTER_SHARE * (seed[0] / 127.5 - 1.0)
    return min(doubled, policy.longest_delay_s) * share


def as_node_error(error: Exception) -> NodeError:
    """Return `error`, or a `Defect` with the type and place of an unexpected exception.

    The exception's text may quote values of a header, so it is not kept.
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
