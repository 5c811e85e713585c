"""Mixed load on one node: good series, strangers, damaged images, huge values, a clock that is set.

Each function is one event. The wall clock of the node is that of its processes only: a file holds
how far it is from that of the machine.
"""

import mmap
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import generate_uid

from node.series.compose import Labelling, compose
from tests.support.hostile import with_many_items
from tests.support.packages import phantom
from tests.support.peers import IMPLICIT, ct, encode
from tests.support.rude import Peer
from tests.support.running import Node, storescu

MODALITY, STRANGER = "MODALITY", "STRANGER"
MANY_ITEMS = 1_200_000
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SHIFT = """
import mmap, os, struct, time
_file = open(os.environ["SOAK_CLOCK"], "rb")
_shift, _real = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ), time.time
time.time = lambda: _real() + struct.unpack("d", _shift[:8])[0]
"""


class NodeClock:
    """The wall clock of every Python process that is started with `environment`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(SHIFT)
        (folder / "clock").write_bytes(bytes(8))
        paths = [str(folder), os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))]
        self.environment = {
            "PYTHONPATH": os.pathsep.join(paths),
            "SOAK_CLOCK": str(folder / "clock"),
        }
        with (folder / "clock").open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)

    def set(self, seconds: float) -> None:
        """Set the clock to so many seconds from that of the machine."""
        self._shift[:8] = struct.pack("d", seconds)


@dataclass
class Load:
    """Events at a node; each kind has its thread, its pause, and a count."""

    node: Node
    folder: Path
    clock: NodeClock
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    sent_bytes: list[tuple[float, int]] = field(default_factory=list)  # monotonic, bytes
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float) -> None:
        """Keep the node busy for so long."""
        pauses: dict[Callable[[], None], float] = {
            self.send_series: 5.0,
            self.call_as_strangers: 0.5,
            self.send_damaged_images: 3.0,
            self.send_huge_values: 10.0,
            self.send_a_series_that_kills_its_reader: 400.0,
            self.set_the_clock: 60.0,
        }
        threads = [
            threading.Thread(target=self._repeat, args=item, daemon=True) for item in pauses.items()
        ]
        for thread in threads:
            thread.start()
        self._stop.wait(seconds)
        self._stop.set()
        for thread in threads:
            thread.join(240)
        self.clock.set(0)

    def _repeat(self, event: Callable[[], None], pause_s: float) -> None:
        while not self._stop.is_set():
            try:
                event()
            except Exception as exc:  # noqa: BLE001  the test fails with it at its end
                self.errors.append(f"{event.__name__}: {type(exc).__name__}: {exc}")
            self.counts[event.__name__] += 1
            self._stop.wait(pause_s)

    def send_series(self) -> None:
        """Send a series that the node segments."""
        self._send(self._series())

    def send_a_series_that_kills_its_reader(self) -> None:
        """Send a series with a header that takes half a minute to parse."""
        files = self._series()
        with_many_items(files[0], items=MANY_ITEMS)
        self._send(files)

    def call_as_strangers(self) -> None:
        """Request associations with AE titles that are not allowed."""
        for number in range(8):
            with Peer(self.node.port, f"{STRANGER}{self.counts['call_as_strangers']}{number}") as p:
                p.associate()

    def send_damaged_images(self) -> None:
        """Send images that are cut off, lack pixels, or are interrupted."""
        whole = encode(self._slice())
        for data in (whole[:-9], whole[:200], b""):
            self._store(data)
        with Peer(self.node.port, MODALITY) as peer:
            peer.associate()
            peer.request("1.2.3")
            peer.send(0x04, b"\0\0\x10\x02\x01\x00" + whole[:1000])

    def send_huge_values(self) -> None:
        """Send an image whose position has half a million values."""
        long = struct.pack("<HHI", 0x0020, 0x0032, 1 << 20) + b"1\\" * (1 << 19)
        whole = encode(self._slice(), IMPLICIT)
        at = whole.index(struct.pack("<HH", 0x0020, 0x0032))
        self._store(whole[:at] + long + whole[at:], IMPLICIT)

    def set_the_clock(self) -> None:
        """Set the clock back by an hour, and forward again the next time."""
        self.clock.set(-3600.0 if self.counts["set_the_clock"] % 2 else 0.0)

    def _series(self) -> list[Path]:
        composed = compose(phantom(), self.folder / str(generate_uid()), Labelling(), NOON)
        return list(composed.files)

    def _send(self, files: list[Path]) -> None:
        size = sum(path.stat().st_size for path in files)
        status = storescu(self.node.port, files, calling=MODALITY)
        assert status == 0, f"storescu ended with {status}"
        self.sent_bytes.append((time.monotonic(), size))
        for path in files:
            path.unlink()
        files[0].parent.rmdir()

    def _slice(self) -> Any:
        series = str(generate_uid())[:56]
        slice_ = ct(1, series=series)
        slice_.StudyInstanceUID = generate_uid()
        return slice_

    def _store(self, data: bytes, syntax: str | None = None) -> None:
        with Peer(self.node.port, MODALITY) as peer:
            peer.associate(*([(str(pydicom.uid.CTImageStorage), syntax)] if syntax else []))
            status = peer.store(data, "1.2.3")
            assert status == 0xC000, f"a damaged image was answered with {status:#06x}"
