"""The status for an operator, and that reading it changes nothing."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from node import queue, schema, status
from node.config import Config, DataConfig, Target
from node.config.units import Bytes
from node.errors import DatabaseBusy, PeerUnreachable, RefusedByTarget
from node.housekeeping import Sweep
from node.inbox import Inbox
from node.queue import Policy
from node.reader import Reader
from node.states import Ending, Kind
from tests.support.phantoms import Phantom, make
from tests.support.postgres import needs_postgresql
from tests.support.received import receive
from tests.support.rows import SEGMENTED, T0, a_delivery, claim, record


@pytest.fixture
def config(tmp_path: Path) -> Config:
    target = Target(ae="PACS", host="10.0.0.9", port=104)
    return Config(data=DataConfig(dir=tmp_path / "data"), targets={"pacs": target})


def alive(config: Config, now: float = T0) -> dict[str, bool]:
    snapshot = status.snapshot(config, schema.open_configured(config.data), now)
    return {process.name: process.alive for process in snapshot.processes}


def test_a_node_that_never_ran_has_an_empty_status(config: Config) -> None:
    snapshot = status.snapshot(config, schema.open_configured(config.data), T0)
    assert not any(process.alive for process in snapshot.processes)
    assert snapshot.jobs["segment"] == dict.fromkeys(snapshot.jobs["segment"], 0)
    assert (snapshot.series, snapshot.notes) == ((), ())
    (target,) = snapshot.targets
    assert (target.address, target.waiting, target.oldest_s) == ("10.0.0.9:104", 0, None)


@needs_postgresql
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_the_status_reads_a_database_on_a_server(engine: sa.Engine, tmp_path: Path) -> None:
    place = engine.url.render_as_string(hide_password=False)
    config = Config(data=DataConfig(dir=tmp_path / "data", database=place))
    queue.heartbeat(engine, "sender", 1, T0)
    looking = status.open_read_only(config.data)
    processes = {
        process.name: process for process in status.snapshot(config, looking, T0).processes
    }
    looking.dispose()
    assert processes["sender"].alive, "its beat must do: it may run on another machine"
    assert not processes["segmenter"].alive
    assert not (tmp_path / "data").exists()


def test_an_unreachable_database_server_is_a_transient_error(tmp_path: Path) -> None:
    place = f"postgresql+psycopg://nobody@/node?host={tmp_path}"
    with pytest.raises(DatabaseBusy, match="no answer"):
        status.open_read_only(DataConfig(dir=tmp_path, database=place))
    with pytest.raises(DatabaseBusy, match="no answer"):
        schema.open_database(place)


def test_a_heartbeat_counts_for_a_minute(config: Config) -> None:
    engine = schema.open_configured(config.data)
    queue.heartbeat(engine, "sender", os.getpid(), T0)
    assert alive(config, T0 + 59)["sender"]
    assert not alive(config, T0 + 61)["sender"]


def test_a_killed_process_is_detected_at_once(config: Config) -> None:
    engine = schema.open_configured(config.data)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    queue.heartbeat(engine, "segmenter", process.pid, T0)
    assert not alive(config)["segmenter"]


def test_the_listener_is_detected_by_its_lock(config: Config) -> None:
    assert not alive(config)["listener"]
    inbox = Inbox(config.data.dir / "inbox")
    inbox.recover(T0)
    assert alive(config)["listener"]
    inbox.release()
    assert not alive(config)["listener"]


def claimed_delivery(config: Config) -> tuple[sa.Engine, queue.Job]:
    """Return a database with one delivery that a sender has claimed, and this job."""
    engine = schema.open_configured(config.data)
    record(engine)
    queue.finish_segment(engine, claim(engine), SEGMENTED, [a_delivery()], T0 + 2)
    job = queue.claim(engine, Kind.DELIVER, "s", T0 + 3, 30.0, "pacs")
    assert job is not None
    return engine, job


def test_an_unreachable_target_shows_its_queue_and_the_reason(config: Config) -> None:
    engine, job = claimed_delivery(config)
    error = PeerUnreachable("10.0.0.9:104 does not answer")
    queue.settle(engine, job, error, T0 + 4, Policy(give_up_after_s=3600.0))
    (target,) = status.snapshot(config, engine, T0 + 100).targets
    assert target.waiting == 1
    assert target.oldest_s == pytest.approx(98.0)
    assert target.last_problem == "10.0.0.9:104 does not answer"


def test_a_target_that_refused_all_shows_the_reason_although_nothing_waits(config: Config) -> None:
    engine, job = claimed_delivery(config)
    queue.settle(engine, job, RefusedByTarget("it has no room"), T0 + 4, Policy(give_up_after_s=1))
    (target,) = status.snapshot(config, engine, T0 + 100).targets
    assert (target.waiting, target.last_problem) == (0, "it has no room")


def test_the_newest_series_come_last(config: Config) -> None:
    engine = schema.open_configured(config.data)
    for number in range(5):
        record(engine, series=number)
    snapshot = status.snapshot(config, engine, T0, series=3)
    assert [history.arrival.series_uid for history in snapshot.series] == [
        "1.2.3.2",
        "1.2.3.3",
        "1.2.3.4",
    ]
    assert {history.ending for history in snapshot.series} == {Ending.IN_PROGRESS}
    assert snapshot.jobs["segment"]["queued"] == 5


def test_low_space_is_reported(config: Config) -> None:
    engine = schema.open_configured(config.data)
    greedy = msgspec.structs.replace(config.data, stop_accepting_below=Bytes(1 << 60))
    assert not status.snapshot(msgspec.structs.replace(config, data=greedy), engine, T0).accepting


def test_reading_the_status_changes_nothing(config: Config) -> None:
    engine = schema.open_configured(config.data)
    record(engine)
    before = queue.histories(engine), queue.events_of(engine)
    status.snapshot(config, engine, T0)
    assert (queue.histories(engine), queue.events_of(engine)) == before
    assert not (config.data.dir / "inbox").exists()


def test_status_opens_no_image(config: Config, tmp_path: Path) -> None:
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    folder = receive(inbox, make(tmp_path / "head", Phantom()).paths, T0)
    with Reader(log_level="CRITICAL") as reader:
        Sweep(config, engine, inbox, (), reader).run(T0)
    for file in inbox.instances(folder):
        file.path.unlink()
        os.mkfifo(file.path)  # to open one would block
    status.snapshot(config, engine, T0)
    (series,) = queue.arriving_series(engine)
    assert (series.instances, series.until) == (len(inbox.instances(folder)), T0 + 1)
