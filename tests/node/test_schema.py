"""The database refuses what the states forbid; how it is opened and migrated."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.config import DataConfig
from node.errors import DatabaseBusy, Misconfigured
from tests.support.rows import T0, a_segment_job, an_arrival


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return schema.open_database(tmp_path / "a.sqlite")


def test_a_database_is_made_once_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    queue.record_arrival(schema.open_database(path), an_arrival(), a_segment_job(), T0)
    assert len(queue.list_jobs(schema.open_database(path))) == 1
    by_url = schema.open_database(f"sqlite:///{path}")
    assert len(queue.list_jobs(by_url)) == 1


def test_the_default_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    schema.open_configured(DataConfig(dir=tmp_path / "new")).dispose()
    assert (tmp_path / "new" / schema.FILE_NAME).is_file()


def test_sqlite_is_set_to_survive_power_loss(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 2, 1, 30_000]


def test_a_writing_transaction_locks_before_its_first_statement(
    engine: sa.Engine, tmp_path: Path
) -> None:
    other = sqlite3.connect(tmp_path / "a.sqlite", timeout=0)
    with engine.begin(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    with schema.read_transaction(engine) as connection:  # waits for no writer
        assert connection.execute(sa.select(schema.jobs)).all() == []
    other.close()


def test_a_newer_database_is_refused(engine: sa.Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    with pytest.raises(Misconfigured, match="version 99, this node knows up to 2"):
        schema.open_database(tmp_path / "a.sqlite")


def test_a_locked_database_may_be_free_later(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.05)
    with engine.begin(), pytest.raises(DatabaseBusy, match="cannot be opened"):
        schema.open_database(tmp_path / "a.sqlite")
    schema.open_database(tmp_path / "a.sqlite")


def test_a_folder_in_the_place_of_the_database_stays_wrong(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened"):
        schema.open_database(tmp_path)


@pytest.mark.parametrize(
    "place",
    ["postgresql+psycopg://node@h:port/x", "postgresql+psycopg://node:secret@h:p/x", "::://"],
)
def test_what_is_no_address_is_a_misconfiguration(place: str) -> None:
    with pytest.raises(Misconfigured, match="no address of a database") as caught:
        schema.open_database(place)
    assert "secret" not in str(caught.value)


def test_a_damaged_database_stays_wrong(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no database at all, and long enough to be one" * 100)
    engine = schema.open_database(tmp_path / "without-version")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM schema_version"))
    for name in ("garbage", "without-version"):
        with pytest.raises(Misconfigured, match="It is damaged, or not segnode's"):
            schema.open_database(tmp_path / name)


def test_only_missing_migrations_run_and_in_order(engine: sa.Engine) -> None:
    ran: list[str] = []
    steps = tuple(lambda _, name=name: ran.append(name) for name in ("three", "four"))
    with engine.begin() as connection:
        schema.migrate(connection, (*schema.MIGRATIONS, *steps[:1]))
        schema.migrate(connection, (*schema.MIGRATIONS, *steps))
        schema.migrate(connection, (*schema.MIGRATIONS, *steps))
    assert ran == ["three", "four"]


def test_a_database_of_version_1_is_brought_to_the_newest_form(
    engine: sa.Engine, tmp_path: Path
) -> None:
    newest = indexes(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX ix_jobs_one_per_series"))
        connection.execute(
            sa.text(
                "CREATE UNIQUE INDEX ix_jobs_one_per_series ON jobs (series_uid) "
                "WHERE kind = 'segment' AND state = 'running'"
            )
        )
        connection.execute(sa.text("UPDATE schema_version SET version = 1"))
    assert indexes(engine) != newest
    again = schema.open_database(tmp_path / "a.sqlite")
    assert indexes(again) == newest
    with schema.read_transaction(again) as connection:
        assert connection.execute(sa.text("SELECT version FROM schema_version")).scalar() == 2


def indexes(engine: sa.Engine) -> set[tuple[str, str]]:
    """Return name and definition of each index, however it is spaced."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    with schema.read_transaction(engine) as connection:
        return {(name, " ".join(sql.split())) for name, sql in connection.execute(sa.text(query))}


def test_a_failed_migration_leaves_the_database_as_it_was(engine: sa.Engine) -> None:
    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE jobs ADD COLUMN colour TEXT"))
        raise RuntimeError

    with pytest.raises(RuntimeError), engine.begin() as connection:
        schema.migrate(connection, (*schema.MIGRATIONS, half))
    with engine.begin() as connection:
        columns = {column["name"] for column in sa.inspect(connection).get_columns("jobs")}
        schema.migrate(connection, schema.MIGRATIONS)
    assert "colour" not in columns


@pytest.mark.parametrize("place", ["/proc/nowhere/a.sqlite", "oracle+none://u:secret@h/x"])
def test_a_database_that_cannot_be_opened_is_a_misconfiguration(place: str) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened") as caught:
        schema.open_database(place)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "broken",
    [
        {"state": "lost"},
        {"kind": "dream"},
        {"state": "running"},  # without lease and worker
        {"lease_until": T0},
        {"worker": "w"},
        {"cancel_at": T0},
        {"state": "done"},  # without the time of its end
        {"state": "failed", "finished_at": T0},  # without a code
        {"finished_at": T0},
        {"target": "pacs"},  # a segmentation has none
        {"kind": "deliver", "target": "pacs"},  # without a parent
        {"priority": 10},
        {"attempts": 2},  # more than claims
        {"arrival_id": 99},
    ],
)
def test_the_database_refuses_what_the_states_forbid(
    engine: sa.Engine, broken: dict[str, Any]
) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(**broken))


@pytest.mark.parametrize("broken", [{"outcome": "lost"}, {"outcome": "no-rule"}, {"code": None}])
def test_the_database_refuses_an_arrival_that_says_nothing(
    engine: sa.Engine, broken: dict[str, Any]
) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(schema.arrivals).values(**broken))


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_the_same_work_is_never_there_twice(engine: sa.Engine, state: str) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    busy: dict[str, Any] = {"lease_until": T0, "worker": "w"} if state == "running" else {}
    ended: dict[str, Any] = {"finished_at": T0} if state == "done" else {}
    with engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(state=state, **busy, **ended))
        row = dict(connection.execute(sa.select(schema.jobs)).mappings().one())
    del row["id"]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(schema.jobs).values(**row | {"series_uid": "another"}))


def test_a_claim_reads_no_more_than_the_index(engine: sa.Engine) -> None:
    from node.queue.transitions import _due  # noqa: PLC0415
    from node.states import Kind  # noqa: PLC0415

    for kind, target in ((Kind.SEGMENT, ""), (Kind.DELIVER, "pacs")):
        query = sa.select(_due(kind, target, 5, T0))
        text = str(query.compile(engine, compile_kwargs={"literal_binds": True}))
        with schema.read_transaction(engine) as connection:
            steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
        searches = [step for step in steps if "jobs" in step or "other" in step]
        assert searches
        assert all("INDEX ix_jobs" in step for step in searches), steps
        assert not [step for step in steps if "TEMP B-TREE" in step]
