"""Limit how often a host may connect without being accepted, so that no host takes all the time."""

import threading
import time
from collections.abc import Callable

BURST = 100  # connections at once
PER_SECOND = 50.0
LONGEST_WAIT_SECONDS = 2.0  # beyond that, a connection is closed
MOST_HOSTS = 1024  # remembered; then the one that connected first is forgotten


class Pace:
    """One budget of connections per host; an accepted association gives its connection back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with full budgets."""
        self._clock = clock
        self._budgets: dict[str, tuple[float, float]] = {}  # host -> (connections left, at)
        self._lock = threading.Lock()

    def take(self, host: str) -> float | None:
        """Take one connection; return how many seconds it waits, or None if it must be closed."""
        with self._lock:
            left = self._left(host) - 1
            wait = max(0.0, -left / PER_SECOND)
            if wait > LONGEST_WAIT_SECONDS:
                return None
            self._set(host, left)
            return wait

    def give_back(self, host: str) -> None:
        """Return the connection of an accepted association."""
        with self._lock:
            self._set(host, min(BURST, self._left(host) + 1))

    def is_exhausted(self, host: str) -> bool:
        """Return whether the next connection of `host` must be closed."""
        with self._lock:
            return (1 - self._left(host)) / PER_SECOND > LONGEST_WAIT_SECONDS

    def _left(self, host: str) -> float:
        left, at = self._budgets.get(host, (float(BURST), self._clock()))
        return min(float(BURST), left + (self._clock() - at) * PER_SECOND)

    def _set(self, host: str, left: float) -> None:
        self._budgets.pop(host, None)
        if left < BURST:
            self._budgets[host] = (left, self._clock())
        if len(self._budgets) > MOST_HOSTS:
            del self._budgets[next(iter(self._budgets))]
