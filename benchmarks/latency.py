"""Time every step between the last slice of a series and its confirmed result in a real PACS.

    python benchmarks/latency.py [--rounds 8] [--sizes small teacher] [--inputs head ct] [--write]

A running node (`segnode serve`, its defaults) receives real-size series from `storescu`, one after
another, and delivers to an Orthanc, which confirms by C-FIND. Every time is from the node's own
rows: the arrival, the events of its jobs, and the stages of the segmentation. Inputs:

* head: Colin27, a whole head, resampled to 176 slices of 256 x 256, by brain-mr
* ct: the average head and neck of headneck-ct, resampled to 300 slices of 512 x 512

Nothing else should run on the machine. The first series of each configuration warms the node up
and is not counted.
"""

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import page
import yaml
from flood import NODELAY
from pipeline import resampled
from sqlalchemy import Engine

from node import queue, schema
from node.config import DataConfig
from node.imaging import nifti
from node.package import load, resolve
from node.package.folder import models_in
from node.series.compose import Labelling, compose
from node.states import Ending

ROOT = Path(__file__).parents[1]
LONGEST_S = 300.0  # of one series, and of the first start
SENDER, PACS = "BENCH", "PACS"
# the steps from the last slice on, each named by its end
STEPS = ("complete", "claimed", "segmented", "sending", "confirmed")
HEADS = {
    "complete": "last slice to plan",
    "claimed": "plan to start",
    "segmented": "start to SEG",
    "sending": "SEG to delivery",
    "confirmed": "delivery to confirmation",
}


@dataclass(frozen=True)
class Input:
    """A series of a size that scanners send."""

    task: str
    shape: tuple[int, int, int]
    modality: str
    description: str


INPUTS: Mapping[str, Input] = {
    "head": Input("brain-mr", (176, 256, 256), "MR", "T1 of a head"),
    "ct": Input("headneck-ct", (300, 512, 512), "CT", "CT of head and neck"),
}


@dataclass(frozen=True)
class Run:
    """Seconds of the steps of one series, and of the stages within its segmentation."""

    steps: Mapping[str, float]
    stages: Mapping[str, float]

    @property
    def total(self) -> float:
        """Return the seconds from the last slice to the confirmation."""
        return sum(self.steps.values())


@dataclass(frozen=True)
class DiskUse:
    """What one series takes on the disk of the node while it is kept."""

    images_bytes: float
    results_bytes: float


