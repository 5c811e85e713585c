"""kill -9 of any process at any time: no acknowledged image is lost, every series ends once.

Series keep arriving during thirty kills of random processes at random moments. The supervisor is
killed too, and restarted as systemd would.
"""

import hashlib
import random
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pydicom
import pytest

from node import queue
from node.imaging import Volume
from node.inbox import Inbox
from node.series.compose import Labelling, compose
from node.states import Ending, Kind, State
from tests.support.orthanc import Orthanc, needs_orthanc
from tests.support.orthanc import started as orthanc_started
from tests.support.packages import make_tiny_package, phantom
from tests.support.running import Node, needs_dcmtk, started, storescu, wait_until

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]

KILLS = 30
SUPERVISOR_KILLS = 3
SERIES = 12
SEED = 20260102


def series_of(number: int, folder: Path) -> tuple[str, list[Path]]:
    """Write one small series; each has its own content and UID."""
    volume = phantom((20, 24, 22))
    scan = compose(
        Volume(volume.array + number % 7, volume.grid),
        folder / str(number),
        Labelling(series_number=number),
        datetime(2026, 1, 2, tzinfo=UTC),
    )
    return scan.series_uid, list(scan.files)


class Sender(threading.Thread):
    """A modality that resends each series until all its images are acknowledged."""

    def __init__(self, port: int, folder: Path) -> None:
        super().__init__()
        self.port, self.folder = port, folder
        self.sent: dict[str, list[Path]] = {}
        self.halt = threading.Event()

    def run(self) -> None:
        for number in range(SERIES):
            uid, files = series_of(number, self.folder)
            while storescu(self.port, files) != 0 and not self.halt.is_set():
                time.sleep(0.3)
            if self.halt.is_set():
                return
            self.sent[uid] = files


@pytest.mark.timeout(1800)
def test_thirty_kills_lose_no_image_and_repeat_no_result(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    orthanc = Orthanc(tmp_path / "orthanc")
    make_tiny_package(tmp_path / "models")
    # `attempts` is high, so that our kills are not blamed on a series
    changes = {
        "complete": {"settle": "100 ms", "quiet": "2 s"},
        "limits": {"time": "60 s", "threads": 1, "attempts": 20},
    }
    node = Node(tmp_path / "node", orthanc.dicom_port, tmp_path / "models", changes=changes)
    sender = Sender(node.port, tmp_path / "series")
    killed: list[str] = []
    with orthanc_started(orthanc):
        for life in range(SUPERVISOR_KILLS + 1):
            with started(node):
                if life == 0:
                    sender.start()
                last_life = life == SUPERVISOR_KILLS
                kills = (KILLS - SUPERVISOR_KILLS) // (SUPERVISOR_KILLS + 1)
                for _ in range(
                    kills + (KILLS - SUPERVISOR_KILLS) % (SUPERVISOR_KILLS + 1) * last_life
                ):
                    time.sleep(chance.uniform(0.05, 1.2))
                    killed.append(kill_one(node, chance))
                if not last_life:
                    assert node.process is not None
                    node.process.kill()
                    killed.append("supervisor")
                    wait_until(
                        lambda: alone(node), describe=lambda: "children outlive the supervisor"
                    )
                    continue
                sender.join(600)
                assert not sender.is_alive(), f"the sender could not finish; killed {killed}"
                node.wait_for_endings(SERIES, 600)
                settled(node)
                check_history(node, sender, orthanc)
    sender.halt.set()
    assert len(killed) == KILLS


def kill_one(node: Node, chance: random.Random) -> str:
    """Kill one process of the node or of its descendants; return its name."""
    victims = node.processes()[1:]
    if not victims:
        return "none"
    victim = chance.choice(victims)
    try:
        name = " ".join(victim.cmdline()[-2:])
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return "gone"
    return name


def alone(node: Node) -> bool:
    """Return whether no process of the node is left."""
    mark = str(node.config_file)
    running = subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False)
    return not running.stdout.strip()


def settled(node: Node) -> None:
    """Wait until no job is queued or running."""

    def quiet() -> bool:
        counts = queue.counts(node.engine)
        return not any(
            counts[kind, state] for kind in Kind for state in (State.QUEUED, State.RUNNING)
        )

    wait_until(quiet, describe=lambda: str(queue.counts(node.engine)))


def check_history(node: Node, sender: Sender, orthanc: Orthanc) -> None:
    inbox = Inbox(node.folder / "data/inbox")
    instances = {}
    for folder in inbox.series_folders():
        for file in inbox.instances(folder):
            dataset = pydicom.dcmread(file.path)  # whole and readable
            instances[dataset.SOPInstanceUID] = hashlib.sha256(dataset.PixelData).hexdigest()
    for files in sender.sent.values():
        for path in files:
            dataset = pydicom.dcmread(path)
            assert (
                instances.get(dataset.SOPInstanceUID)
                == hashlib.sha256(dataset.PixelData).hexdigest()
            )
    histories = node.histories()
    by_series: dict[str, list[queue.SeriesHistory]] = {}
    for history in histories:
        assert history.ending is not Ending.IN_PROGRESS
        by_series.setdefault(history.arrival.series_uid, []).append(history)
    assert set(by_series) == set(sender.sent)
    for uid, of_one in by_series.items():
        digests = [history.arrival.inputs_digest for history in of_one]
        assert len(digests) == len(set(digests)), "one set of images was decided twice"
        last = of_one[-1]
        assert last.arrival.instances == len(sender.sent[uid])
        assert last.ending is Ending.DELIVERED, (last.arrival.reason, last.segment)
        assert sum(s.arrival.instances == len(sender.sent[uid]) for s in of_one) == 1
    # a partial series may have been segmented before the rest came; each set of images once
    complete = sum(history.ending is Ending.DELIVERED for history in histories)
    assert len(orthanc.series("SEG")) == complete
