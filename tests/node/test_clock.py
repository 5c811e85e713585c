"""The clock that notices steps."""

import pytest

from node.clock import Clock, Step


class Hands:
    """A wall clock and a steady clock that a test sets."""

    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self.wall, self.steady = wall, 50.0

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clock(self, steps: list[Step]) -> Clock:
        return Clock(steps.append, lambda: self.wall, lambda: self.steady)


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0, -86400.0])
def test_a_step_is_reported_once_with_its_size(
    jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    hands, steps = Hands(), list[Step]()
    clock = hands.clock(steps)
    begin = clock.now()
    hands.pass_time(100)
    hands.wall += jump
    for _ in range(3):
        moment = clock.now()
        assert (moment.wall, moment.steady - begin.steady) == (hands.wall, 100)
    assert steps == [Step(now=hands.wall, seconds=jump, running_s=100)]
    assert [record.code for record in caplog.records] == ["clock-step"]  # type: ignore[attr-defined]


def test_a_clock_of_1970_that_is_set_right_is_one_step() -> None:
    hands, steps = Hands(wall=10.0), list[Step]()
    clock = hands.clock(steps)
    hands.pass_time(60)
    hands.wall = 1_700_000_000.0
    assert clock.now().steady == 70
    assert steps == [Step(1_700_000_000.0, 1_700_000_000.0 - 70, 60)]


def test_a_slow_drift_is_no_step() -> None:
    hands, steps = Hands(), list[Step]()
    clock = hands.clock(steps)
    for _ in range(100):
        hands.pass_time(10)
        hands.wall += 1
        clock.now()
    assert steps == []


def test_a_step_that_could_not_be_handled_is_reported_again() -> None:
    hands, steps = Hands(), list[Step]()

    def fail_once(step: Step) -> None:
        steps.append(step)
        if len(steps) == 1:
            raise ConnectionError

    clock = Clock(fail_once, lambda: hands.wall, lambda: hands.steady)
    hands.wall -= 3600
    with pytest.raises(ConnectionError):
        clock.now()
    clock.now()
    clock.now()
    assert [step.seconds for step in steps] == [-3600, -3600]
