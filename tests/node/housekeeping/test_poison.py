"""Images that kill or stall the process that reads them stop nothing but their own series."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from node import queue
from node.errors import ReaderKilled
from node.housekeeping import Sweep
from node.inbox import SeriesFolder
from node.package import uses
from node.reader import Reader, ReaderDeaths, ReaderLimits
from node.reader.deaths import MOST_DEATHS
from node.states import Content, Ending
from tests.support.hostile import slow_to_decode, with_many_items
from tests.support.housekeeping import QUIET, SETTLED, Site
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0
from tests.support.running import WAIT_S, wait_until

pytestmark = pytest.mark.slow  # each reader dies several times

SHORT = ReaderLimits(cpu_s=1.0, compare_cpu_s=1.0, cpu_s_per_mib=0.0)


@pytest.fixture
def reader() -> Iterator[Reader]:
    with Reader(SHORT, "CRITICAL") as one:
        yield one


def sweep_of(site: Site, reader: Reader) -> Sweep:
    return Sweep(site.config, site.engine, site.inbox, uses(site.config), reader)


def at_time(folder: SeriesFolder, at: float) -> None:
    os.utime(folder.path, (at, at))


def poisoned(site: Site, paths: Sequence[Path]) -> SeriesFolder:
    """Receive a series whose first file cannot be parsed within the limits."""
    folder = receive(site.inbox, paths, T0)
    with_many_items(site.inbox.instances(folder)[0].path)
    at_time(folder, T0)
    return folder


def count(site: Site, folder: SeriesFolder, number: int) -> None:
    for _ in range(number):
        ReaderDeaths(site.config.data.dir).add(folder.key, "it died")


def deaths(site: Site, folder: SeriesFolder) -> int:
    return ReaderDeaths(site.config.data.dir).of(folder.key).deaths


def test_a_header_that_kills_its_reader_is_held_and_others_are_planned(
    site: Site, head: Scan, tmp_path: Path, reader: Reader
) -> None:
    folder = poisoned(site, head.paths)
    sweep = sweep_of(site, reader)
    assert sweep.run(QUIET) == 0
    (waiting,) = queue.arriving_series(site.engine)
    assert waiting.why.startswith("its images cannot be read for now: the process that reads")
    assert deaths(site, folder) == 1
    receive(site.inbox, make(tmp_path / "well", Phantom(seed=2)).paths, T0)
    assert sweep.run(QUIET + 1.5) == 1, "a series that arrived later is planned at once"
    count(site, folder, MOST_DEATHS - 1 - deaths(site, folder))
    assert sweep_of(site, reader).run(QUIET + 10) == 0, "the count survives a restart"
    assert deaths(site, folder) == MOST_DEATHS
    assert sweep.run(QUIET + 100) == 1
    assert sorted(site.ends()) == [(Ending.HELD, "reader-killed"), (Ending.IN_PROGRESS, "")]
    (held,) = [h.arrival for h in queue.histories(site.engine) if h.ending is Ending.HELD]
    assert f"{MOST_DEATHS} times in a row" in held.reason
    assert "segnode jobs replan" in held.advice
    assert queue.arriving_series(site.engine) == []
    assert sweep.run(QUIET + 1000) == 0


def test_a_series_that_takes_long_to_read_delays_no_other(
    site: Site, head: Scan, tmp_path: Path
) -> None:
    folder = poisoned(site, head.paths)
    with Reader(log_level="CRITICAL", patience_s=0.0) as reader:
        sweep = sweep_of(site, reader)
        assert sweep.run(QUIET) == 0
        (waiting,) = queue.arriving_series(site.engine)
        assert "being read" in waiting.why
        (slow,) = reader._slow.values()
        os.kill(slow.child.pid, signal.SIGSTOP)
        reader._patience_s = WAIT_S
        receive(site.inbox, make(tmp_path / "well", Phantom(seed=2)).paths, T0)
        assert sweep.run(QUIET + 1) == 1, "the other one is planned meanwhile"
        os.kill(slow.child.pid, signal.SIGKILL)
        wait_until(lambda: not slow.child.is_alive, 30, lambda: "the reader does not end")
        assert sweep.run(QUIET + 2) == 0
        assert deaths(site, folder) == 1


def test_pixels_that_kill_their_reader_hold_the_series(
    site: Site, head: Scan, tmp_path: Path, reader: Reader
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    first = slow_to_decode(site.inbox.instances(folder)[0].path)
    copy = first.with_name(f"{first.name[:33]}{'f' * 32}.dcm")  # another content of the instance
    copy.write_bytes(first.read_bytes())
    slow_to_decode(copy, padding=2)
    at_time(folder, T0)
    receive(site.inbox, make(tmp_path / "well", Phantom(seed=2)).paths, T0)
    count(site, folder, MOST_DEATHS - 1)
    sweep = sweep_of(site, reader)
    assert [sweep.run(QUIET), sweep.run(QUIET + 100)] == [1, 1]
    assert sorted(site.ends()) == [(Ending.HELD, "reader-killed"), (Ending.IN_PROGRESS, "")]


def test_a_held_series_is_planned_from_images_sent_again(
    site: Site, head: Scan, reader: Reader
) -> None:
    folder = poisoned(site, head.paths)
    count(site, folder, MOST_DEATHS)
    sweep = sweep_of(site, reader)
    assert sweep.run(QUIET) == 1
    assert site.ends() == [(Ending.HELD, "reader-killed")]
    with pytest.raises(ReaderKilled):
        sweep_of(site, reader).replan(folder, QUIET + 600)
    assert site.ends() == [(Ending.HELD, "reader-killed")]
    bad = site.inbox.instances(folder)[0].path
    bad.rename(bad.with_name(f"{bad.name[:33]}{'0' * 32}.dcm"))  # its content has another name
    receive(site.inbox, head.paths, QUIET + 700)
    recorded = sweep_of(site, reader).replan(folder, QUIET + 710, Content.LAST)
    assert recorded is not None
    assert recorded.job_id is not None
    assert deaths(site, folder) == 0


def test_a_held_series_is_read_once_more_when_images_follow(
    site: Site, head: Scan, reader: Reader
) -> None:
    folder = poisoned(site, head.paths[:-1])
    count(site, folder, MOST_DEATHS)
    sweep = sweep_of(site, reader)
    assert sweep.run(QUIET) == 1
    assert deaths(site, folder) == MOST_DEATHS - 1
    (bad, *_) = site.inbox.instances(folder)
    bad.path.unlink()
    receive(site.inbox, head.paths, QUIET + 700)
    assert sweep.run(QUIET + 800) == 1
    assert [ending for ending, _ in site.ends()] == [Ending.HELD, Ending.IN_PROGRESS]
    assert deaths(site, folder) == 0


def test_another_series_of_the_study_is_not_blamed(
    site: Site, head: Scan, tmp_path: Path, reader: Reader
) -> None:
    folder = poisoned(site, head.paths)
    sweep = sweep_of(site, reader)
    sweep._study._studies[folder.key] = "1.2"
    well = receive(site.inbox, make(tmp_path / "well", Phantom(seed=2)).paths, T0)
    sweep._study._studies[well.key] = "1.2"
    sweep.run(SETTLED)
    assert site.ends() == [(Ending.IN_PROGRESS, "")]
    assert deaths(site, well) == 0
    assert deaths(site, folder) >= 1


def test_the_counter_of_a_deleted_series_is_deleted(site: Site, head: Scan) -> None:
    counters = ReaderDeaths(site.config.data.dir)
    folder = receive(site.inbox, head.paths, T0)
    counters.add(folder.key, "it died")
    counters.add("0" * 32, "it died")
    site.prune(T0 + 1)
    assert (counters.of(folder.key).deaths, counters.of("0" * 32).deaths) == (1, 0)


def test_kills_of_the_reader_at_random_moments_lose_nothing(site: Site, tmp_path: Path) -> None:
    scans = [
        make(tmp_path / str(seed), Phantom(seed=seed, tags={"SeriesNumber": seed}))
        for seed in range(4)
    ]
    stop = threading.Event()
    random_s = random.Random(7)
    with Reader(log_level="CRITICAL") as reader:

        def kill() -> None:
            while not stop.wait(random_s.uniform(0.0, 2.5)):
                if reader.pid:
                    os.kill(reader.pid, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        sweep, began = sweep_of(site, reader), time.monotonic()
        try:
            for one in scans:
                receive(site.inbox, one.paths, T0)
                sweep.run(QUIET + time.monotonic() - began)
            until = began + 40
            while len(site.ends()) < len(scans) and time.monotonic() < until:
                sweep.run(QUIET + time.monotonic() - began)
        finally:
            stop.set()
            killer.join()
        sweep.run(QUIET + 1000)
    assert site.ends() == [(Ending.IN_PROGRESS, "")] * len(scans)
