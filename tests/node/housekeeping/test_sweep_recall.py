"""What the sweep remembers, and for how long: coarse clocks and failing disks."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from node import queue
from node.config import load_text
from node.housekeeping.recall import LONGEST_PAUSE_S, RECHECK_S, TICK_S
from node.inbox import SeriesFolder
from node.states import Ending
from tests.support.housekeeping import QUIET, RULES, SETTLED, Site
from tests.support.phantoms import Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0

FAILS = Path("/proc/self/mem")  # can be opened; a read at its beginning fails with EIO


def receive_in_same_tick(site: Site, paths: Sequence[Path], folder: SeriesFolder) -> None:
    """Receive more images in the same tick of the file system's clock."""
    receive(site.inbox, paths, T0 + 0.1)
    os.utime(folder.path, ns=(folder.mtime_ns, folder.mtime_ns))


def break_image(folder: SeriesFolder, image: Path) -> bytes:
    content = image.read_bytes()
    image.unlink()
    image.symlink_to(FAILS)
    os.utime(folder.path, (T0, T0))
    return content


def repair(folder: SeriesFolder, image: Path, content: bytes) -> None:
    image.unlink()
    image.write_bytes(content)
    os.utime(folder.path, (T0, T0))


def test_images_of_the_same_tick_are_included_before_the_decision(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths[:-2], T0)
    assert site.sweep.run(T0 + 0.5) == 0
    receive_in_same_tick(site, head.paths[-2:], folder)
    assert site.sweep.run(SETTLED) == 1
    assert [history.arrival.instances for history in queue.histories(site.engine)] == [12]


def test_images_of_the_same_tick_are_detected_soon_after_the_decision(
    site: Site, head: Scan
) -> None:
    folder = receive(site.inbox, head.paths[:-2], T0)
    assert site.sweep.run(T0 + 1) == 1
    receive_in_same_tick(site, head.paths[-2:], folder)
    assert site.sweep.run(T0 + 1 + TICK_S) == 0, "late images wait for quiet"
    assert site.sweep.run(QUIET) == 1
    assert [history.arrival.instances for history in queue.histories(site.engine)] == [10, 12]


def test_images_without_a_change_of_time_are_detected_at_the_recheck(
    site: Site, head: Scan
) -> None:
    folder = receive(site.inbox, head.paths[:-2], T0)
    assert site.sweep.run(QUIET) == 1
    receive_in_same_tick(site, head.paths[-2:], folder)
    assert site.sweep.run(QUIET + 1) == 0
    assert site.sweep.run(QUIET + RECHECK_S) == 1
    assert [history.arrival.instances for history in queue.histories(site.engine)] == [10, 12]


def test_a_disk_clock_that_runs_ahead_does_not_cause_extra_scans(site: Site, head: Scan) -> None:
    folder = receive(site.inbox, head.paths, T0)
    site.sweep.run(SETTLED)
    ahead = msgspec.structs.replace(folder, mtime_ns=int((T0 + 3600) * 1e9))
    site.sweep._settled.add(ahead, T0, T0)
    assert site.sweep._settled.holds(ahead, T0 + TICK_S)
    assert not site.sweep._settled.holds(ahead, T0 + RECHECK_S)


def test_a_failing_disk_decides_nothing_and_is_retried(
    site: Site, head: Scan, caplog: pytest.LogCaptureFixture
) -> None:
    folder = receive(site.inbox, head.paths, T0)
    image = site.inbox.instances(folder)[3].path
    content = break_image(folder, image)
    for second in range(120):
        assert site.sweep.run(QUIET + second) == 0
    assert queue.histories(site.engine) == []
    assert 5 < len(caplog.records) < 12, "the pauses grow"
    assert "Input/output error" in caplog.records[0].message
    (waiting,) = site.waiting(QUIET + 120)
    assert "Input/output error" in waiting.why
    repair(folder, image, content)
    assert site.sweep.run(QUIET + 120 + LONGEST_PAUSE_S) == 1
    assert site.ends() == [(Ending.IN_PROGRESS, "")]


def test_a_failing_disk_does_not_delay_other_series(site: Site, head: Scan, tmp_path: Path) -> None:
    folder = receive(site.inbox, head.paths, T0)
    break_image(folder, site.inbox.instances(folder)[0].path)
    receive(site.inbox, make(tmp_path / "well", Phantom(seed=2)).paths, T0)
    assert site.sweep.run(QUIET) == 1
    assert site.ends() == [(Ending.IN_PROGRESS, "")]


# -- the sender


@pytest.mark.parametrize("lost", ["gone", "damaged"])
def test_a_lost_marker_does_not_lose_the_caller(site: Site, head: Scan, lost: str) -> None:
    folder = receive(site.inbox, head.paths, T0, ae="MR01")
    (marker,) = folder.path.glob("*.released")
    if lost == "gone":
        marker.unlink()
    else:
        marker.write_bytes(b"")
    os.utime(folder.path, (T0, T0))
    text = RULES.replace("modality: MR", "caller: MR01")
    sweep = site.fresh(load_text(text, base=site.config.model.dir.parent))
    assert sweep.run(QUIET) == 1
    (history,) = queue.histories(site.engine)
    assert (history.ending, history.arrival.caller_ae) == (Ending.IN_PROGRESS, "MR01")


def test_two_senders_in_the_files_leave_the_caller_empty(site: Site, head: Scan) -> None:
    receive(site.inbox, head.paths[:6], T0, ae="MR01")
    folder = receive(site.inbox, head.paths[6:], T0 + 0.1, ae="MR02")
    for marker in folder.path.glob("*.released"):
        marker.unlink()
    os.utime(folder.path, (T0, T0))
    assert site.sweep.run(QUIET) == 1
    (history,) = queue.histories(site.engine)
    assert history.arrival.caller_ae == ""
