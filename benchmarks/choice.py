"""Compare the time that `size: auto` expects with the time that the chosen size takes.

    python benchmarks/choice.py brain-mr [--deadlines 0.5 1 2 30] [--shape Z Y X] [--write]

The series is the package's reference image, or the same box in another number of voxels. Sizes and
engines are measured as the node does it while it is idle; then the node's own choice is made for
each deadline, and the chosen size runs three times. A deadline counts from voxels to labels.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import page
from pipeline import resampled

from node import measured
from node.config import AUTO, Config, DataConfig
from node.imaging import Volume, nifti
from node.measured import Candidate, Measurement, choose
from node.package import Package, Use, load, resolve
from node.package.folder import models_in
from node.pipeline import open_student, segment
from node.segmenter import measure_now

HEAD = ("deadline, s", "size", "mean Dice", "engine", "expected, s", "took, s", "why")
RUNS = 3


def main() -> None:
    """Measure, choose, run, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--deadlines", type=float, nargs="+", default=[0.5, 1, 2, 30])
    parser.add_argument("--shape", type=int, nargs=3, help="resample the case to this many voxels")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    package = resolve(chosen.task, [load(path) for path in models_in(page.ROOT / "models")])
    volume = nifti.read_volume(package.folder / package.manifest.reference.image)
    if chosen.shape is not None:
        volume = resampled(volume, tuple(chosen.shape))
    measurements = _measured(package, chosen.threads)
    rows = [_row(package, volume, measurements, deadline) for deadline in chosen.deadlines]
    shape = " × ".join(str(n) for n in volume.grid.shape)
    runs = f"{package.name}, a case of {shape} voxels: medians of {RUNS} runs"
    text = "\n".join([page.origin(runs), "", page.table(HEAD, rows)])
    print(text)
    if chosen.write:
        page.write(f"Deadlines, {chosen.task}", text)


def _measured(package: Package, threads: int) -> list[Measurement]:
    host = measured.this_host(threads)
    with tempfile.TemporaryDirectory(prefix="segnode-choice-") as name:
        config = Config(data=DataConfig(dir=Path(name)))
        measurements = []
        for size in package.manifest.sizes:
            for engine in host.versions:
                print(f"measuring {size}, {engine}", file=sys.stderr)
                measurements.append(measure_now(config, host, Candidate(package, size, engine)))
    return measurements


def _row(
    package: Package, volume: Volume, measurements: list[Measurement], deadline: float
) -> tuple[str, ...]:
    use = Use(rule="benchmark", package=package, size=AUTO, deadline_s=deadline)
    choice = choose(use, volume.grid, measurements)
    student = open_student(package, choice.size, 0, choice.engine)
    took = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        segment(volume, package, student)
        took.append(time.perf_counter() - begin)
    expected = choice.why.partition("about ")[2].partition(" s")[0]
    accuracy = {str(size): one.dice.mean for size, one in package.manifest.metrics.items()}
    dice = f"{accuracy[choice.size]:.4f}" if choice.size in accuracy else ""
    seconds = f"{statistics.median(took):.2f}"
    why = choice.why.partition(":")[0]
    return (f"{deadline:g}", choice.size, dice, choice.engine, expected, seconds, why)


if __name__ == "__main__":
    main()
