"""Open the database: create its tables, check their version, and begin transactions.

Promises: a transaction that writes holds the write lock from its first statement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from node.config import DataConfig
from node.database_faults import (
    node_error,
    refuse_network_file_system,
    repair_advice,
    translate_errors,
)
from node.errors import Misconfigured
from node.schema.tables import METADATA, schema_version

FILE_NAME = "segnode.sqlite"
VERSION = 10  # of the schema; a database of another version is refused
IN_MEMORY = ":memory:"  # SQLite's name for a database without a file
UNUSABLE = (sa.exc.DatabaseError, sa.exc.NoResultFound)  # raised by a wrong or damaged database
BUSY_TIMEOUT_S = 30.0  # a writer holds the lock for milliseconds; this long means a stuck disk


def open_configured(data: DataConfig) -> Engine:
    """Open the database that the configuration names, by default a file in the data folder.

    Raises:
        Misconfigured: as `open_database`.
    """
    if not data.database:
        data.dir.mkdir(parents=True, exist_ok=True)
    return open_database(data.database or data.dir / FILE_NAME)


def open_database(place: str | Path) -> Engine:
    """Open the database at an SQLAlchemy URL or an SQLite path; create its tables if it is empty.

    Raises:
        Misconfigured: it has another schema version, or it cannot be opened.
        DatabaseDamaged: its content is damaged.
        Transient: it is locked, its disk is full or failing, or its server does not answer.
    """
    is_url = "://" in str(place)
    url = parse_url(str(place)) if is_url else sa.URL.create("sqlite", database=str(place))
    database = f"the database {url.render_as_string(hide_password=True)}"
    try:
        engine = _sqlite(url) if url.get_backend_name() == "sqlite" else sa.create_engine(url)
        with engine.begin() as connection:
            create_or_check(connection)
    except (*UNUSABLE, sa.exc.NoSuchModuleError, ModuleNotFoundError) as exc:
        known = node_error(exc, database, is_opening=True)
        if known is not None:
            raise known from exc
        message = f"{database} cannot be opened"
        raise Misconfigured(message, advice=repair_advice(exc)) from exc
    translate_errors(engine, database)
    return engine


def parse_url(text: str) -> sa.URL:
    """Read the URL of a database.

    Raises:
        Misconfigured: it is not a URL; the message omits it, because it may hold a password.
    """
    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError) as exc:
        message = "data.database is not the URL of a database"
        raise Misconfigured(message, advice="Write postgresql+psycopg://USER@HOST/NAME.") from exc


def create_or_check(connection: sa.Connection) -> None:
    """Create the tables in an empty database, inside the caller's transaction.

    Raises:
        Misconfigured: the database has another version of the schema.
    """
    if connection.dialect.name == "postgresql":  # two nodes may start at once; SQLite has its lock
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7364676)"))
    version = version_of(connection)
    if version is None:
        METADATA.create_all(connection)
        connection.execute(sa.insert(schema_version).values(version=VERSION))
    else:
        check_version(version)


def check_version(version: int) -> None:
    """Refuse a database with another version of the schema.

    Raises:
        Misconfigured: `version` is not `VERSION`.
    """
    if version != VERSION:
        message = f"the database has schema version {version}, this segnode uses {VERSION}"
        advice = "Use the segnode that made the database, or name another one in `data.database`."
        raise Misconfigured(message, advice=advice)


def version_of(connection: sa.Connection) -> int | None:
    """Return the version of the schema; None where there is no table yet."""
    if not sa.inspect(connection).has_table(schema_version.name):
        return None
    return int(connection.execute(sa.select(schema_version.c.version)).scalar_one())


@contextmanager
def read_transaction(engine: Engine) -> Iterator[sa.Connection]:
    """Give a connection for reading only: its transaction waits for no writer and blocks none."""
    with reading(engine) as connection:
        yield connection


def reading(engine: Engine) -> sa.Connection:
    """Open a connection for reading only; close it after use."""
    return engine.connect().execution_options(**{_READING: True})


_READING = "node_reading"


def _sqlite(url: sa.URL) -> Engine:
    if url.database and url.database != IN_MEMORY:
        refuse_network_file_system(Path(url.database))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _(dbapi: Any, _record: object) -> None:
        # sqlite3 defers BEGIN by default, so that two processes can claim the same job
        dbapi.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            dbapi.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _(connection: sa.Connection) -> None:
        is_reading = connection.get_execution_options().get(_READING, False)
        connection.exec_driver_sql("BEGIN" if is_reading else "BEGIN IMMEDIATE")

    return engine
