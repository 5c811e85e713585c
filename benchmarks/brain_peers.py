"""Compare the brain package with brainchop's networks on scans with FreeSurfer labels.

    python benchmarks/brain_peers.py --data SCANS --peers NETWORKS [--package brain-mr/1.3]
        [--sizes teacher small tiny] [--rounds 1] [--json]

SCANS has the scans with FreeSurfer labels that kd/recipes/brain-mr.yaml lists under `external`.
NETWORKS has brainchop's two networks as ONNX, [1, 1, left, down, front] to scores of 18 classes:
meshnet_subcortical.onnx and sae_big_robust_tissue.onnx. Neither folder is part of this repository.
All networks are scored on the voxels of the scan, with left and right merged, because brainchop's
classes have no side. Seconds are processor seconds of one thread from voxels to labels, on this
machine, now: time in which the processor does other work does not count.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import conform
import numpy as np
import onnx
import page
from msgspec.structs import replace

from kd.data.cases import Pair, read_files
from kd.data.external import images_of
from kd.data.ids import LEFT_OUT, read_ids
from kd.errors import KdError
from kd.recipe.read import read_recipe
from node.imaging import Volume
from node.package import Package, load, resolve
from node.package.folder import models_in
from node.package.manifest import Segment
from node.pipeline import dice, open_student, segment
from node.student import Student

RECIPE = page.ROOT / "kd" / "recipes" / "brain-mr.yaml"
IDS = "brain-mr-ids-freesurfer.csv"
# brainchop's class n is number n of this list; the package's labels without the side
STRUCTURES = (
    "cerebral white matter",
    "cerebral cortex",
    "lateral ventricle",
    "inferior lateral ventricle",
    "cerebellar white matter",
    "cerebellar cortex",
    "thalamus",
    "caudate nucleus",
    "putamen",
    "globus pallidus",
    "third ventricle",
    "fourth ventricle",
    "brain stem",
    "hippocampus",
    "amygdala",
    "nucleus accumbens",
    "ventral diencephalon",
)
WHITE_MATTER, CORTEX, HIPPOCAMPUS = (STRUCTURES[n] for n in (0, 1, 13))
PEERS = {
    "brainchop MeshNet": ("meshnet_subcortical.onnx", conform.min_max),
    "brainchop SAE": ("sae_big_robust_tissue.onnx", conform.quantiles),
}
HEAD = (
    "scan",
    "network",
    "parameters",
    "mean Dice of 17",
    "white matter",
    "cortex",
    "hippocampus",
    "volume of white matter",
    "volume of cortex",
    "processor seconds, now",
)

Bytes = conform.Bytes
Answer = Callable[[Volume], Bytes]  # a scan's volume to merged labels on its grid


@dataclass(frozen=True)
class Method:
    """A network with its own preprocessing; `open` loads it."""

    name: str
    parameters: int
    open: Callable[[], Answer]


@dataclass
class Result:
    """One network on one scan."""

    scan: str
    network: str
    parameters: int
    dice: dict[str, float]  # by structure
    volume_share: dict[str, float]  # of the reference's volume, by structure
    seconds: list[float]  # processor seconds of each round

    @property
    def mean_dice(self) -> float:
        """Return the mean Dice of all structures."""
        return statistics.fmean(self.dice.values())


def main() -> None:
    """Read, run, score and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the scans")
    parser.add_argument("--peers", type=Path, required=True, help="folder of brainchop's networks")
    parser.add_argument("--package", default="brain-mr", help="default: the newest brain-mr")
    parser.add_argument("--sizes", nargs="+", default=["teacher", "small", "tiny"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON, with exact values")
    chosen = parser.parse_args()
    package = resolve(chosen.package, [load(path) for path in models_in(page.ROOT / "models")])
    if unknown := set(chosen.sizes) - set(package.manifest.sizes):
        parser.error(f"{package.name} has no size {min(unknown)}")
    for file, _ in PEERS.values():
        if not (chosen.peers / file).is_file():
            parser.error(f"{chosen.peers} has no {file}")
    table = side_table(package.manifest.segments)
    try:
        pairs = scans_in(chosen.data)
    except KdError as exc:
        parser.error(str(exc))
    methods = [ours(package, size, table) for size in chosen.sizes] + peers_in(chosen.peers)
    results = measure(methods, pairs, table, chosen.rounds)
    if chosen.json:
        rows = [asdict(one) | {"mean_dice": one.mean_dice} for one in results]
        print(json.dumps({"package": package.name, "results": rows}, indent=2))
        return
    runs = f"one thread, processor seconds on this machine, now: medians of {chosen.rounds} runs"
    print("\n".join([page.origin(runs), "", page.table(HEAD, [_row(one) for one in results])]))


def scans_in(folder: Path) -> list[Pair]:
    """Read the scans with FreeSurfer labels; labels get the package's numbers, with sides.

    Raises:
        BadCase: a scan is missing or cannot be used.
    """
    recipe, folder = read_recipe(RECIPE), folder.resolve()
    ids = read_ids(RECIPE.parent / IDS, tuple(part.number for part in recipe.segments))
    pairs = []
    for listed in (one for one in recipe.external if one.ids == IDS):
        here = replace(listed, images=folder.name)
        for name, image in images_of(here, folder.parent).items():
            labels = folder / f"{name}{listed.label_ending}"
            pairs.append(read_files(name, image, labels, recipe.n_classes, ids))
    return pairs


def ours(package: Package, size: str, table: Bytes) -> Method:
    """Return one size of the package, run by the node's own pipeline."""

    def opened() -> Answer:
        student = open_student(package, size, threads=1)
        return lambda volume: table[segment(volume, package, student).labels.array]

    network = next(one for name, one in package.manifest.sizes.items() if name == size)
    return Method(f"{package.name} {size}", network.parameters, opened)


def peers_in(folder: Path) -> list[Method]:
    """Return brainchop's networks."""
    methods = []
    for name, (file, normalise) in PEERS.items():
        weights = onnx.load(folder / file).graph.initializer
        parameters = sum(int(np.prod(weight.dims)) for weight in weights)
        methods.append(Method(name, parameters, partial(_open_peer, folder / file, normalise)))
    return methods


def _open_peer(path: Path, normalise: Callable[[Bytes], conform.Floats]) -> Answer:
    network = Student(path, threads=1)

    def answer(volume: Volume) -> Bytes:
        whole = conform.conform(volume)
        box = conform.head_box(whole.array)
        labels = np.zeros_like(whole.array)
        labels[box] = network(normalise(whole.array)[box]).argmax(0)
        return whole.labels_back(labels)

    return answer


def side_table(segments: Sequence[Segment]) -> Bytes:
    """Return the structure (1 to 17) of each of the package's numbers, as a table of 256 bytes.

    Left and right become one structure, segments without a counterpart become background, and
    LEFT_OUT keeps its value.
    """
    table = np.zeros(256, np.uint8)
    table[LEFT_OUT] = LEFT_OUT
    for part in segments:
        name = part.label.removeprefix("Left ").removeprefix("Right ").lower()
        if name in STRUCTURES:
            table[part.number] = STRUCTURES.index(name) + 1
    if lacking := set(range(1, len(STRUCTURES) + 1)) - set(table.tolist()):
        message = f"the package has no segment for {STRUCTURES[min(lacking) - 1]}"
        raise SystemExit(message)
    return table


def measure(
    methods: Sequence[Method], pairs: Sequence[Pair], table: Bytes, rounds: int
) -> list[Result]:
    """Run every network on every scan; the networks take turns, and one is loaded at a time."""
    results: dict[tuple[str, str], Result] = {}
    for at in range(rounds):
        for method in methods:
            answer = method.open()
            for pair in pairs:
                begin = time.process_time()
                labels = answer(pair.image)
                seconds = time.process_time() - begin
                key = (pair.name, method.name)
                if key not in results:
                    scores = compare(labels, table[pair.labels.array])
                    results[key] = Result(*key, method.parameters, *scores, [])
                results[key].seconds.append(seconds)
                row = ", ".join(_row(results[key]))
                print(f"round {at + 1}: {row}", file=sys.stderr)
    return [results[pair.name, method.name] for pair in pairs for method in methods]


def compare(labels: Bytes, reference: Bytes) -> tuple[dict[str, float], dict[str, float]]:
    """Return Dice and the share of the reference's volume by structure.

    Voxels that are LEFT_OUT in the reference count nowhere.
    """
    scored = reference != LEFT_OUT
    overlaps, shares = {}, {}
    for number, name in enumerate(STRUCTURES, start=1):
        result, expected = (labels == number) & scored, reference == number
        overlaps[name] = dice(result, expected)
        shares[name] = int(result.sum()) / max(int(expected.sum()), 1)
    return overlaps, shares


def _row(one: Result) -> tuple[str, ...]:
    overlaps = (one.mean_dice, *(one.dice[n] for n in (WHITE_MATTER, CORTEX, HIPPOCAMPUS)))
    shares = (one.volume_share[name] for name in (WHITE_MATTER, CORTEX))
    cells = (*(f"{value:.3f}" for value in overlaps), *(f"{value:.2f}" for value in shares))
    seconds = f"{statistics.median(one.seconds):.1f}"
    return (one.scan, one.network, f"{one.parameters:,}", *cells, seconds)


if __name__ == "__main__":
    main()
