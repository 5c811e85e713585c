"""Remember which series wait for the end of a rule's pause, so that no sweep plans them again."""

import sqlalchemy as sa

from node import queue
from node.arrival import Decision
from node.inbox import SeriesFolder


class Pauses:
    """The paused rules, and the unchanged series that wait for one of them."""

    def __init__(self, engine: sa.Engine) -> None:
        """Start empty: after a restart every waiting series is planned once more."""
        self._engine = engine
        self._rules: dict[str, queue.PausedRule] = {}
        self._waiting: dict[str, tuple[int, str]] = {}  # series key -> mtime_ns, rule

    def refresh(self) -> None:
        """Read which rules are paused."""
        self._rules = queue.paused(self._engine)

    def keep_only(self, keys: set[str]) -> None:
        """Forget deleted series."""
        self._waiting = {key: value for key, value in self._waiting.items() if key in keys}

    def hold(self, folder: SeriesFolder) -> bool:
        """Return whether a series is unchanged, and the rule that it waits for is paused."""
        mtime_ns, rule = self._waiting.get(folder.key, (-1, ""))
        return mtime_ns == folder.mtime_ns and rule in self._rules

    def of(self, decision: Decision) -> queue.PausedRule | None:
        """Return the pause of the rule that decided about a series; None if there is none."""
        return self._rules.get(decision.rule)

    def add(self, folder: SeriesFolder, pause: queue.PausedRule) -> None:
        """Remember that a series waits for the end of a pause."""
        self._waiting[folder.key] = (folder.mtime_ns, pause.rule)

    def clear(self) -> None:
        """Plan every waiting series once more: the rules changed."""
        self._waiting = {}
