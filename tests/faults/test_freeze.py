"""A frozen segmenter and a full disk: each job ends once, and no acknowledged image is lost."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from node import queue, schema, segmenter
from node.config import Config
from node.errors import DiskFault, DiskLow
from node.housekeeping import Sweep, upkeep
from node.inbox import Inbox
from node.package import uses
from node.package.folder import file_digest
from node.schema import opening
from node.states import Ending, Kind, State
from tests.support import processes
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.reading import shared_reader
from tests.support.received import receive
from tests.support.rows import T0
from tests.support.running import Node, needs_dcmtk, started, storescu, wait_until

WIDE = Phantom(spacing_mm=(1.0, 1.0, 1.0), shape=(64, 64, 64))  # some seconds of work


@contextmanager
def segmenting(node: Node) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the segmenter's loop alone."""
    command = [sys.executable, "-m", "node", "serve", "--config", str(node.config_file)]
    with (node.folder / "node.log").open("ab") as log:
        process = processes.start(
            [*command, "--only", "segmenter"], stdin=subprocess.PIPE, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def prepared(folder: Path, phantom: Phantom, ballast: int = 0) -> tuple[Node, Config, sa.Engine]:
    """Return a node with one series received and planned."""
    patch = (32, 32, 32) if ballast else (16, 16, 16)
    make_tiny_package(folder / "models", ballast=ballast, patch_zyx=patch)
    node = Node(folder / "node", 1, folder / "models")
    config = node.configure()
    engine = schema.open_configured(config.data)
    plan(config, engine, folder, phantom)
    return node, config, engine


def plan(config: Config, engine: sa.Engine, folder: Path, phantom: Phantom) -> None:
    inbox = Inbox(config.data.dir / "inbox")
    receive(inbox, make(folder / "series", phantom).paths, T0)
    assert Sweep(config, engine, inbox, uses(config), shared_reader()).run(T0 + 100) == 1


def wait_for(engine: sa.Engine, state: State) -> None:
    def reached() -> bool:
        return queue.counts(engine)[Kind.SEGMENT, state] == 1

    wait_until(reached, describe=lambda: str(queue.list_jobs(engine)))


def freeze_between_transactions(
    process: "subprocess.Popen[bytes]", engine: sa.Engine, tries: int = 50
) -> None:
    """Stop a process while it holds no lock: the tests of this module are about leases.

    A process frozen *within* a transaction locks the database while it is frozen;
    `test_a_permanent_lock_loses_no_image` covers that.
    """
    for _ in range(tries):
        process.send_signal(signal.SIGSTOP)
        if not is_locked(engine):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.01)
    pytest.fail(f"the database was locked {tries} times in a row")


def is_locked(engine: sa.Engine) -> bool:
    assert engine.url.database is not None
    with closing(sqlite3.connect(engine.url.database, timeout=0.1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.rollback()
        return False


def let_lease_pass(config: Config, engine: sa.Engine) -> None:
    """Expire the leases as half a minute without heartbeat does."""
    with engine.begin() as connection:
        connection.execute(sa.update(schema.jobs).values(lease_until=time.time() - 1))
    upkeep.expire_leases(engine, config, time.time())
    assert queue.counts(engine)[Kind.SEGMENT, State.QUEUED] == 1


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_a_frozen_segmenter_loses_its_job_and_one_result_is_sent(
    tmp_path: Path, end: signal.Signals
) -> None:
    node, config, engine = prepared(tmp_path, WIDE, ballast=600)
    with segmenting(node) as frozen:
        wait_for(engine, State.RUNNING)
        freeze_between_transactions(frozen, engine)
        children = psutil.Process(frozen.pid).children(recursive=True)
        assert queue.counts(engine)[Kind.SEGMENT, State.RUNNING] == 1, "it was too fast"
        let_lease_pass(config, engine)
        with segmenting(node):
            wait_for(engine, State.RUNNING)
            frozen.send_signal(end)
            wait_for(engine, State.DONE)
            if end is signal.SIGCONT:
                wait_until(lambda: is_logged(node, "lease-lost"))
                assert frozen.poll() is None, "it continues with other jobs"
        (job,) = queue.list_jobs(engine, kind=Kind.SEGMENT)
        assert (job.state, job.claims) == (State.DONE, 2)
        (delivery,) = queue.list_jobs(engine, kind=Kind.DELIVER)
        payload = delivery.deliver_payload()
        assert file_digest(config.data.dir / payload.file) == payload.sha256
    alive = psutil.wait_procs(children, timeout=240)[1]
    assert alive == [], "children outlive their segmenter"


@pytest.mark.slow
@pytest.mark.dcmtk
@needs_dcmtk
def test_a_permanent_lock_loses_no_image(tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models")
    node = Node(tmp_path / "node", 1, tmp_path / "models", changes={"rules": []})
    scan = make(tmp_path / "series", Phantom())
    with started(node):
        database = node.engine.url.database
        assert database is not None
        with closing(sqlite3.connect(database)) as frozen:
            frozen.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            assert storescu(node.port, scan.paths) == 0, "the listener needs a disk, no database"
            time.sleep(max(0.0, opening.BUSY_TIMEOUT_S + 3 - (time.monotonic() - begun)))
            frozen.rollback()
        (history,) = node.wait_for_endings(1)
    assert (history.ending, history.arrival.instances) == (Ending.NO_RULE, len(scan.paths))


def is_logged(node: Node, code: str) -> bool:
    return f'"code": "{code}"' in (node.folder / "node.log").read_text(encoding="utf-8")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of `size` at `folder`; only root can."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk completely."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return ballast
    raise AssertionError


def test_a_full_outbox_delivers_when_there_is_space(tmp_path: Path) -> None:
    _, config, engine = prepared(tmp_path, Phantom(spacing_mm=(1.0, 1.0, 1.0)))
    with small_disk(config.data.dir / "outbox", "64k") as outbox:
        ballast = fill(outbox)
        with engine.begin() as connection:  # the segmenter's clock is real: a job of T0 is too old
            connection.execute(sa.update(schema.jobs).values(queued_at=time.time()))
        segmenter.run(config, once=True)
        (job,) = queue.list_jobs(engine)
        assert (job.state, job.code) == (State.QUEUED, "disk-low")
        assert job.not_before > job.queued_at
        assert queue.list_jobs(engine, kind=Kind.DELIVER) == []
        ballast.unlink()
        with engine.begin() as connection:
            connection.execute(sa.update(schema.jobs).values(not_before=T0))
        segmenter.run(config, once=True)
        wait_for(engine, State.DONE)
        assert len(queue.list_jobs(engine, kind=Kind.DELIVER)) == 1


def test_a_full_database_disk_loses_no_image(tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models")
    node = Node(tmp_path / "node", 1, tmp_path / "models")
    config = node.configure()
    with small_disk(config.data.dir, "2m") as data:
        engine, inbox = schema.open_configured(config.data), Inbox(data / "inbox")
        scan = make(tmp_path / "series", Phantom(shuffle=False))
        folder = receive(inbox, scan.paths, T0)
        sweep = Sweep(config, engine, inbox, uses(config), shared_reader())
        ballast = fill(data)
        with pytest.raises((DiskLow, DiskFault)):
            sweep.run(T0 + 100)
        assert queue.histories(engine) == []
        assert len(inbox.instances(folder)) == len(scan.paths)
        ballast.unlink()
        assert sweep.run(T0 + 101) == 1
        (history,) = queue.histories(engine)
        assert history.ending is Ending.IN_PROGRESS
        assert len(queue.list_jobs(engine)) == 1
        engine.dispose()
