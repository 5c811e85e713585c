"""The transition table: every good and every bad pair, and every ending."""

from itertools import product

import pytest

from node.states import (
    ENDED,
    LIVE,
    TRANSITIONS,
    Arrow,
    Ending,
    IllegalArrow,
    Outcome,
    State,
    ending,
    follow,
    sources,
)

# written out once more on purpose: a change of the table has to be made twice
GOOD = {
    ("queued", "claim"): "running",
    ("queued", "supersede"): "rejected",
    ("queued", "cancel"): "rejected",
    ("running", "finish"): "done",
    ("running", "retry"): "queued",
    ("running", "expire"): "queued",
    ("running", "exhaust"): "failed",
    ("running", "reject"): "rejected",
    ("running", "fail"): "failed",
    ("running", "ask-cancel"): "running",
    ("rejected", "requeue"): "queued",
    ("failed", "requeue"): "queued",
    ("done", "resend"): "queued",
    ("rejected", "resend"): "queued",
    ("failed", "resend"): "queued",
}
ALL = sorted((state.value, arrow.value) for state, arrow in product(State, Arrow))


@pytest.mark.parametrize(("state", "arrow"), ALL)
def test_every_pair_is_an_arrow_or_raises(state: str, arrow: str) -> None:
    if (state, arrow) in GOOD:
        assert follow(State(state), Arrow(arrow)) == GOOD[state, arrow]
    else:
        with pytest.raises(IllegalArrow, match=f"a job that is {state} cannot"):
            follow(State(state), Arrow(arrow))


@pytest.mark.parametrize("arrow", Arrow)
def test_an_arrow_has_one_end_wherever_it_begins(arrow: Arrow) -> None:
    assert len({follow(state, arrow) for state in sources(arrow)}) == 1


def test_only_a_person_leaves_done_and_every_state_can_be_reached() -> None:
    assert [a for state, a in TRANSITIONS if state is State.DONE] == [Arrow.RESEND]
    assert set(TRANSITIONS.values()) == set(State)
    assert not LIVE & ENDED
    assert set(State) == LIVE | ENDED


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.DONE, Arrow.CLAIM] = State.RUNNING  # type: ignore[index]


Q, R, D, X, F = State.QUEUED, State.RUNNING, State.DONE, State.REJECTED, State.FAILED


@pytest.mark.parametrize(
    ("segment", "deliveries", "expected"),
    [
        (Q, [], Ending.IN_PROGRESS),
        (R, [], Ending.IN_PROGRESS),
        (X, [], Ending.REFUSED),
        (F, [], Ending.FAILED),
        (D, [D], Ending.DELIVERED),
        (D, [D, D], Ending.DELIVERED),
        (D, [D, Q], Ending.IN_PROGRESS),
        (D, [F, R], Ending.IN_PROGRESS),
        (D, [D, F], Ending.FAILED),
        (D, [D, X], Ending.REFUSED),
        (D, [X, F], Ending.FAILED),
    ],
)
def test_the_worst_delivery_names_the_ending(
    segment: State, deliveries: list[State], expected: Ending
) -> None:
    assert ending(Outcome.PLANNED, segment, deliveries) is expected


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.NO_RULE, Ending.NO_RULE),
        (Outcome.REFUSED, Ending.REFUSED),
        (Outcome.HELD, Ending.HELD),
    ],
)
def test_without_a_plan_the_outcome_is_the_ending(outcome: Outcome, expected: Ending) -> None:
    assert ending(outcome) is expected


def test_a_plan_without_a_job_is_a_contradiction() -> None:
    with pytest.raises(ValueError, match="has a job"):
        ending(Outcome.PLANNED)


@pytest.mark.parametrize("states", list(product(State, repeat=3)))
def test_every_planned_series_has_exactly_one_ending(states: tuple[State, ...]) -> None:
    found = ending(Outcome.PLANNED, states[0], states[1:])
    assert (found is Ending.IN_PROGRESS) == bool(LIVE & set(states))
