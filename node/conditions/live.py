"""The newest snapshot of a running node and its conditions, shared by the page and the alerts."""

import threading
from dataclasses import dataclass

import sqlalchemy as sa

from node import schema, status
from node.conditions.condition import Condition, unreadable
from node.conditions.derive import conditions
from node.config import Config
from node.errors import NodeError
from node.fault_log import disk_error

FRESH_S = 5.0  # many readers cost one snapshot


@dataclass(frozen=True, kw_only=True)
class View:
    """What is known at one moment."""

    at: float  # Unix seconds
    snapshot: status.Snapshot | None  # None: the database cannot be read
    conditions: tuple[Condition, ...]


class LiveView:
    """Makes a snapshot when the last one is older than `FRESH_S`."""

    def __init__(self, config: Config) -> None:
        """Open nothing yet: the database may be created later, or be absent for a while."""
        self._config = config
        self._lock = threading.Lock()
        self._engine: sa.Engine | None = None
        self._newest: View | None = None

    def engine(self) -> sa.Engine:
        """Return the database of the node; open it at the first call.

        Raises:
            Misconfigured, Transient: as `schema.open_configured`.
        """
        with self._lock:
            return self._opened()

    def at(self, now: float) -> View:
        """Return the newest view; a database that cannot be read is a condition."""
        with self._lock:
            newest = self._newest
            if newest is None or not 0 <= now - newest.at < FRESH_S:
                newest = self._newest = self._survey(now)
            return newest

    def forget(self) -> None:
        """Make a new snapshot next time: a person changed something and looks for it."""
        with self._lock:
            self._newest = None

    def _survey(self, now: float) -> View:
        try:
            snapshot = status.snapshot(self._config, self._opened(), now)
        except (NodeError, OSError) as exc:
            error = disk_error(exc) if isinstance(exc, OSError) else exc
            return View(at=now, snapshot=None, conditions=(unreadable(error),))
        return View(at=now, snapshot=snapshot, conditions=conditions(snapshot))

    def _opened(self) -> sa.Engine:
        if self._engine is None:
            self._engine = schema.open_configured(self._config.data)
        return self._engine