def main() -> None:
    """Measure, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="series of each configuration")
    parser.add_argument("--sizes", nargs="+", default=["small"])
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=list(INPUTS))
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    if not shutil.which("storescu") or _orthanc() is None:
        raise SystemExit("DCMTK and Orthanc are needed: see tests/support/system-packages.sh")
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    sizes: dict[tuple[str, str], DiskUse] = {}
    for name in chosen.inputs:
        for size in chosen.sizes:
            with tempfile.TemporaryDirectory(prefix="segnode-latency-") as folder:
                runs[name, size], sizes[name, size] = _measure(
                    INPUTS[name], size, chosen.rounds, Path(folder)
                )
    text = f"{_report(runs, chosen.rounds)}\n\n{_about_disk(sizes)}"
    print(text)
    if chosen.write:
        page.write("Latency", text)


def _measure(source: Input, size: str, rounds: int, folder: Path) -> tuple[list[Run], DiskUse]:
    package = resolve(source.task, [load(path) for path in models_in(ROOT / "models")])
    reference = nifti.read_volume(package.folder / package.manifest.reference.image)
    volume = resampled(reference, source.shape)
    runs = []
    with _pacs(folder) as pacs_port, node_running(folder, source, size, pacs_port) as port:
        engine = schema.open_configured(DataConfig(dir=folder / "data"))
        for number in range(rounds + 1):
            labelling = Labelling(
                modality=source.modality,
                patient_id=f"LATENCY-{number}",
                series_description=source.description,
            )
            now = datetime.fromtimestamp(time.time(), UTC)
            scan = compose(volume, folder / f"sent-{number}", labelling, now)
            words = ["storescu", "-aet", SENDER, "-aec", "SEGNODE", "127.0.0.1", str(port)]
            subprocess.run([*words, *map(str, scan.files)], check=True, env=NODELAY)
            run = _run(engine, scan.series_uid, folder / "node.log")
            shutil.rmtree(folder / f"sent-{number}")
            print(f"{source.task} {size} {number}: {run.total:.2f} s", file=sys.stderr)
            runs.append(run)
        disk = DiskUse(
            images_bytes=_bytes_below(folder / "data/inbox/series") / len(runs),
            results_bytes=_bytes_below(folder / "data/outbox") / len(runs),
        )
    return runs[1:], disk


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _run(engine: Engine, series_uid: str, log: Path) -> Run:
    """Wait until the result of a series is confirmed; return the times of its rows."""
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        histories = queue.histories(engine, series_uid=series_uid)
        if histories and histories[0].ending is not Ending.IN_PROGRESS:
            break
        time.sleep(0.2)  # seldom: this benchmark must not disturb what it measures
    else:
        raise SystemExit(f"a series got no result: {log.read_text()[-800:]}")
    history = histories[0]
    if history.ending is not Ending.DELIVERED or history.segment is None:
        raise SystemExit(f"a series ended as {history.ending}: {history.arrival.reason}")
    segmentation = _claim_and_finish(engine, history.segment.id)
    deliveries = [_claim_and_finish(engine, job.id) for job in history.deliveries]
    moments = (
        history.arrival.last_at,
        history.arrival.planned_at,
        *segmentation,
        min(claim for claim, _ in deliveries),
        max(finish for _, finish in deliveries),
    )
    seconds = [after - before for before, after in pairwise(moments)]
    return Run(dict(zip(STEPS, seconds, strict=True)), history.segment.segment_result().seconds)


def _claim_and_finish(engine: Engine, job: int) -> tuple[float, float]:
    times = {event.event: event.at for event in queue.events_of(engine, job_id=job)}
    return times["claim"], times["finish"]


@contextmanager
def node_running(
    folder: Path, source: Input, size: str, pacs_port: int, engine: str = "auto"
) -> Iterator[int]:
    """Run the node; yield its port."""
    port = _free_port()
    target = {"ae": PACS, "host": "127.0.0.1", "port": pacs_port, "confirm": "find"}
    config: dict[str, Any] = {
        "node": {"host": "127.0.0.1", "port": port},
        "data": {"dir": str(folder / "data"), "stop_accepting_below": "1 MiB"},
        "callers": [{"ae": SENDER, "host": "127.0.0.1"}],
        "targets": {"pacs": target},
        "model": {"dir": str(ROOT / "models"), "size": size, "engine": engine},
        "page": {"enabled": False},
        "rules": [
            {
                "name": "all",
                "when": {"modality": source.modality},
                "use": source.task,
                "send_to": ["pacs"],
            }
        ],
    }
    file = folder / "node.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    words = [sys.executable, "-m", "node", "serve", "--config", str(file), "--log-level", "warning"]
    with _running(words, port, "SEGNODE", folder / "node.log"):
        yield port


@contextmanager
def _pacs(folder: Path) -> Iterator[int]:
    """Run an Orthanc that accepts everything; yield its port."""
    port = _free_port()
    config = {
        "StorageDirectory": str(folder / "pacs"),
        "IndexDirectory": str(folder / "pacs"),
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomAet": PACS,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomCheckCalledAet": False,
        "RemoteAccessAllowed": False,
    }
    file = folder / "orthanc.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    with _running([str(_orthanc()), str(file)], port, PACS, folder / "pacs.log"):
        yield port


def _orthanc() -> str | None:
    return shutil.which("Orthanc") or next(
        (str(path) for path in [Path("/usr/sbin/Orthanc")] if path.exists()), None
    )


@contextmanager
def _running(words: list[str], port: int, ae: str, log: Path) -> Iterator[None]:
    """Run a program until the block ends; begin when it answers C-ECHO."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, env=NODELAY, stdout=file, stderr=file)
    echo = ["echoscu", "-aet", SENDER, "-aec", ae, "127.0.0.1", str(port)]
    deadline = time.monotonic() + LONGEST_S
    try:
        while subprocess.run(echo, capture_output=True, check=False).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{ae} did not start: {log.read_text(errors='replace')[-800:]}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _report(runs: dict[tuple[str, str], list[Run]], rounds: int) -> str:
    head = ("input, size", "last slice to confirmed, seconds", *(HEADS[name] for name in STEPS))
    rows, stages = [], []
    for (name, size), measured in runs.items():
        run_name = f"{name} {' × '.join(map(str, INPUTS[name].shape))}, {size}"
        cells = [_cell([run.steps[step] for run in measured]) for step in STEPS]
        rows.append((run_name, _cell([run.total for run in measured], is_wide=True), *cells))
        parts = ", ".join(
            f"{stage} {statistics.median(run.stages[stage] for run in measured):.2f}"
            for stage in measured[0].stages
        )
        stages.append(f"* {run_name}: {parts}")
    origin = page.origin(f"Medians of {rounds} series each, after one to warm up")
    title = "Stages of the segmentation (start to SEG), median seconds:"
    return f"{origin}\n\n{page.table(head, rows)}\n\n{title}\n\n" + "\n".join(stages)


def _about_disk(sizes: Mapping[tuple[str, str], DiskUse]) -> str:
    """Return how much a thousand series take until `data.keep` ends: GB is MB of one series."""
    lines = [
        f"* {name} {' × '.join(map(str, INPUTS[name].shape))}, {size}: images "
        f"{use.images_bytes / 1e6:.1f} GB, results {use.results_bytes / 1e6:.1f} GB"
        for (name, size), use in sizes.items()
    ]
    title = "Disk for a thousand series while they are kept (`data.keep`):"
    return f"{title}\n\n" + "\n".join(lines)


def _cell(seconds: list[float], *, is_wide: bool = False) -> str:
    text = f"{statistics.median(seconds):.2f}"
    if not is_wide:
        return text
    worst = sorted(seconds)[min(len(seconds) - 1, round(0.95 * (len(seconds) - 1)))]
    return f"{text} (p95 {worst:.2f})"


if __name__ == "__main__":
    main()
