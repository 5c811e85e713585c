"""The sweep visits the series that changed or are due; a full scan finds what has no mark."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from node import queue
from node.housekeeping.recall import TICK_S
from node.housekeeping.sweep import Sweep
from node.housekeeping.visits import Pace
from node.inbox import Inbox, SeriesFolder
from node.package import uses
from node.reader import Reader, SeriesReading
from tests.support.housekeeping import QUIET, SETTLED, Site
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import Ends, receive
from tests.support.rows import T0

SCAN_S = 1000.0


@pytest.fixture
def sweep(site: Site) -> Sweep:
    """Return a sweep that has scanned an empty inbox."""
    sweep = site.fresh(pace=Pace(SCAN_S, reread_s=0.25))
    assert sweep.run(T0) == 0
    return sweep


def decided(site: Site) -> list[int]:
    return [history.arrival.instances for history in queue.histories(site.engine)]


def forget_marks(inbox: Inbox) -> None:
    assert inbox.changes.take()


def test_a_series_is_visited_until_it_is_decided(site: Site, sweep: Sweep, head: Scan) -> None:
    receive(site.inbox, head.paths, T0)
    assert [sweep.run(T0 + 0.5), sweep.run(SETTLED), sweep.run(SETTLED + 1)] == [0, 1, 0]
    assert decided(site) == [len(head.paths)]


def test_a_late_image_is_noticed_before_the_next_scan(site: Site, sweep: Sweep, head: Scan) -> None:
    receive(site.inbox, head.paths[:-2], T0)
    assert sweep.run(SETTLED + 10) == 1
    receive(site.inbox, head.paths[-2:], SETTLED + 20)
    assert sweep.run(SETTLED + 20.5) == 0, "late images wait for quiet"
    assert sweep.run(SETTLED + 20 + QUIET - T0) == 1
    assert decided(site) == [10, 12]


def test_a_late_image_of_the_same_tick_is_noticed_after_the_tick(
    site: Site, sweep: Sweep, head: Scan
) -> None:
    folder = receive(site.inbox, head.paths[:-2], T0)
    assert sweep.run(T0 + 1) == 1
    receive(site.inbox, head.paths[-2:], T0 + 0.1)
    os.utime(folder.path, ns=(folder.mtime_ns, folder.mtime_ns))
    forget_marks(site.inbox)
    assert sweep.run(T0 + 1 + TICK_S) == 0
    assert sweep.run(QUIET) == 1
    assert decided(site) == [10, 12]


def test_a_lost_mark_costs_only_the_time_until_the_next_scan(
    site: Site, sweep: Sweep, head: Scan
) -> None:
    receive(site.inbox, head.paths, T0)
    forget_marks(site.inbox)
    assert sweep.run(T0 + SCAN_S - 1) == 0
    assert sweep.run(T0 + SCAN_S) == 1


def test_a_sweep_that_fails_loses_no_mark(
    site: Site, sweep: Sweep, head: Scan, tmp_path: Path
) -> None:
    receive(site.inbox, head.paths, T0)
    site.engine.dispose()
    place = site.config.data.dir / "segnode.sqlite"
    place.rename(tmp_path / "aside")
    place.mkdir()
    with pytest.raises(Exception, match="database"):
        sweep.run(SETTLED)
    place.rmdir()
    (tmp_path / "aside").rename(place)
    assert sweep.run(SETTLED + 1) == 1


@pytest.mark.parametrize(("ends", "at_once"), [("open", [4]), ("released", [4, 8])])
def test_a_series_that_is_still_sent_is_not_read_at_every_sweep(
    site: Site, head: Scan, ends: Ends, at_once: list[int]
) -> None:
    counts: list[int] = []

    class CountingReader(Reader):
        def survey(
            self, folder: Path, files: Sequence[str], part: int | None = None
        ) -> SeriesReading:
            counts.append(len(files))
            return super().survey(folder, files, part)

    with CountingReader(log_level="CRITICAL") as reader:
        pace = Pace(reread_s=0.25)
        sweep = Sweep(site.config, site.engine, site.inbox, uses(site.config), reader, pace)
        receive(site.inbox, head.paths[:4], T0, ends=ends)
        sweep.run(T0 + 0.2)
        receive(site.inbox, head.paths[4:8], T0 + 0.3, ends=ends)
        sweep.run(T0 + 0.4)
        assert counts == at_once
        sweep.run(T0 + 0.5)
        assert counts[-1] == 8


def test_a_series_that_was_pruned_is_forgotten(site: Site, sweep: Sweep, head: Scan) -> None:
    folder = receive(site.inbox, head.paths[:4], T0)
    sweep.run(T0 + 0.1)
    shutil.rmtree(folder.path)
    assert sweep.run(QUIET) == 0
    assert sweep.run(T0 + SCAN_S) == 0
    assert queue.arriving_series(site.engine) == []


def test_a_restarted_listener_marks_what_its_predecessor_left_open(
    site: Site, sweep: Sweep, head: Scan
) -> None:
    folder = receive(site.inbox, head.paths, T0, ends="open")
    forget_marks(site.inbox)
    restarted = Inbox(site.inbox.root)
    try:
        assert restarted.recover(T0) == 1
        assert site.inbox.changes.take() == {folder.key}
    finally:
        restarted.release()


def test_series_are_listed_by_key(site: Site, tmp_path: Path) -> None:
    folder = receive(site.inbox, make(tmp_path / "one", Phantom()).paths, T0)
    assert site.inbox.series_folder(folder.key) == SeriesFolder(
        folder.key, folder.path, folder.path.stat().st_mtime_ns
    )
    assert site.inbox.series_folder("0" * 64) is None
