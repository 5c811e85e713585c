"""Measure the highest rate of this processor in GFLOP/s, as one line of JSON by precision.

    python benchmarks/peak.py --threads 2

For float32 it is the best of a product of large matrices by numpy and a convolution of 128 channels
by each engine: numpy alone reached half the rate of OpenVINO's convolutions. Bfloat16 has its own.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from node import engines

EDGE = 32  # voxels of the patch along each axis
CHANNELS = 128
WIDE_LAYERS = 2
KERNEL_VOXELS = 27
MATRIX = 2048
RUNS = 12


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, required=True)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="segnode-peak-") as name:
        peaks = _peaks(Path(name), chosen.threads)
    print(json.dumps(peaks))


def precision_of(engine: str) -> str:
    """Return the precision in which an engine computes: `f32` or `bf16`."""
    return engines.PRECISIONS.get(engine, "f32")


def _peaks(folder: Path, threads: int) -> dict[str, float]:
    matrix = np.random.default_rng(0).random((MATRIX, MATRIX), dtype=np.float32)
    peaks = {"f32": 2 * MATRIX**3 / _fastest(lambda: matrix @ matrix) / 1e9}
    path, operations = _write_network(folder / "wide.onnx")
    patch = np.zeros((1, 1, EDGE, EDGE, EDGE), np.float32)
    for engine in engines.versions():
        network = engines.open_network(engine, path, threads)
        rate = operations / _fastest(partial(network, patch)) / 1e9
        precision = precision_of(engine)
        peaks[precision] = max(rate, peaks.get(precision, 0.0))
    return peaks


def _fastest(run: Callable[[], object]) -> float:
    """Return the seconds of the fastest run."""
    seconds = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def _write_network(path: Path) -> tuple[Path, int]:
    """Write a chain of wide convolutions; return its file and its operations for one patch."""
    channels = [1, *[CHANNELS] * (WIDE_LAYERS + 1)]
    pairs = list(pairwise(channels))
    random = np.random.default_rng(0)
    weights = [
        random.normal(0, 0.05, (wide, narrow, 3, 3, 3)).astype(np.float32) for narrow, wide in pairs
    ]
    names = ["patch", *(f"layer{i}" for i in range(1, len(pairs))), "scores"]
    nodes = [
        helper.make_node("Conv", [names[i], f"weights{i}"], [names[i + 1]], pads=[1] * 6)
        for i in range(len(pairs))
    ]
    shape = [EDGE] * 3
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("patch", TensorProto.FLOAT, [1, 1, *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, CHANNELS, *shape])],
        [numpy_helper.from_array(array, f"weights{i}") for i, array in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    products = sum(narrow * wide for narrow, wide in pairs)
    return path, 2 * KERNEL_VOXELS * EDGE**3 * products


if __name__ == "__main__":
    main()
