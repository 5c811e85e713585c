"""When a series is complete: each sign, and what outweighs it."""

from collections.abc import Sequence

import pytest

from node.arrival import AssociationSummary, CompletionSigns, completion
from node.config import Complete
from node.config.units import Seconds
from node.errors import GantryTilt, MissingSlice, NodeError

SETTINGS = Complete(settle=Seconds(1), quiet=Seconds(60))
LAST = 1000.0
RELEASED = AssociationSummary("released", 20, LAST)
OPEN = AssociationSummary("open", 20, None)
ONE = AssociationSummary("released", 1, LAST)


def seen(
    associations: Sequence[AssociationSummary] = (RELEASED,),
    *,
    expected: int | None = None,
    problem: NodeError | None = None,
    instances: int = 20,
    frames: int | None = None,
    extends_earlier: bool = False,
) -> CompletionSigns:
    return CompletionSigns(
        instances, frames or instances, expected, associations, LAST, problem, extends_earlier
    )


@pytest.mark.parametrize(
    ("series", "ready_after"),
    [
        pytest.param(seen(), 1, id="released and whole: after settling"),
        pytest.param(seen([AssociationSummary("open", 20, None)]), 60, id="open: quiet"),
        pytest.param(seen([AssociationSummary("aborted", 20, LAST)]), 60, id="aborted: quiet"),
        pytest.param(seen([]), 60, id="nobody knows: quiet"),
        pytest.param(seen([RELEASED, AssociationSummary("open", 3, None)]), 60, id="one still open"),
        pytest.param(seen([ONE] * 20), 60, id="an association each"),
        pytest.param(seen([OPEN], expected=20), 1, id="all announced"),
        pytest.param(seen([OPEN], expected=30), 60, id="fewer than announced"),
        pytest.param(seen(expected=30), 60, id="fewer than announced, released and whole"),
        pytest.param(seen(expected=15), 1, id="more than announced, released and whole"),
        pytest.param(seen([ONE], expected=3, instances=1, frames=96), 60, id="one part of three"),
        pytest.param(seen(problem=MissingSlice("")), 60, id="a gap may be filled yet"),
        pytest.param(seen(problem=MissingSlice(""), expected=20), 60, id="a gap says more"),
        pytest.param(seen(problem=GantryTilt("")), 1, id="more images cure no tilt"),
        pytest.param(seen(extends_earlier=True), 60, id="late images come in drops"),
        pytest.param(seen([ONE], instances=1, frames=96), 1, id="one multi-frame"),
    ],
)  # fmt: skip
def test_ready_when(series: CompletionSigns, ready_after: float) -> None:
    before = completion(series, SETTINGS, LAST + ready_after - 0.01)
    assert not before.complete
    assert before.wait_until == LAST + ready_after
    assert completion(series, SETTINGS, LAST + ready_after).complete


def test_what_is_waited_for_is_said() -> None:
    gap = seen(problem=MissingSlice("no slice at 12 mm"))
    assert "no slice at 12 mm" in completion(gap, SETTINGS, LAST).why
    still_open = seen([AssociationSummary("open", 20, None)])
    assert "open" in completion(still_open, SETTINGS, LAST).why
    fewer = completion(seen(expected=30), SETTINGS, LAST).why
    assert fewer == "20 of 30 announced images; waiting for quiet"
    assert "20 announced" in completion(seen(expected=20), SETTINGS, LAST + 9).why
