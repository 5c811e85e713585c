"""The transition table: every legal and every illegal pair, and every ending."""

from itertools import product

import pytest

from node.states import (
    ENDED,
    LIVE,
    TRANSITIONS,
    ArrivalOutcome,
    Ending,
    IllegalTransition,
    State,
    Transition,
    ending,
    follow,
    sources,
)

# Written out once more on purpose: a change of the table must be made twice
GOOD = {
    ("queued", "claim"): "running",
    ("queued", "supersede"): "superseded",
    ("queued", "cancel"): "cancelled",
    ("running", "finish"): "done",
    ("running", "retry"): "queued",
    ("running", "await-report"): "queued",
    ("running", "expire"): "queued",
    ("running", "exhaust"): "failed",
    ("running", "mark-unsuitable"): "unsuitable",
    ("running", "fail"): "failed",
    ("running", "supersede"): "superseded",
    ("running", "request-cancel"): "running",
    ("running", "cancel"): "cancelled",
    ("unsuitable", "requeue"): "queued",
    ("superseded", "requeue"): "queued",
    ("cancelled", "requeue"): "queued",
    ("failed", "requeue"): "queued",
    ("done", "resend"): "queued",
    ("unsuitable", "resend"): "queued",
    ("superseded", "resend"): "queued",
    ("cancelled", "resend"): "queued",
    ("failed", "resend"): "queued",
}
ALL = sorted((state.value, transition.value) for state, transition in product(State, Transition))


@pytest.mark.parametrize(("state", "transition"), ALL)
def test_every_pair_is_a_transition_or_raises(state: str, transition: str) -> None:
    if (state, transition) in GOOD:
        assert follow(State(state), Transition(transition)) == GOOD[state, transition]
    else:
        with pytest.raises(IllegalTransition, match=f"a job that is {state} cannot"):
            follow(State(state), Transition(transition))


@pytest.mark.parametrize("transition", Transition)
def test_a_transition_leads_to_one_state_from_every_source(transition: Transition) -> None:
    assert len({follow(state, transition) for state in sources(transition)}) == 1


def test_only_an_operator_leaves_done_and_every_state_is_reachable() -> None:
    assert [a for state, a in TRANSITIONS if state is State.DONE] == [Transition.RESEND]
    assert set(TRANSITIONS.values()) == set(State)
    assert not LIVE & ENDED
    assert set(State) == LIVE | ENDED


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.DONE, Transition.CLAIM] = State.RUNNING  # type: ignore[index]


Q, R, D, F = State.QUEUED, State.RUNNING, State.DONE, State.FAILED
U, S, C = State.UNSUITABLE, State.SUPERSEDED, State.CANCELLED


@pytest.mark.parametrize(
    ("segment", "deliveries", "expected"),
    [
        (Q, [], Ending.IN_PROGRESS),
        (R, [], Ending.IN_PROGRESS),
        (U, [], Ending.UNSUITABLE),
        (S, [], Ending.SUPERSEDED),
        (C, [], Ending.CANCELLED),
        (F, [], Ending.FAILED),
        (D, [D], Ending.DELIVERED),
        (D, [D, D], Ending.DELIVERED),
        (D, [D, Q], Ending.IN_PROGRESS),
        (D, [F, R], Ending.IN_PROGRESS),
        (D, [D, F], Ending.FAILED),
        (D, [D, S], Ending.SUPERSEDED),
        (D, [S, C], Ending.CANCELLED),
        (D, [C, F], Ending.FAILED),
    ],
)
def test_the_worst_delivery_names_the_ending(
    segment: State, deliveries: list[State], expected: Ending
) -> None:
    assert ending(ArrivalOutcome.PLANNED, segment, deliveries) is expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (ArrivalOutcome.NO_RULE, Ending.NO_RULE),
        (ArrivalOutcome.UNSUITABLE, Ending.UNSUITABLE),
        (ArrivalOutcome.HELD, Ending.HELD),
    ],
)
def test_without_a_plan_the_outcome_is_the_ending(
    outcome: ArrivalOutcome, expected: Ending
) -> None:
    assert ending(outcome) is expected


def test_a_plan_without_a_job_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="has no job"):
        ending(ArrivalOutcome.PLANNED)


@pytest.mark.parametrize("states", list(product(State, repeat=3)))
def test_every_planned_series_has_exactly_one_ending(states: tuple[State, ...]) -> None:
    end = ending(ArrivalOutcome.PLANNED, states[0], states[1:])
    assert (end is Ending.IN_PROGRESS) == bool(LIVE & set(states))
