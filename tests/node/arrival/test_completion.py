"""When a series is complete: each sign, and which sign outweighs which."""

from collections.abc import Sequence

import pytest

from node.arrival import AssociationSummary, CompletionSigns, completion
from node.config import CompleteConfig
from node.config.units import Seconds
from node.errors import GantryTilt, MissingSlice, NodeError

SETTINGS = CompleteConfig(settle=Seconds(1), quiet=Seconds(60))
LAST = 1000.0
RELEASED = AssociationSummary("released", 20, LAST)
OPEN = AssociationSummary("open", 20, None)
ABORTED = AssociationSummary("aborted", 20, LAST)
ONE = AssociationSummary("released", 1, LAST)


def signs(
    associations: Sequence[AssociationSummary] = (RELEASED,),
    *,
    expected: int | None = None,
    problem: NodeError | None = None,
    instances: int = 20,
    frames: int | None = None,
    extends_earlier: bool = False,
    sending_at: float = 0.0,
) -> CompletionSigns:
    return CompletionSigns(
        instances, frames or instances, expected, associations, LAST, problem, extends_earlier,
        sending_at,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("series", "ready_after"),
    [
        pytest.param(signs(), 1, id="released and whole: after settling"),
        pytest.param(signs([OPEN]), 60, id="open: quiet"),
        pytest.param(signs([OPEN], sending_at=LAST + 50), 110, id="open, sends other series"),
        pytest.param(signs([OPEN], sending_at=LAST + 9e4), 600, id="open for a whole day"),
        pytest.param(signs([OPEN], expected=20, sending_at=LAST + 50), 1, id="all there"),
        pytest.param(signs([ABORTED]), 60, id="aborted: quiet"),
        pytest.param(signs([]), 60, id="no association known: quiet"),
        pytest.param(signs([RELEASED, OPEN]), 60, id="one still open"),
        pytest.param(signs([ONE] * 20), 60, id="an association each"),
        pytest.param(signs([OPEN], expected=20), 1, id="all announced"),
        pytest.param(signs([OPEN], expected=30), 60, id="fewer than announced"),
        pytest.param(signs(expected=30), 60, id="fewer than announced, released and whole"),
        pytest.param(signs(expected=15), 1, id="more than announced, released and whole"),
        pytest.param(signs([ONE], expected=3, instances=1, frames=96), 60, id="one part of three"),
        pytest.param(signs(problem=MissingSlice("")), 60, id="a gap may be filled yet"),
        pytest.param(signs(problem=MissingSlice(""), expected=20), 60, id="a gap, all announced"),
        pytest.param(signs(problem=GantryTilt("")), 1, id="more images cure no tilt"),
        pytest.param(signs(extends_earlier=True), 60, id="late images arrive one by one"),
        pytest.param(signs([ONE], instances=1, frames=96), 1, id="one multi-frame object"),
    ],
)  # fmt: skip
def test_a_series_is_complete_after(series: CompletionSigns, ready_after: float) -> None:
    before = completion(series, SETTINGS, LAST + ready_after - 0.01)
    assert not before.complete
    assert before.wait_until == LAST + ready_after
    assert completion(series, SETTINGS, LAST + ready_after).complete


def test_the_reason_for_waiting_is_stated() -> None:
    gap = signs(problem=MissingSlice("no slice at 12 mm"))
    assert "no slice at 12 mm" in completion(gap, SETTINGS, LAST).why
    still_open = signs([OPEN])
    assert "open" in completion(still_open, SETTINGS, LAST).why
    fewer = completion(signs(expected=30), SETTINGS, LAST).why
    assert fewer == "20 of 30 announced images; waiting for quiet"
    assert "20 announced" in completion(signs(expected=20), SETTINGS, LAST + 9).why
