"""Dice on fixed patches of held-out cases, while a network trains: a hint, not a result.

The patches are the same at every call. Results come from `kd.evaluation` alone.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import torch
from torch import nn

from kd.data.batches import Batches, Source, SyntheticBatches
from kd.data.cache import cached_cases
from kd.data.cases import read_anatomy
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from kd.recipe.read import Recipe

WATCHED_CASES = 4
PATCHES = 4


def watched_patches(
    recipe: Recipe,
    folder: Path,
    names: Sequence[str],
    device: torch.device,
    cache: Path | None = None,
) -> Source | None:
    """Return a source of patches of the first held-out cases; None without held-out cases.

    Raises:
        BadCase: a case cannot be used.
    """
    chosen = names[:WATCHED_CASES]
    if not chosen:
        return None
    patch = recipe.training_patch_zyx
    choice = msgspec.structs.replace(recipe.training, batch=1, foreground_share=1.0, is_thin=False)
    if recipe.generator is not None:
        maps = [read_anatomy(recipe, folder, name) for name in chosen]
        return SyntheticBatches(maps, patch, choice, recipe.generator, device)
    return Batches(cached_cases(recipe, folder, chosen, cache), patch, choice, device)


def patch_dice(network: nn.Module, source: Source, device: torch.device) -> float:
    """Return the mean Dice over the classes that are in the patches' labels.

    Args:
        network: with running statistics; it is switched to evaluation.
        source: from `watched_patches`.
        device: of both.
    """
    assert isinstance(network, UNet)
    network.eval()
    overlap, sizes, present = (torch.zeros(network.n_classes, device=device) for _ in range(3))
    for step in range(PATCHES):
        batch = source.at(step, None)
        with torch.no_grad(), autocast(device):
            best = network.finest(batch.image_bczyx).argmax(1).flatten()
        labels = batch.labels_bzyx.long().flatten()
        count = network.n_classes
        overlap += torch.bincount(labels[best == labels], minlength=count)
        present += torch.bincount(labels, minlength=count)
        sizes += torch.bincount(labels, minlength=count) + torch.bincount(best, minlength=count)
    known = present[1:] > 0
    if not bool(known.any()):
        return 0.0
    return float((2 * overlap[1:][known] / sizes[1:][known]).mean())
