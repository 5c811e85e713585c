"""Time synthesis and training of a recipe with a generator: which is the bottleneck?

    python benchmarks/synthesis.py kd/recipes/brain-mr.yaml --data DATA [--threads 2] [--rounds 5]

One label map, one view per step; medians of alternated rounds. Nothing is kept.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from kd.data.augment import Batch
from kd.data.batches import SyntheticBatches
from kd.data.cases import read_anatomy
from kd.data.splits import names_of
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from kd.recipe.read import read_recipe
from kd.training.losses import deep_supervision
from kd.training.runs import new_network
from kd.training.trainer import pick_device


def main() -> None:
    """Measure and print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device, recipe = pick_device(chosen.device), read_recipe(chosen.recipe)
    if recipe.generator is None:
        parser.error("the recipe has no generator")
    name = names_of(recipe, chosen.data, recipe.data.train)[0]
    patch, choice = recipe.training_patch_zyx, recipe.training
    maps = [read_anatomy(recipe, chosen.data, name)]
    source = SyntheticBatches(maps, patch, choice, recipe.generator, device)
    print(f"patch {patch}, batch {choice.batch}, {chosen.threads} threads, {device}")
    for size in recipe.sizes:
        network = new_network(recipe, size).to(device)
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stub
        synthesis, training = [], []
        for at in range(chosen.rounds + 1):
            begin = _now(device)
            batch = source.at(at, None)
            ready = _now(device)
            _step(network, batch, device)
            synthesis.append(ready - begin)
            training.append(_now(device) - ready)
        making, step = (statistics.median(taken[1:]) for taken in (synthesis, training))
        share = f"{making / step:.0%}"
        print(f"{size}: synthesis {making:.3f} s, training {step:.3f} s a step: {share}")


def _step(network: UNet, batch: Batch, device: torch.device) -> None:
    """Do the forward and backward pass of one step."""
    with autocast(device):
        image = batch.image_bczyx.contiguous(memory_format=torch.channels_last_3d)
        outputs = network.deep(image)
    deep_supervision(outputs, batch.labels_bzyx).backward()  # type: ignore[no-untyped-call]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
