"""Time what a running node costs while nothing happens: processor time by process.

    python benchmarks/idle.py [--seconds 60] [--write]

`segnode serve` with one rule, one target and a model, after its processes have started and the
model's process is warm. Nothing arrives.
"""

import argparse
import tempfile
import time
from pathlib import Path

import page
import psutil
from latency import INPUTS, node_running

STARTED_S = 120.0  # the model's process is warm by then, also on a busy machine
HEAD = ("process", "share of one core", "memory, MB")
IDLE_PORT = 1  # of a target to which nothing is sent


def main() -> None:
    """Measure, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--started", type=float, default=STARTED_S)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="segnode-idle-") as folder,
        node_running(Path(folder), INPUTS["head"], "small", IDLE_PORT, engine="onnxruntime"),
    ):
        time.sleep(chosen.started)
        before = _cpu_s()
        time.sleep(chosen.seconds)
        after = _cpu_s()
        rows = [
            (name, _percent(seconds - before.get((name, pid), 0.0), chosen.seconds), _rss(pid))
            for (name, pid), seconds in after.items()
        ]
        total = sum(after.values()) - sum(before.values())
        rows.append(("all", _percent(total, chosen.seconds), ""))
    text = f"{page.origin(f'{chosen.seconds:g} s without work')}\n\n{page.table(HEAD, rows)}"
    print(text)
    if chosen.write:
        page.write("Idle", text)


def _cpu_s() -> dict[tuple[str, int], float]:
    """Return the processor seconds of each process below this one, by name and process id."""
    seconds = {}
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        seconds[_name(process.cmdline()), process.pid] = times.user + times.system
    return seconds


def _name(words: list[str]) -> str:
    if "--only" in words:
        return words[words.index("--only") + 1]
    modules = [words[at + 1] for at, word in enumerate(words[:-1]) if word == "-m"]
    return modules[0].removeprefix("node.") if modules and modules[0] != "node" else "serve"


def _rss(pid: int) -> str:
    return f"{psutil.Process(pid).memory_info().rss / 1e6:.0f}"


def _percent(seconds: float, of_s: float) -> str:
    return f"{seconds / of_s:.2%}"


if __name__ == "__main__":
    main()
