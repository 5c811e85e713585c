"""Compare how fast this node, Orthanc and DCMTK's storescp receive CT slices.

    python benchmarks/flood.py [--slices 200] [--associations 1 4] [--rounds 3] [--write]
                               [--before FOLDER]

`storescu` sends series of 512 x 512 slices, one series per association. Each run starts a receiver
with an empty folder on the same disk; receivers take turns. All of them, and the sender, run with
TCP_NODELAY=1: Debian's DCMTK and Orthanc would wait 40 ms for each answer. This node and Orthanc
have synchronised the image to disk before they answer; storescp has only passed it to the kernel.

`--before` names a checkout of an earlier commit, which takes turns with this one:

    git worktree add ../before COMMIT
    python benchmarks/flood.py --before ../before --rounds 5
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import page
import yaml

from node.imaging import Grid, Volume
from node.series.compose import Labelling, compose

EDGE = 512
START_S = 20.0
NODELAY = os.environ | {"TCP_NODELAY": "1"}
Receiver = Callable[[Path, int], list[str]]  # folder, port -> command


def main() -> None:
    """Measure, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200, help="slices of each association")
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="folder on the disk to measure")
    parser.add_argument("--before", type=Path, help="checkout of an earlier commit to compare with")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    receivers = {"segnode": segnode, "Orthanc": orthanc, "storescp": storescp}
    if chosen.before:
        receivers["segnode before"] = partial(of_checkout, chosen.before.resolve())
    for tool in ("Orthanc", "storescp", "storescu"):
        if shutil.which(tool) is None and not Path("/usr/sbin", tool).exists():
            raise SystemExit(f"{tool} is not installed: see tests/support/system-packages.sh")
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="segnode-flood-", dir=chosen.work) as name:
        sent = [_slices(Path(name, f"sent-{n}"), chosen.slices, n) for n in range(_most(chosen))]
        for at in range(chosen.rounds):
            for count in chosen.associations:
                for receiver, command in receivers.items():
                    print(f"round {at + 1}: {receiver}, {count} associations", file=sys.stderr)
                    seconds = _flood(command, Path(name, "received"), sent[:count])
                    rates[receiver, count].append(count * chosen.slices / seconds)
    text = _report(rates, chosen)
    print(text)
    if chosen.write:
        page.write("Receiving", text)


def segnode(folder: Path, port: int) -> list[str]:
    """Return the command of this node's listener."""
    config = {
        "node": {"host": "127.0.0.1", "port": port},
        "data": {"dir": str(folder / "data"), "stop_accepting_below": "1 MiB"},
        "callers": "any",
    }
    (folder / "node.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = ["serve", "--config", str(folder / "node.yaml"), "--only", "listener"]
    return [sys.executable, "-m", "node", *words]


def of_checkout(checkout: Path, folder: Path, port: int) -> list[str]:
    """Return the command of the listener in another checkout."""
    return ["env", f"PYTHONPATH={checkout}", *segnode(folder, port)]


def orthanc(folder: Path, port: int) -> list[str]:
    """Return the command of an Orthanc that writes to disk before it answers (its default)."""
    config = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpServerEnabled": False,
        "DicomPort": port,
        "DicomAet": "SEGNODE",
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "SyncStorageArea": True,
    }
    (folder / "orthanc.json").write_text(json.dumps(config), encoding="utf-8")
    return [shutil.which("Orthanc") or "/usr/sbin/Orthanc", str(folder / "orthanc.json")]


def storescp(folder: Path, port: int) -> list[str]:
    """Return the command of DCMTK's receiver, which forks for each association."""
    (folder / "files").mkdir()
    return ["storescp", "--fork", "-aet", "SEGNODE", "-od", str(folder / "files"), str(port)]


def _most(chosen: argparse.Namespace) -> int:
    return int(max(chosen.associations))


def _slices(folder: Path, count: int, seed: int) -> list[str]:
    """Write one series of noise; return its files."""
    values = np.random.default_rng(seed).integers(0, 4096, (count, EDGE, EDGE)).astype(np.float32)
    volume = Volume(values, Grid(values.shape, np.eye(4)))
    labelling = Labelling(modality="CT", patient_id=f"FLOOD-{seed}")
    scan = compose(volume, folder, labelling, datetime.fromtimestamp(time.time(), UTC))
    return [str(path) for path in scan.files]


def _flood(command: Receiver, folder: Path, series: list[list[str]]) -> float:
    """Return the seconds from the first sender's start to the last one's end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with _receiving(command, folder) as port:
        words = ["storescu", "-aet", "BENCH", "-aec", "SEGNODE", "127.0.0.1", str(port)]
        os.sync()  # writes of earlier runs must not slow this one
        begin = time.perf_counter()
        senders = [
            subprocess.Popen([*words, *files], env=NODELAY, stderr=subprocess.PIPE)
            for files in series
        ]
        errors = [sender.communicate()[1] for sender in senders]
        seconds = time.perf_counter() - begin
    if any(sender.returncode for sender in senders):
        output = b"".join(errors) + (folder / "log").read_bytes()
        raise SystemExit(f"a sender failed: {output.decode(errors='replace')[-2000:]}")
    return seconds


@contextmanager
def _receiving(command: Receiver, folder: Path) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    with (folder / "log").open("wb") as log:
        words = command(folder, port)
        process = subprocess.Popen(words, stdout=log, stderr=log, env=NODELAY)
    try:
        _wait(port, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    echo = ["echoscu", "-aec", "SEGNODE", "127.0.0.1", str(port)]
    while subprocess.run(echo, capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise SystemExit(f"a receiver did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.1)


def _report(rates: dict[tuple[str, int], list[float]], chosen: argparse.Namespace) -> str:
    runs = f"{chosen.slices} CT slices of {EDGE} × {EDGE} per association, sent by storescu"
    head = (
        "receiver",
        *(
            f"{n} {'association' if n == 1 else 'associations'}, images per second"
            for n in chosen.associations
        ),
    )
    rows = []
    for receiver in dict.fromkeys(name for name, _ in rates):
        cells = []
        for count in chosen.associations:
            one = rates[receiver, count]
            ratio = statistics.median(one) / statistics.median(rates["Orthanc", count])
            cells.append(
                f"{statistics.median(one):.0f} ({min(one):.0f} to {max(one):.0f}), "
                f"{ratio:.2f} of Orthanc's"
            )
        rows.append((receiver, *cells))
    begin = page.origin(f"{runs}: medians of {chosen.rounds} alternated runs")
    return f"{begin}\n\n{page.table(head, rows)}"


if __name__ == "__main__":
    main()
