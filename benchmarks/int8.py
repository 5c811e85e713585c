"""Compare a released size quantised to int8 by NNCF with every engine, on the reference case.

    pip install nncf==3.4.0
    python benchmarks/int8.py brain-mr [--size small] [--threads 1] [--runs 9]

NNCF calibrates on the reference case itself, which flatters int8's Dice and does not change its
speed: a size to be released would be calibrated on development cases. Networks take turns on one
patch. The table is a trial for docs/records: it has networks that the node refuses to run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import page

from node import engines
from node.engines.open_vino import DEVICE, classes_last
from node.imaging import Labels, nifti
from node.imaging.volume import FloatArray
from node.package import Package, load, resolve
from node.package.folder import models_in
from node.pipeline import open_student, reference_scores, segment

HEAD = ("network", "ms a patch", "against onnxruntime", "reference Dice, mean", "worst segment")
INT8 = "int8 by NNCF, openvino"
Network = Callable[[FloatArray], FloatArray]


def main() -> None:
    """Quantise, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--size", default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    chosen = parser.parse_args()
    package = resolve(chosen.task, [load(path) for path in models_in(page.ROOT / "models")])
    students: dict[str, Any] = {
        engine: open_student(package, chosen.size, chosen.threads, engine)
        for engine in engines.versions()
    }
    patches = _patches(package, students[engines.ONNXRUNTIME])
    students[INT8] = _quantised(package, chosen, patches)
    taken: dict[str, list[float]] = {name: [] for name in students}
    for _ in range(chosen.runs):
        for name, student in students.items():
            begin = time.perf_counter()
            student(patches[0])
            taken[name].append(1000 * (time.perf_counter() - begin))
    print(_report(package, chosen, students, taken))


def _patches(package: Package, student: Network) -> list[FloatArray]:
    """Return the patches that the pipeline gives to the network on the reference case."""
    patches: list[FloatArray] = []

    def recording(patch: FloatArray) -> FloatArray:
        patches.append(patch.copy())
        return student(patch)

    _segment(package, recording)
    return patches


def _segment(package: Package, student: Any) -> Labels:
    image = nifti.read_volume(package.folder / package.manifest.reference.image)
    return segment(image, package, student).labels


def _quantised(package: Package, chosen: argparse.Namespace, patches: list[FloatArray]) -> Network:
    # imported late: node.engines must switch openvino's telemetry off first
    import nncf  # noqa: PLC0415
    import openvino as ov  # noqa: PLC0415

    core = ov.Core()
    plain = core.read_model(package.network_file(chosen.size).read_bytes())
    batches = [patch[np.newaxis, np.newaxis].astype(np.float32) for patch in patches]
    small = nncf.quantize(plain, nncf.Dataset(batches), subset_size=len(batches))
    settings = {"INFERENCE_NUM_THREADS": chosen.threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(classes_last(small), DEVICE, settings).create_infer_request()

    def network(patch: FloatArray) -> FloatArray:
        return np.moveaxis(request.infer([patch[np.newaxis, np.newaxis]])[0][0], -1, 0)

    return network


def _report(
    package: Package,
    chosen: argparse.Namespace,
    students: dict[str, Any],
    taken: dict[str, list[float]],
) -> str:
    plain = statistics.median(taken[engines.ONNXRUNTIME])
    rows = []
    for name, student in students.items():
        scores = reference_scores(package, chosen.size, _segment(package, student))
        median = statistics.median(taken[name])
        against = "" if name == engines.ONNXRUNTIME else f"{median / plain - 1:+.0%}"
        mean = f"{statistics.mean(scores):.4f}"
        rows.append((name, f"{median:.1f}", against, mean, f"{min(scores):.4f}"))
    runs = f"{package.name}, size {chosen.size}, {chosen.threads} threads: medians of {chosen.runs}"
    return "\n".join([page.origin(f"{runs} alternated runs"), "", page.table(HEAD, rows)])


if __name__ == "__main__":
    main()
