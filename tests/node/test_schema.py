"""The database: its constraints, and how it is opened."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.config import DataConfig
from node.errors import DatabaseBusy, Misconfigured
from node.schema import opening
from tests.support.rows import T0, a_segment_job, an_arrival


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return schema.open_database(tmp_path / "a.sqlite")


def test_a_database_is_created_once_and_can_be_reopened(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    queue.record_arrival(schema.open_database(path), an_arrival(), a_segment_job(), T0)
    assert len(queue.list_jobs(schema.open_database(path))) == 1
    by_url = schema.open_database(f"sqlite:///{path}")
    assert len(queue.list_jobs(by_url)) == 1


def test_the_default_is_a_file_in_the_data_folder(tmp_path: Path) -> None:
    schema.open_configured(DataConfig(dir=tmp_path / "new")).dispose()
    assert (tmp_path / "new" / schema.FILE_NAME).is_file()


def test_sqlite_settings_survive_a_power_failure(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert settings == ["wal", 2, 1, 30_000]


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


@pytest.mark.parametrize("version", [schema.VERSION - 1, schema.VERSION + 1])
def test_a_database_of_another_version_is_refused(
    engine: sa.Engine, tmp_path: Path, version: int
) -> None:
    with engine.begin() as connection:
        connection.execute(
            sa.update(schema.METADATA.tables["schema_version"]).values(version=version)
        )
    with pytest.raises(Misconfigured, match=f"version {version}, this segnode uses") as caught:
        schema.open_database(tmp_path / "a.sqlite")
    assert "data.database" in caught.value.advice


def test_a_locked_database_is_a_transient_error(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    with engine.begin(), pytest.raises(DatabaseBusy, match="SQLITE_BUSY"):
        schema.open_database(tmp_path / "a.sqlite")
    schema.open_database(tmp_path / "a.sqlite")


def test_a_folder_instead_of_the_database_is_a_misconfiguration(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened"):
        schema.open_database(tmp_path)


@pytest.mark.parametrize(
    "place",
    ["postgresql+psycopg://node@h:port/x", "postgresql+psycopg://node:secret@h:p/x", "::://"],
)
def test_a_malformed_url_is_a_misconfiguration(place: str) -> None:
    with pytest.raises(Misconfigured, match="not the URL of a database") as caught:
        schema.open_database(place)
    assert "secret" not in str(caught.value)


def test_a_damaged_database_is_a_misconfiguration(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(b"no database at all, and long enough to be one" * 100)
    engine = schema.open_database(tmp_path / "without-version")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM schema_version"))
    for name in ("garbage", "without-version"):
        with pytest.raises(Misconfigured, match="amaged"):
            schema.open_database(tmp_path / name)


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
def test_constraints_reject_a_job_that_the_states_forbid(
    engine: sa.Engine, broken: dict[str, Any]
) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(**broken))


@pytest.mark.parametrize("broken", [{"outcome": "lost"}, {"outcome": "no-rule"}, {"code": None}])
def test_constraints_reject_an_arrival_without_outcome_or_code(
    engine: sa.Engine, broken: dict[str, Any]
) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(schema.arrivals).values(**broken))


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_the_same_work_cannot_be_queued_twice(engine: sa.Engine, state: str) -> None:
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0)
    busy: dict[str, Any] = {"lease_until": T0, "worker": "w"} if state == "running" else {}
    ended: dict[str, Any] = {"finished_at": T0} if state == "done" else {}
    with engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(state=state, **busy, **ended))
        row = dict(connection.execute(sa.select(schema.jobs)).mappings().one())
    del row["id"]
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(schema.jobs).values(**row | {"series_uid": "another"}))


def test_a_claim_reads_only_the_index(engine: sa.Engine) -> None:
    from node.queue.claim import _due  # noqa: PLC0415
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
