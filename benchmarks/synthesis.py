"""Time synthesis and training of a recipe with a generator: which one is the bottleneck?

    python benchmarks/synthesis.py kd/recipes/brain-mr.yaml --data DATA [--threads 1] [--rounds 8]

Prints the median seconds of a batch, of a step of each size on labels alone, and of the teacher's
evaluation, which is a part of each distilled step. On a CPU they are processor time, which other
processes do not change. All take turns in each round; the first round is not counted.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from kd.data.batches import DistillationBatches, SyntheticBatches
from kd.data.cases import read_anatomy
from kd.data.splits import names_of
from kd.recipe.read import read_recipe
from kd.training.losses import supervised
from kd.training.runs import new_network
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import Trainer, pick_device

MAPS = 3  # label maps


def main() -> None:
    """Measure, and print one line for each part of a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device, recipe = pick_device(chosen.device), read_recipe(chosen.recipe)
    if recipe.generator is None:
        parser.error("the recipe has no generator")
    names = names_of(recipe, chosen.data, recipe.data.train)[:MAPS]
    maps = [read_anatomy(recipe, chosen.data, name) for name in names]
    patch, choice = recipe.training_patch_zyx, recipe.training
    source = SyntheticBatches(maps, patch, choice, recipe.generator, device)
    teacher = new_network(recipe, recipe.fold_size).to(device).eval()
    trainers = {
        size: Trainer(
            new_network(recipe, size), new_run(recipe, TrainingTask(size, names), None), device
        )
        for size in recipe.sizes
    }
    taken: dict[str, list[float]] = defaultdict(list)
    for step in range(chosen.rounds + 1):
        with _timed(taken["synthesis"], device):
            batch = source.at(step, None)
        with _timed(taken["both"], device):
            DistillationBatches(source, [teacher], device).at(step, None)
        taken["teacher evaluated"].append(taken.pop("both")[0] - taken["synthesis"][-1])
        for size, trainer in trainers.items():
            with _timed(taken[f"step of {size}"], device):
                trainer.train_step(batch, supervised(choice.balance))
    print(f"patch {patch}, batch {choice.batch}, {chosen.threads} threads, {device}")
    for name, seconds in taken.items():
        print(f"{name}: {statistics.median(seconds[1:]):.3f} s")


@contextmanager
def _timed(taken: list[float], device: torch.device) -> Iterator[None]:
    begun = _now(device)
    yield
    taken.append(_now(device) - begun)


def _now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
