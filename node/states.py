"""The states of a job, the transitions between them as data, and the ending of a series.

Promises: a pair (state, transition) that is not in `TRANSITIONS` raises, everywhere.
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
    """The state of a job."""

    QUEUED = "queued"  # waits until it is due and a worker is free
    RUNNING = "running"  # a worker holds it, under a lease
    DONE = "done"
    UNSUITABLE = "unsuitable"  # the model cannot segment this series; nothing is broken
    SUPERSEDED = "superseded"  # later images of the series, or their result, replace it
    CANCELLED = "cancelled"  # by an operator
    FAILED = "failed"  # needs a person


class Transition(StrEnum):
    """Everything that can happen to a job; the value is also the name of its event."""

    CLAIM = "claim"
    FINISH = "finish"
    RETRY = "retry"  # a transient error: the worker queues another attempt
    AWAIT_REPORT = "await-report"  # sent; the target was asked to commit to keeping it
    EXPIRE = "expire"  # the lease ran out; another worker may claim the job
    EXHAUST = "exhaust"  # the lease ran out at the last allowed attempt
    MARK_UNSUITABLE = "mark-unsuitable"
    FAIL = "fail"
    SUPERSEDE = "supersede"  # later images made a newer job or result
    CANCEL = "cancel"  # an operator cancelled it
    REQUEST_CANCEL = "request-cancel"  # an operator cancels a running job; its worker will stop
    REQUEUE = "requeue"  # an operator requests another attempt
    RESEND = "resend"  # an operator requests that the result is sent once more


TRANSITIONS: Mapping[tuple[State, Transition], State] = MappingProxyType(
    {
        (State.QUEUED, Transition.CLAIM): State.RUNNING,
        (State.QUEUED, Transition.SUPERSEDE): State.SUPERSEDED,
        (State.QUEUED, Transition.CANCEL): State.CANCELLED,
        (State.RUNNING, Transition.FINISH): State.DONE,
        (State.RUNNING, Transition.RETRY): State.QUEUED,
        (State.RUNNING, Transition.AWAIT_REPORT): State.QUEUED,
        (State.RUNNING, Transition.EXPIRE): State.QUEUED,
        (State.RUNNING, Transition.EXHAUST): State.FAILED,
        (State.RUNNING, Transition.MARK_UNSUITABLE): State.UNSUITABLE,
        (State.RUNNING, Transition.FAIL): State.FAILED,
        (State.RUNNING, Transition.SUPERSEDE): State.SUPERSEDED,
        (State.RUNNING, Transition.REQUEST_CANCEL): State.RUNNING,
        (State.RUNNING, Transition.CANCEL): State.CANCELLED,
        (State.UNSUITABLE, Transition.REQUEUE): State.QUEUED,
        (State.SUPERSEDED, Transition.REQUEUE): State.QUEUED,
        (State.CANCELLED, Transition.REQUEUE): State.QUEUED,
        (State.FAILED, Transition.REQUEUE): State.QUEUED,
        (State.DONE, Transition.RESEND): State.QUEUED,
        (State.UNSUITABLE, Transition.RESEND): State.QUEUED,
        (State.SUPERSEDED, Transition.RESEND): State.QUEUED,
        (State.CANCELLED, Transition.RESEND): State.QUEUED,
        (State.FAILED, Transition.RESEND): State.QUEUED,
    }
)

LIVE = frozenset({State.QUEUED, State.RUNNING})
ENDED = frozenset(State) - LIVE


class IllegalTransition(ValueError):
    """This transition does not start from that state."""

    def __init__(self, state: State, transition: Transition) -> None:
        """Name both, for the operator who requested it."""
        super().__init__(f"a job that is {state} cannot {transition.replace('-', ' ')}")
        self.state, self.transition = state, transition


def follow(state: State, transition: Transition) -> State:
    """Return the state to which `transition` leads from `state`.

    Raises:
        IllegalTransition: there is no such transition from `state`.
    """
    try:
        return TRANSITIONS[state, transition]
    except KeyError:
        raise IllegalTransition(state, transition) from None


def sources(transition: Transition) -> tuple[State, ...]:
    """Return the states from which `transition` starts."""
    return tuple(state for state, known in TRANSITIONS if known is transition)


class Content(StrEnum):
    """Which version of each duplicated image to use."""

    FIRST = "first"
    LAST = "last"


class ArrivalOutcome(StrEnum):
    """The decision about a series that arrived."""

    PLANNED = "planned"  # a job exists
    NO_RULE = "no-rule"  # no rule matches, or one says `use: none`
    UNSUITABLE = "unsuitable"  # a rule matches, but the model cannot segment the series
    HELD = "held"  # the images contradict each other: waits for a person


class Ending(StrEnum):
    """What became of a series, for its sender."""

    IN_PROGRESS = "in-progress"
    DELIVERED = "delivered"
    RETRACTED = "retracted"  # delivered, then rejected by a person of this node
    NO_RULE = "no-rule"
    UNSUITABLE = "unsuitable"
    FAILED = "failed"
    HELD = "held"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


_WITHOUT_JOB = {
    ArrivalOutcome.NO_RULE: Ending.NO_RULE,
    ArrivalOutcome.UNSUITABLE: Ending.UNSUITABLE,
    ArrivalOutcome.HELD: Ending.HELD,
}
_WORST_FIRST = {
    State.FAILED: Ending.FAILED,
    State.UNSUITABLE: Ending.UNSUITABLE,
    State.CANCELLED: Ending.CANCELLED,
    State.SUPERSEDED: Ending.SUPERSEDED,
}


def ending(
    outcome: ArrivalOutcome,
    segment: State | None = None,
    deliveries: Iterable[State] = (),
    *,
    is_retracted: bool = False,
) -> Ending:
    """Derive the ending of a series from its arrival and the states of its jobs.

    The series stays in progress until its last delivery has ended. Then the worst job names the
    ending: a result that one of two targets lacks is never shown as delivered.

    Raises:
        ValueError: the arrival is planned, but it has no job: the rows contradict each other.
    """
    if outcome is not ArrivalOutcome.PLANNED:
        return _WITHOUT_JOB[outcome]
    if segment is None:
        message = "a planned arrival has no job"
        raise ValueError(message)
    states = {segment, *deliveries}
    if states & LIVE:
        return Ending.IN_PROGRESS
    worst = (end for state, end in _WORST_FIRST.items() if state in states)
    return next(worst, Ending.RETRACTED if is_retracted else Ending.DELIVERED)
