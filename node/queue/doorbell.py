"""Wake a worker when another connection changes the database, instead of at its next poll.

SQLite counts the commits of other connections (`PRAGMA data_version`); a look at that count takes
microseconds and no lock. A watch of the database's folder says when to look: a commit writes its
pages, waits for the disk, and counts then. Without a watch the worker looks fifty times a second.
PostgreSQL has no such count: there a worker waits for its next poll.
"""

import contextlib
import sqlite3
import time
from pathlib import Path
from threading import Event

import sqlalchemy as sa

from node.queue.folder_watch import FolderWatch
from node.schema import reading
from node.schema.opening import IN_MEMORY

POLL_S = 0.02  # between two readings of the count
ALERT_S = 0.3  # after a write; a disk that takes longer costs one `LOOK_S`
LOOK_S = 0.2  # between two readings without a write, and of `stop`
DATA_VERSION = "PRAGMA data_version"


class Doorbell:
    """The commits of other connections to one database, as seen by one thread."""

    def __init__(self, engine: sa.Engine) -> None:
        """Count from now on."""
        self._engine = engine
        self._connection: sa.Connection | None = None  # the count is one of this connection
        self._last = -1
        self._watch = _watch_of(engine)
        self._alert_until = 0.0  # monotonic

    def wait(self, stop: Event, seconds: float) -> bool:
        """Wait until something is committed, `stop` is set, or `seconds` are over.

        What was committed since the last call counts too.

        Returns:
            Whether something was committed.

        Raises:
            Transient: the database cannot be read for now.
        """
        if self._engine.dialect.name != "sqlite":
            stop.wait(seconds)
            return False
        end = time.monotonic() + seconds
        while not stop.is_set():
            if self._has_changed():
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._pause(stop, left)
        return False

    def _pause(self, stop: Event, left: float) -> None:
        """Wait for the time to look again, at most `left` seconds."""
        now = time.monotonic()
        if self._watch is None or now < self._alert_until:
            stop.wait(min(POLL_S, left))
        elif self._watch.wait(min(LOOK_S, left)):
            self._alert_until = time.monotonic() + ALERT_S

    def _has_changed(self) -> bool:
        """Compare the count with the last one."""
        connection = self._connection or reading(self._engine)
        self._connection = None  # after an error the next reading opens another connection
        count = _data_version(connection)
        is_new, self._last = count != self._last, count
        self._connection = connection
        return is_new


def _watch_of(engine: sa.Engine) -> FolderWatch | None:
    """Watch the folder of a SQLite database; None if that is not possible here."""
    place = engine.url.database
    if engine.dialect.name != "sqlite" or not place or place == IN_MEMORY:
        return None
    try:
        return FolderWatch(Path(place).parent)
    except OSError:
        return None


def _data_version(connection: sa.Connection) -> int:
    """Read the count of commits by the driver alone: SQLAlchemy would take most of the time."""
    try:
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(DATA_VERSION)
            ((count,),) = cursor.fetchall()
        return int(count)
    except sqlite3.Error:  # once more, so that the error is one of the node's
        result = connection.exec_driver_sql(DATA_VERSION).scalar_one()
        connection.rollback()  # the count of a transaction stands still
        return int(result)
