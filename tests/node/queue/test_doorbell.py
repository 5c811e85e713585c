"""The doorbell: a commit of another connection wakes a worker before its next poll."""

import threading
from pathlib import Path
from threading import Event

import pytest

from node import queue, schema
from node.queue.folder_watch import FolderWatch

NEVER_S = 600.0  # a test that waits this long has failed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    schema.open_database(tmp_path / "queue.sqlite")
    return tmp_path / "queue.sqlite"


def commit(place: Path) -> None:
    queue.heartbeat(schema.open_database(place), "listener", 1, 1.0, "")


def assert_a_commit_ends_the_wait(bell: queue.Doorbell, place: Path) -> None:
    bell.wait(Event(), 0)
    timer = threading.Timer(0.1, commit, [place])
    timer.start()
    assert bell.wait(Event(), NEVER_S)
    timer.join()


def test_a_commit_during_the_wait_ends_it(place: Path) -> None:
    assert_a_commit_ends_the_wait(queue.Doorbell(schema.open_database(place)), place)


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


def test_a_commit_is_noticed_without_a_watch(place: Path) -> None:
    bell = queue.Doorbell(schema.open_database(place))
    bell._watch = None
    assert_a_commit_ends_the_wait(bell, place)


def test_a_watch_notices_changes_of_files_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    watch = FolderWatch(tmp_path)
    assert not watch.wait(0)
    (tmp_path / "a").read_bytes()
    assert not watch.wait(0)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"y")
    assert watch.wait(NEVER_S)
    assert not watch.wait(0)
    (tmp_path / "b").touch()
    assert watch.wait(NEVER_S)


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderWatch(tmp_path / "absent")


def test_watches_are_released(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(300):  # a system has 128 for each user
        FolderWatch(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
