"""The errors of the database in the node's own words: damaged, full, failing, busy or wrong.

Promises: an error of a driver becomes a `NodeError` in one place, for every statement.
Leaves to the callers: the consequences.
"""

from pathlib import Path

import sqlalchemy as sa

from node import disk
from node.errors import DatabaseBusy, DatabaseDamaged, DiskFault, DiskLow, Misconfigured, NodeError

DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002")
FULL = ("SQLITE_FULL", "53100")
FAILING = ("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "58030")
FAILING_AT_OPENING = ("SQLITE_IOERR", "58030")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")


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


def translate_errors(engine: sa.Engine, database: str) -> None:
    """Let `engine` raise a `NodeError` for each fault of `database` or of its disk."""

    @sa.event.listens_for(engine, "handle_error")
    def _(context: sa.engine.ExceptionContext) -> NodeError | None:
        return node_error(context.original_exception, database)


def node_error(
    error: BaseException, database: str, *, is_opening: bool = False
) -> NodeError | None:
    """Return the node's error for one of a driver; None if it is no fault of database or disk.

    `is_opening`: a file that cannot be opened may have a wrong path or wrong rights.
    """
    error = getattr(error, "orig", None) or error
    # SQLite's extended names begin with the basic ones; PostgreSQL has SQLSTATE
    code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or ""
    if code.startswith(DAMAGED):
        advice = (
            "Stop the node and restore a backup. Without one, move the database away: the node "
            'plans again what it still keeps (runbook, "A damaged database").'
        )
        return DatabaseDamaged(f"{database} is damaged ({code})", advice=advice)
    if code.startswith(FULL):
        advice = "Free some space; the work goes on automatically."
        return DiskLow(f"the disk of {database} is full", advice=advice)
    if code.startswith(FAILING_AT_OPENING if is_opening else FAILING):
        advice = "See the kernel log; check the disk, and this user's rights in data.dir."
        return DiskFault(f"{database} cannot be read or written ({code})", advice=advice)
    is_silent = not code and type(error).__name__ in ("OperationalError", "InterfaceError")
    if code.startswith(BUSY) or is_silent:
        advice = "It is retried. If this persists: does a program lock it, or is its server down?"
        return DatabaseBusy(f"{database} is busy ({code or 'no answer'})", advice=advice)
    return None


def repair_advice(exc: Exception) -> str:
    """Return the advice for a database that cannot be opened or read, and not only for now."""
    if isinstance(exc, sa.exc.OperationalError | sa.exc.NoSuchModuleError | ModuleNotFoundError):
        return "Check `data.database`, this user's rights, and the driver's package."
    return "It is damaged or not a segnode database. Restore a backup, or name another (runbook)."
