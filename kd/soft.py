"""Soft targets: what the teacher thinks of every training case, once, before students train.

A teacher of several folds gives each labelled case the map of the fold that has not seen it, so
that students learn what a teacher knows and not what it has memorised. Where the recipe mirrors
left and right, maps are averaged over it: the students get its benefit without its cost.
Shapes: K classes, Z Y X voxels of the prepared case.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kd.cases import Case
from kd.errors import BadTeacher
from kd.recipe import Recipe
from node.imaging.patches import score_rows
from node.imaging.volume import FloatArray

LEAST_PROBABILITY = 1e-6  # float16 holds its logarithm, -13.8, well

SoftMap = npt.NDArray[np.float16]  # log-probabilities [K, Z, Y, X]


def soft_map(
    case: Case, teachers: Sequence[nn.Module], recipe: Recipe, device: torch.device
) -> SoftMap:
    """Return the mean of the teachers' probabilities as logarithms."""

    def network(patch_zyx: FloatArray) -> FloatArray:
        image = torch.from_numpy(np.ascontiguousarray(patch_zyx)).to(device)[None, None]
        views = torch.cat([image, image.flip(4)]) if recipe.augment.mirror_left else image
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            found = [teacher(views).float().softmax(1) for teacher in teachers]
        mean = torch.stack(found).mean(0)
        if recipe.augment.mirror_left:
            mean = (mean[:1] + mean[1:].flip(4)) / 2
        result: FloatArray = mean[0].cpu().numpy()
        return result

    grid = recipe.grid
    rows = list(score_rows(case.image.array, grid.patch_zyx, grid.overlap, network))
    probabilities = np.stack(rows, axis=1)
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY)).astype(np.float16)


def write_maps(
    cases: Sequence[Case],
    teachers_of: Callable[[str], Sequence[nn.Module]],
    recipe: Recipe,
    device: torch.device,
    folder: Path,
) -> int:
    """Write `<case>.npy` for each case that has none yet; return how many were written.

    Args:
        cases: prepared cases.
        teachers_of: which networks may judge a case.
        recipe: patch, overlap, and whether left and right may be mirrored.
        device: of the teachers.
        folder: of the maps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for case in cases:
        path = folder / f"{case.name}.npy"
        if path.exists():
            continue
        found = soft_map(case, teachers_of(case.name), recipe, device)
        fresh = path.with_suffix(".partial")
        with fresh.open("wb") as file:
            np.save(file, found, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        written += 1
    return written


def read_maps(cases: Sequence[Case], n_classes: int, folder: Path) -> list[SoftMap]:
    """Read the maps of `cases`.

    Raises:
        BadTeacher: a map is missing, damaged or has another shape; the message names the case.
    """
    maps = []
    for case in cases:
        try:
            found = np.load(folder / f"{case.name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError) as exc:
            message = f"case {case.name} has no readable soft target"
            raise BadTeacher(message, advice="Run kd teach to its end") from exc
        if found.shape != (n_classes, *case.labels.array.shape) or found.dtype != np.float16:
            message = f"the soft target of case {case.name} has another shape than the case"
            raise BadTeacher(message, advice="It was made with another recipe: make it again")
        maps.append(found)
    return maps


def maps_digest(cases: Sequence[Case], folder: Path) -> str:
    """Return the SHA-256 over the maps of `cases`: which teacher a student listens to."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update((folder / f"{case.name}.npy").read_bytes())
    return digest.hexdigest()
