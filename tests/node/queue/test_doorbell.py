"""The doorbell: a commit of another connection wakes a worker before its next poll."""

import threading
from pathlib import Path
from threading import Event

import pytest

from node import queue, schema

NEVER_S = 600.0  # a test that waits this long has failed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    schema.open_database(tmp_path / "queue.sqlite")
    return tmp_path / "queue.sqlite"


def commit(place: Path) -> None:
    queue.heartbeat(schema.open_database(place), "listener", 1, 1.0, "")


def test_a_commit_during_the_wait_ends_it(place: Path) -> None:
    bell = queue.Doorbell(schema.open_database(place))
    bell.wait(Event(), 0)
    timer = threading.Timer(0.1, commit, [place])
    timer.start()
    assert bell.wait(Event(), NEVER_S)
    timer.join()


def test_a_commit_before_the_wait_is_not_missed(place: Path) -> None:
    bell = queue.Doorbell(schema.open_database(place))
    bell.wait(Event(), 0)
    commit(place)
    assert bell.wait(Event(), NEVER_S)


def test_a_commit_of_the_same_process_counts(place: Path) -> None:
    engine = schema.open_database(place)
    bell = queue.Doorbell(engine)
    bell.wait(Event(), 0)
    queue.heartbeat(engine, "listener", 1, 1.0, "")
    assert bell.wait(Event(), NEVER_S)


def test_without_a_commit_the_wait_ends_at_its_time(place: Path) -> None:
    bell = queue.Doorbell(schema.open_database(place))
    bell.wait(Event(), 0)
    assert not bell.wait(Event(), 0.05)


def test_a_stop_ends_the_wait(place: Path) -> None:
    bell = queue.Doorbell(schema.open_database(place))
    bell.wait(Event(), 0)
    stop = Event()
    threading.Timer(0.1, stop.set).start()
    assert not bell.wait(stop, NEVER_S)


def test_a_waiting_doorbell_blocks_no_checkpoint(place: Path) -> None:
    engine = schema.open_database(place)
    bell = queue.Doorbell(engine)
    bell.wait(Event(), 0.05)
    commit(place)
    with engine.connect() as connection:
        connection.commit()
        raw = connection.connection.dbapi_connection
        assert raw is not None
        is_busy, pages, moved = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert (is_busy, pages, moved) == (0, 0, 0)  # nothing holds an old snapshot
