"""`segnode history`: who did what, as a table, CSV and JSON."""

import csv
import io
import json
from pathlib import Path

import pytest

from node import queue, schema
from node.commands import main
from node.commands.options import who
from node.commands.terminal import local_time
from node.config import load
from tests.support.commanding import Run
from tests.support.rows import T0, record


@pytest.fixture
def recorded(configured: Path) -> Path:
    """Return the configuration of a node with one job that a command cancelled."""
    engine = schema.open_configured(load(configured).data)
    record(engine)
    queue.cancel(engine, 1, T0 + 2, who())
    queue.add_note(engine, "rejected-association", '=cmd("x")\n@y', T0 + 86400 * 3)
    engine.dispose()
    return configured


def test_a_command_is_recorded_with_its_user(run: Run, recorded: Path) -> None:
    options = ["--config", str(recorded)]
    assert run("jobs", "retry", 1, *options)[0] == 0
    events = json.loads(run("history", "--json", *options)[1])
    by = {event["event"]: event["actor"] for event in events}
    assert by["queued"] == "node"
    assert by["cancel"] == by["requeue"] == who()
    assert who().startswith("os:")
    assert events[0]["at"].startswith(local_time(events[0] and T0 - 1)[:10])
    shown = json.loads(run("history", "--by", who(), "--json", *options)[1])
    assert [event["event"] for event in shown] == ["cancel", "requeue"]
    assert [event["job"] for event in shown] == [1, 1]


def test_csv_holds_no_formula_of_a_peer(run: Run, recorded: Path) -> None:
    printed = run("history", "--csv", "--config", recorded)[1]
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert [row["event"] for row in rows][-2:] == ["cancel", "rejected-association"]
    assert rows[-1]["detail"] == '\'=cmd("x")?@y'
    assert {row["study"] for row in rows} == {"1.2.3", ""}


def test_a_period_and_a_study_limit_the_list(run: Run, recorded: Path) -> None:
    first, last = local_time(T0)[:10], local_time(T0 + 86400 * 3)[:10]
    options = ["--config", recorded]
    early = run("history", "--from", first, "--to", first, *options)[1]
    assert "cancel" in early
    assert "rejected-association" not in early
    late = run("history", "--from", last, *options)[1]
    assert "cancel" not in late
    assert "rejected-association" in late
    assert "rejected" not in run("history", "--study", "1.2.3", *options)[1]
    assert "The first 1 events" in run("history", "--limit", "1", *options)[1]
    status, printed, errors = run("history", "--from", "2001-01-01", "--to", "2001-01-02", *options)
    assert (status, printed) == (1, "")
    assert "data.keep.history" in errors


def test_a_wrong_day_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["history", "--from", "yesterday"])
    assert left.value.code == 2
    assert "is no day" in capsys.readouterr().err
