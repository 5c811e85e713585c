"""The time in a process whose wall clock may be set, and the steps of that clock.

Promises: durations inside a process are measured in steady time, which never jumps; a step of the
wall clock is noticed by the first reading after it.
Leaves to the callers: the recorded times, which are Unix seconds of the wall clock.
"""

import datetime
import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

STEP_S = 5.0  # NTP slews smaller differences; a slow start of a thread looks alike
log = logging.getLogger("node.clock")


def local_time(at: float) -> str:
    """Return a time (Unix seconds) in the zone of this machine, with its name."""
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


class Moment(NamedTuple):
    """One reading."""

    wall: float  # Unix seconds; may jump
    steady: float  # Unix seconds of the start, plus the time that has passed since


class Step(NamedTuple):
    """One step of the wall clock."""

    now: float  # Unix seconds after the step
    seconds: float  # negative if the clock was set back
    running_s: float  # how long this process has run


class Clock:
    """Reads the time, and reports each step of the wall clock before anybody uses the new time.

    A suspended machine looks like a step: its processes neither worked nor received meanwhile.
    """

    def __init__(
        self,
        on_step: Callable[[Step], None],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start; `on_step` is called again for the same step if it raises."""
        self._on_step, self._wall, self._monotonic = on_step, wall, monotonic
        self._lock = threading.Lock()
        self._begun = monotonic()
        self._start = wall()
        self._ahead = self._start - self._begun  # of the wall clock, at the last reading

    def now(self) -> Moment:
        """Return the time; the errors of `on_step` reach the caller."""
        with self._lock:
            wall, monotonic = self._wall(), self._monotonic()
            ahead, running_s = wall - monotonic, monotonic - self._begun
            seconds = ahead - self._ahead
            if abs(seconds) > STEP_S:
                self._on_step(Step(wall, seconds, running_s))
                log.warning(
                    "the wall clock moved by %.0f s: it was set, or the machine was suspended",
                    seconds,
                    extra={"code": "clock-step", "seconds": round(seconds, 1)},
                )
            self._ahead = ahead
            return Moment(wall, self._start + running_s)
