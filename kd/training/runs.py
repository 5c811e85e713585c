"""The folders of a recipe's runs and the networks in them, trained here or imported."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from kd.errors import BadTeacher
from kd.networks.imported import read_imported_network
from kd.networks.unet import Ensemble, UNet
from kd.recipe.read import TEACHER, Recipe
from kd.records import Run
from kd.training.checkpoints import BEST, CHECKPOINT
from kd.training.trainer import averaged_network, seeded


def fold_run(runs: Path, number: int) -> Path:
    """Return the folder of one fold of the teacher."""
    return runs / f"teacher_{number}"


def new_network(recipe: Recipe, size: str) -> UNet:
    """Return an untrained network of one size, the same for the same seed."""
    with seeded(recipe.training.seed):
        return UNet(recipe.topology(size), recipe.n_classes)


def open_run(recipe: Recipe, size: str, run: Path, device: torch.device) -> tuple[nn.Module, Run]:
    """Return the averaged network of a run, ours or imported, and the run's record.

    Args:
        recipe: of the run.
        size: of the run.
        run: its folder, for the last step; or `best.pt` in it.
        device: of the network.

    Raises:
        KdError: there is no checkpoint, or it does not fit.
    """
    folder, name = (run.parent, BEST) if run.name == BEST else (run, CHECKPOINT)
    imported = read_imported_network(folder)
    if imported is None:
        return averaged_network(new_network(recipe, size), folder, device, name)
    if imported.n_classes != recipe.n_classes:
        message = (
            f"run {folder.name} has {imported.n_classes} classes, the recipe {recipe.n_classes}"
        )
        raise BadTeacher(message)
    return averaged_network(UNet(imported.topology, imported.n_classes), folder, device)


def open_runs(
    recipe: Recipe, size: str, runs: Sequence[Path], device: torch.device
) -> tuple[nn.Module, list[Run]]:
    """Return the network of one run, or the ensemble of several, and the record of each.

    Raises:
        KdError: there is no checkpoint, or it does not fit.
    """
    opened = [open_run(recipe, size, run, device) for run in runs]
    networks, records = [network for network, _ in opened], [record for _, record in opened]
    return (networks[0] if len(networks) == 1 else Ensemble(networks).eval()), records


def released_runs(recipe: Recipe, runs: Path, size: str) -> tuple[Path, ...]:
    """Return the folders that are released as one size: one run, or the teacher's folds."""
    if size == TEACHER and recipe.released_teacher == "ensemble":
        return tuple(fold_run(runs, number) for number in range(recipe.folds))
    # a single fold without a separate teacher run is the teacher
    is_only_fold = size == TEACHER and recipe.folds == 1 and not (runs / size).exists()
    return (fold_run(runs, 0) if is_only_fold else runs / size,)


def imported_folds(runs: Path) -> tuple[tuple[str, ...], ...]:
    """Return the held-out cases of each imported fold; nothing if the teacher is trained here."""
    held_out: list[tuple[str, ...]] = []
    while (imported := read_imported_network(fold_run(runs, len(held_out)))) is not None:
        held_out.append(imported.held_out)
    return tuple(held_out)
