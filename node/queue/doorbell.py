"""Wake a worker when another connection changes the database, instead of at its next poll.

SQLite counts the commits of other connections (`PRAGMA data_version`); a look at that count takes
microseconds and no lock. PostgreSQL has no such count: there a worker waits for its next poll.
"""

import contextlib
import sqlite3
import time
from threading import Event

import sqlalchemy as sa

from node.schema import reading

POLL_S = 0.02  # between two readings of the count
DATA_VERSION = "PRAGMA data_version"


class Doorbell:
    """The commits of other connections to one database, as seen by one thread."""

    def __init__(self, engine: sa.Engine) -> None:
        """Count from now on."""
        self._engine = engine
        self._connection: sa.Connection | None = None  # the count is one of this connection
        self._last = -1

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
            stop.wait(min(POLL_S, left))
        return False

    def _has_changed(self) -> bool:
        """Compare the count with the last one."""
        connection = self._connection or reading(self._engine)
        self._connection = None  # after an error the next reading opens another connection
        count = _data_version(connection)
        is_new, self._last = count != self._last, count
        self._connection = connection
        return is_new


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
