"""The states of a job and the only arrows between them, as data.

Promises: a pair (state, arrow) that is not in `TRANSITIONS` raises, everywhere.
Leaves to `node.queue`: the rows. Leaves to `node.schema`: the same rules as database constraints.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a job does."""

    SEGMENT = "segment"  # one series through one package
    DELIVER = "deliver"  # one finished object to one target


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"  # waits for its time and a worker
    RUNNING = "running"  # a worker holds it, under a lease
    DONE = "done"
    REJECTED = "rejected"  # an honest no: not ours to do, and nothing is broken
    FAILED = "failed"  # something is broken: needs a person


class Arrow(StrEnum):
    """Everything that can happen to a job."""

    CLAIM = "claim"
    FINISH = "finish"
    RETRY = "retry"  # the worker asks for another attempt, later
    EXPIRE = "expire"  # the worker fell silent; another may claim
    EXHAUST = "exhaust"  # the worker fell silent once too often
    REJECT = "reject"
    FAIL = "fail"
    SUPERSEDE = "supersede"  # images that came later made a newer job
    CANCEL = "cancel"  # an operator took it from the queue
    ASK_CANCEL = "ask-cancel"  # an operator asked the worker to stop
    REQUEUE = "requeue"  # an operator wants another try
    RESEND = "resend"  # an operator wants the result to be sent once more


TRANSITIONS: Mapping[tuple[State, Arrow], State] = MappingProxyType(
    {
        (State.QUEUED, Arrow.CLAIM): State.RUNNING,
        (State.QUEUED, Arrow.SUPERSEDE): State.REJECTED,
        (State.QUEUED, Arrow.CANCEL): State.REJECTED,
        (State.RUNNING, Arrow.FINISH): State.DONE,
        (State.RUNNING, Arrow.RETRY): State.QUEUED,
        (State.RUNNING, Arrow.EXPIRE): State.QUEUED,
        (State.RUNNING, Arrow.EXHAUST): State.FAILED,
        (State.RUNNING, Arrow.REJECT): State.REJECTED,
        (State.RUNNING, Arrow.FAIL): State.FAILED,
        (State.RUNNING, Arrow.ASK_CANCEL): State.RUNNING,
        (State.REJECTED, Arrow.REQUEUE): State.QUEUED,
        (State.FAILED, Arrow.REQUEUE): State.QUEUED,
        (State.DONE, Arrow.RESEND): State.QUEUED,
        (State.REJECTED, Arrow.RESEND): State.QUEUED,
        (State.FAILED, Arrow.RESEND): State.QUEUED,
    }
)

LIVE = frozenset({State.QUEUED, State.RUNNING})
ENDED = frozenset(State) - LIVE


class IllegalArrow(ValueError):
    """This arrow does not leave that state."""

    def __init__(self, state: State, arrow: Arrow) -> None:
        """Name both, for the operator who asked for it."""
        super().__init__(f"a job that is {state} cannot {arrow.replace('-', ' ')}")
        self.state, self.arrow = state, arrow


def follow(state: State, arrow: Arrow) -> State:
    """Return the state at the end of `arrow`.

    Raises:
        IllegalArrow: there is no such arrow from `state`.
    """
    try:
        return TRANSITIONS[state, arrow]
    except KeyError:
        raise IllegalArrow(state, arrow) from None


def sources(arrow: Arrow) -> tuple[State, ...]:
    """Return the states that `arrow` may leave."""
    return tuple(state for state, known in TRANSITIONS if known is arrow)


class Outcome(StrEnum):
    """What was decided about a series that arrived."""

    PLANNED = "planned"  # a job exists
    NO_RULE = "no-rule"  # no rule matches, or one says `use: none`
    REFUSED = "refused"  # a rule matches, but the series is unsuitable
    HELD = "held"  # contradictory: waits for a person


class Ending(StrEnum):
    """What became of a series, as its sender would ask."""

    IN_PROGRESS = "in-progress"
    DELIVERED = "delivered"
    NO_RULE = "no-rule"
    REFUSED = "refused"
    FAILED = "failed"
    HELD = "held"


_WITHOUT_JOB = {
    Outcome.NO_RULE: Ending.NO_RULE,
    Outcome.REFUSED: Ending.REFUSED,
    Outcome.HELD: Ending.HELD,
}


def ending(
    outcome: Outcome, segment: State | None = None, deliveries: Iterable[State] = ()
) -> Ending:
    """Derive the ending of a series from its arrival and the states of its jobs.

    It stays in progress until the last delivery has ended; then the worst delivery names it, so
    that a result which one of two targets lacks is never shown as delivered.

    Raises:
        ValueError: it was planned, yet there is no job: the rows contradict each other.
    """
    if outcome is not Outcome.PLANNED:
        return _WITHOUT_JOB[outcome]
    if segment is None:
        message = "a planned arrival has a job"
        raise ValueError(message)
    states = {segment, *deliveries}
    if states & LIVE:
        return Ending.IN_PROGRESS
    if State.FAILED in states:
        return Ending.FAILED
    return Ending.REFUSED if State.REJECTED in states else Ending.DELIVERED
