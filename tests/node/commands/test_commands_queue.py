"""`segnode jobs`, `explain` and `status`, in this process, on a real inbox and database."""

import json
import os
import sqlite3
import time
from pathlib import Path

import pydicom
import pytest

from node import queue, schema
from node.config import load
from node.housekeeping import Sweep
from node.inbox import Inbox
from node.schema import opening
from node.states import Kind, State
from tests.support.commanding import Run, configure
from tests.support.housekeeping import planned_phantom
from tests.support.phantoms import Phantom, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0, a_segment_job, an_arrival


@pytest.fixture
def stored(configured: Path, tmp_path: Path) -> tuple[Path, str]:
    """Return a configuration whose inbox holds one series with a job, and the study's UID."""
    return configured, planned_phantom(configured, tmp_path).study_uid


def test_jobs_are_listed_shown_cancelled_and_retried(run: Run, stored: tuple[Path, str]) -> None:
    options = ["--config", str(stored[0])]
    (job,) = json.loads(run("jobs", "list", *options, "--json")[1])
    assert (job["kind"], job["state"], job["payload"]["size"]) == ("segment", "queued", "small")
    assert json.loads(run("jobs", "list", "--state", "done", *options, "--json")[1]) == []
    assert "segment" in run("jobs", "list", "--kind", "segment", *options)[1]
    shown = json.loads(run("jobs", "show", job["id"], *options, "--json")[1])
    assert [event["event"] for event in shown["events"]]
    assert "queued" in run("jobs", "show", job["id"], *options)[1]
    assert run("jobs", "retry", job["id"], *options)[0] == 1, "it waits already"
    status, printed, _ = run("jobs", "cancel", job["id"], *options)
    assert (status, printed) == (0, f"job {job['id']} cancelled\n")
    status, printed, _ = run("jobs", "retry", job["id"], *options)
    assert (status, printed) == (0, f"job {job['id']} queued again\n")
    engine = schema.open_configured(load(stored[0]).data)
    assert queue.counts(engine)[Kind.SEGMENT, State.QUEUED] == 1


def test_a_running_job_will_be_stopped(run: Run, stored: tuple[Path, str]) -> None:
    engine = schema.open_configured(load(stored[0]).data)
    job = queue.claim(engine, Kind.SEGMENT, "w", time.time(), 30.0)
    assert job is not None
    assert "will be stopped" in run("jobs", "cancel", job.id, "--config", stored[0])[1]


def test_an_unknown_job_or_study_ends_with_1(run: Run, stored: tuple[Path, str]) -> None:
    for arguments in (
        ["explain", "1.2.3"],
        ["jobs", "show", "99"],
        ["jobs", "retry", "99"],
        ["jobs", "cancel", "99"],
        ["jobs", "replan", "1.2.3"],
    ):
        status, printed, errors = run(*arguments, "--config", stored[0])
        assert (status, printed) == (1, "")
        assert errors.startswith("segnode ")
        assert "Traceback" not in errors


def test_explain_prints_the_history(run: Run, stored: tuple[Path, str]) -> None:
    status, printed, _ = run("explain", stored[1], "--config", stored[0])
    assert status == 0
    for part in ("12 MR images from CT01", "rule all: tiny-mr/1.0, size small", "in-progress"):
        assert part in printed
    report = json.loads(run("explain", stored[1], "--config", stored[0], "--json")[1])
    assert report["series"][0]["ending"] == "in-progress"
    assert report["events"][0]["event"] == "received"


def test_an_arriving_series_is_shown(run: Run, configured: Path, tmp_path: Path) -> None:
    inbox = Inbox(load(configured).data.dir / "inbox")
    scan = make(tmp_path / "head", Phantom(shuffle=False))
    receive(inbox, scan.paths[:5], time.time(), ends="open")
    study = str(pydicom.dcmread(scan.paths[0]).StudyInstanceUID)
    missing = run("explain", study, "--config", configured)
    assert missing[0] != 0
    assert "housekeeping has not read them yet" in missing[2]
    config = load(configured)
    Sweep(config, schema.open_configured(config.data), inbox, (), shared_reader()).run(time.time())
    assert "still arriving: 5 images" in run("explain", study, "--config", configured)[1]
    assert "an association is still open" in run("status", "--config", configured)[1]
    report = json.loads(run("status", "--config", configured, "--json")[1])
    assert [w["instances"] for w in report["arriving"]] == [5]


def test_status_prints_processes_and_endings(run: Run, stored: tuple[Path, str]) -> None:
    status, printed, _ = run("status", "--config", stored[0])
    assert status == 69
    assert "listener      NOT RUNNING" in printed
    assert "in-progress" in printed


