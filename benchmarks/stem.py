"""Time a patch with a stem of stride 2 and with plain networks, by width.

    python benchmarks/stem.py brain-mr [--threads 1] [--runs 3] [--write]

Weights are random, because they do not change the time. Grid, patch, stages and classes come from
the recipe. A network is worth training only where no equally fast one can be expected to do better.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import page

from kd.networks.export import export
from kd.networks.unet import UNet, parameters_of
from kd.recipe.choices import Net
from kd.recipe.read import Recipe, read_recipe
from kd.training.trainer import seeded
from node import engines
from node.student import Student

BASES = (4, 8, 16, 32)
ENGINES = [name for name in engines.versions() if name != engines.OPENVINO_BF16]  # float32 only
KINDS: dict[str, Literal[1, 2]] = {"stem": 2, "plain": 1}


def main() -> None:
    """Measure, print, and write the page where `--write` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    recipe = read_recipe(page.ROOT / "kd" / "recipes" / f"{chosen.task}.yaml")
    nets = {
        f"{kind}, base {base}" + (f", at least {least}" if least > base else ""): Net(
            base=base, least_width=least, norm="batch", stem_stride=stride
        )
        for kind, stride in KINDS.items()
        for base in BASES
        for least in ((1, 16) if base < 16 else (1,))
    }
    taken: dict[tuple[str, str], list[float]] = {}
    parameters: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="segnode-stem-") as name:
        patch = np.random.default_rng(0).normal(size=recipe.grid.patch_zyx).astype(np.float32)
        for network, net in nets.items():
            print(network, file=sys.stderr)
            path = Path(name, f"{len(parameters)}.onnx")
            parameters[network] = _export(recipe, net, path)
            for engine in ENGINES:
                student = Student(path, chosen.threads, engine)  # not all at once: gigabytes
                student(patch)
                taken[network, engine] = [_seconds(student, patch) for _ in range(chosen.runs)]
    head = ("network", "parameters", *(f"{engine}, s a patch" for engine in ENGINES))
    rows = [
        (
            network,
            f"{count:,}",
            *(f"{statistics.median(taken[network, e]):.3f}" for e in ENGINES),
        )
        for network, count in parameters.items()
    ]
    size = " × ".join(str(edge) for edge in recipe.grid.patch_zyx)
    runs = f"{chosen.task}, a patch of {size}, {chosen.threads} threads, random weights"
    origin = page.origin(f"{runs}: medians of {chosen.runs} runs")
    text = "\n".join([origin, "", page.table(head, rows)])
    print(text)
    if chosen.write:
        page.write(f"Stem or width, {chosen.task}", text)


def _seconds(student: Student, patch: np.ndarray) -> float:
    begin = time.perf_counter()
    student(patch)
    return time.perf_counter() - begin


def _export(recipe: Recipe, net: Net, path: Path) -> int:
    """Write a network of this build with random weights; return its number of parameters."""
    alone = msgspec.structs.replace(recipe, sizes={"small": net})
    with seeded(0):
        network = UNet(alone.topology("small"), recipe.n_classes).eval()
    patch = np.zeros(recipe.grid.patch_zyx, np.float32)
    export(network, recipe.grid.patch_zyx, [patch], path)
    return parameters_of(network)


if __name__ == "__main__":
    main()
