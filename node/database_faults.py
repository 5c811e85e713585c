"""The errors of the database in the node's own words: damaged, full, failing, busy or wrong.

Promises: an error of a driver becomes a `NodeError` in one place, for every statement.
Leaves to the callers: the consequences.
"""

from pathlib import Path

import sqlalchemy as sa

from node import disk
from node.errors import Misconfigured

TRANSIENT_CODES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL")


def refuse_network_file_system(file: Path) -> None:
    """Check that the file of an SQLite database is on a local file system.

    Raises:
        Misconfigured: it is on NFS, SMB or the like: locks and shared memory fail there, and two
            processes damage the database.
    """
    kind = disk.network_file_system(file)
    if kind:
        message = f"the SQLite database {file} is on a network file system ({kind})"
        advice = (
            "Move data.dir to a local disk, or keep the queue in PostgreSQL: "
            "data.database: postgresql+psycopg://USER@HOST/NAME."
        )
        raise Misconfigured(message, advice=advice)


def repair_advice(exc: Exception) -> str:
    """Return the advice for a database that cannot be opened or read, and not only for now."""
    if isinstance(exc, sa.exc.OperationalError | sa.exc.NoSuchModuleError | ModuleNotFoundError):
        return "Check `data.database`, this user's rights, and the driver's package."
    return "It is damaged or not a segnode database. Restore a backup, or name another (runbook)."


def is_transient(exc: sa.exc.OperationalError) -> bool:
    """Return whether a later attempt may work: a lock or a silent server, not a wrong path."""
    name = getattr(exc.orig, "sqlite_errorname", None)
    return name is None or name.startswith(TRANSIENT_CODES)