@pytest.mark.parametrize("command", [["status"], ["jobs", "list"], ["explain", "1.2.3"]])
def test_reading_the_state_of_a_new_node_creates_nothing(
    run: Run, configured: Path, command: list[str]
) -> None:
    before = set(configured.parent.rglob("*"))
    run(*command, "--config", configured)
    assert set(configured.parent.rglob("*")) == before


@pytest.mark.parametrize("command", [["status"], ["jobs", "list"], ["jobs", "show", "1"]])
def test_reading_the_state_of_a_stopped_node_changes_nothing(
    run: Run, stored: tuple[Path, str], command: list[str]
) -> None:
    data = load(stored[0]).data
    schema.open_configured(data).dispose()  # the last to close it takes SQLite's log with it
    before = state_of(data.dir)
    status, printed, _ = run(*command, "--config", stored[0])
    assert status in (0, 69)
    assert printed
    assert state_of(data.dir) == before


def state_of(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_status_names_the_loops_that_do_not_run(run: Run, stored: tuple[Path, str]) -> None:
    config = load(stored[0])
    engine = schema.open_configured(config.data)
    for process in ("segmenter", "sender", "housekeeping", "monitor"):
        queue.heartbeat(engine, process, os.getpid(), time.time())
    inbox = Inbox(config.data.dir / "inbox")
    inbox.recover(T0)
    status, printed, _ = run("status", "--config", stored[0], "--json")
    assert (status, json.loads(printed)["not_running"]) == (1, [])
    assert [one["code"] for one in json.loads(printed)["conditions"]] == ["queue-old"]
    assert run("status", "--config", stored[0])[1].startswith("queue-old (since 2023-11-14")
    assert run("status", "--loops", "--config", stored[0])[0] == 0
    queue.cancel(engine, 1, time.time())
    assert run("status", "--config", stored[0])[0] == 0
    queue.heartbeat(engine, "sender", os.getpid(), time.time() - 300)
    status, printed, _ = run("status", "--config", stored[0], "--json")
    assert (status, json.loads(printed)["not_running"]) == (69, ["sender"])
    status, printed, _ = run("status", "--config", stored[0])
    assert status == 69
    assert printed.startswith("loop-down sender")
    assert "sender        NOT RUNNING, last seen 5 min ago" in printed
    inbox.release()


def test_status_refuses_a_database_of_another_version(run: Run, stored: tuple[Path, str]) -> None:
    engine = schema.open_configured(load(stored[0]).data)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    status, _, printed = run("status", "--config", stored[0])
    assert status == 78
    assert "version 99" in printed


def test_status_refuses_a_file_that_is_not_a_database(run: Run, configured: Path) -> None:
    data = load(configured).data
    data.dir.mkdir()
    (data.dir / schema.FILE_NAME).write_bytes(b"no database" * 1000)
    status, _, printed = run("status", "--config", configured)
    assert status == 78
    assert schema.FILE_NAME in printed


def test_a_locked_database_is_a_transient_error_of_status(
    run: Run, stored: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    file = load(stored[0]).data.dir / schema.FILE_NAME
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")  # a copy or a repair by hand: the node itself never does this
    status, _, printed = run("status", "--config", stored[0])
    other.close()
    assert status == 75
    assert "SQLITE_BUSY" in printed
    assert run("status", "--config", stored[0])[0] == 69


def test_replan_applies_the_current_rules(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, rules=[])
    config = load(file)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    scan = make(tmp_path / "head", Phantom(shuffle=False))
    study = str(pydicom.dcmread(scan.paths[0]).StudyInstanceUID)
    receive(inbox, scan.paths, T0)
    Sweep(config, engine, inbox, (), shared_reader()).run(T0 + 100)
    assert "no job" in run("jobs", "replan", study, "--config", file)[1]
    configure(file, tiny_models)
    (report,) = json.loads(run("jobs", "replan", study, "--config", file, "--json")[1])
    assert report["job"] == 1
    assert queue.counts(engine)[Kind.SEGMENT, State.QUEUED] == 1


def test_text_from_a_peer_never_moves_the_cursor(run: Run, configured: Path) -> None:
    engine = schema.open_configured(load(configured).data)
    printed = "STRANGER\x1b[2J\x1b]0;gone\x07\x9b1A\r\n\u202eend"
    queue.add_note(engine, "rejected-association", printed, T0, study_uid="1.2.3")
    queue.record_arrival(engine, an_arrival(modality="\x1b[2JOT"), a_segment_job(), T0)
    for command in (["status"], ["explain", "1.2.3"], ["jobs", "list"], ["jobs", "show", 1]):
        shown = run(*command, "--config", configured)[1]
        assert all(line.isprintable() for line in shown.splitlines()), command
        assert "gone" not in shown or "STRANGER?[2J?]0;gone??1A???end" in shown
    assert "STRANGER" in run("status", "--config", configured)[1]
    assert "?[2JOT images" in run("explain", "1.2.3", "--config", configured)[1]
