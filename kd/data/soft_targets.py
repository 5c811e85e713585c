"""Soft targets: the teacher's probabilities for every training case, written before students train.

With a teacher of several folds, the map of a case is from the network of the fold that was not
trained on it: students learn what generalises, not what was memorised. With `augment.mirror_left`
maps are averaged over both directions: the students get the benefit without the cost.
Shapes: K classes, Z Y X voxels of the prepared case.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kd.data.cases import Case
from kd.errors import BadTeacher
from kd.networks.precision import autocast
from kd.recipe.read import Recipe
from node import durable
from node.imaging.patches import score_rows
from node.imaging.volume import FloatArray

MAKER = "maker.txt"  # in a folder of maps: the digest of the teacher that made them
TRAINING_CASES = "training_cases.json"  # beside it: the cases that this teacher was trained on
REPORT_EVERY = 10  # maps
LEAST_PROBABILITY = 1e-6  # float16 holds its logarithm, -13.8, well

SoftMap = npt.NDArray[np.float16]  # log-probabilities [K, Z, Y, X]


def soft_map(
    case: Case, teachers: Sequence[nn.Module], recipe: Recipe, device: torch.device
) -> SoftMap:
    """Return the mean of the teachers' probabilities as logarithms."""

    def network(patch_zyx: FloatArray) -> FloatArray:
        image = torch.from_numpy(np.ascontiguousarray(patch_zyx)).to(device)[None, None]
        views = torch.cat([image, image.flip(4)]) if recipe.augment.mirror_left else image
        with torch.no_grad(), autocast(device):
            probabilities = [teacher(views).float().softmax(1) for teacher in teachers]
        mean = torch.stack(probabilities).mean(0)
        if recipe.augment.mirror_left:
            mean = (mean[:1] + mean[1:].flip(4)) / 2
        result: FloatArray = mean[0].cpu().numpy()
        return result

    grid = recipe.grid
    rows = list(score_rows(case.image.array, grid.patch_zyx, grid.overlap, network))
    probabilities = np.stack(rows, axis=1)
    return np.log(np.maximum(probabilities, LEAST_PROBABILITY)).astype(np.float16)


@dataclass(frozen=True)
class Makers:
    """The networks that make maps, and the cases that these were trained on."""

    of: Callable[[str], Sequence[nn.Module]]  # name of a case -> the mean of these is its map
    cases_used: Sequence[str]  # by any of them: no student may be evaluated on these
    is_over: Callable[[], bool] = lambda: False  # whether no further map is begun


def write_maps(
    cases: Sequence[Case],
    makers: Makers,
    recipe: Recipe,
    device: torch.device,
    folder: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> int:
    """Write `<case>.npy` for each case that has none yet; return how many were written.

    Args:
        cases: prepared cases.
        makers: the networks of each case, and the cases that they were trained on.
        recipe: patch, overlap, and whether left and right may be mirrored.
        device: of the teachers.
        folder: of the maps.
        say: called with a sentence every few maps.

    Raises:
        BadTeacher: the folder holds maps of another teacher, or the disk is full.
    """
    maker = _maker(cases, makers.of, recipe)
    written = 0
    try:
        _claim(folder, maker)
        durable.remove_leftovers(folder)
        durable.write(folder / TRAINING_CASES, msgspec.json.encode(makers.cases_used))
        for case in cases:
            path = folder / f"{case.name}.npy"
            if not path.exists():
                if makers.is_over():
                    break
                _save(soft_map(case, makers.of(case.name), recipe, device), path)
                written += 1
                if written % REPORT_EVERY == 0:
                    say(f"{written} soft targets written, of at most {len(cases)}")
    except OSError as exc:
        message = f"the soft targets in {folder.name} could not be saved: {exc.strerror}"
        raise BadTeacher(message, advice="Free some space; the same command resumes") from exc
    return written


def _save(soft: SoftMap, path: Path) -> None:
    with durable.replacing(path) as file:
        np.save(file, soft, allow_pickle=False)


def _claim(folder: Path, maker: str) -> None:
    """Bind `folder` to one maker, so that maps of two teachers never mix."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MAKER
    if path.exists() and path.read_text(encoding="utf-8") != maker:
        message = f"the folder {folder.name} holds soft targets of another teacher"
        raise BadTeacher(message, advice="Remove that folder, or give another one")
    if not path.exists() and any(folder.glob("*.npy")):
        message = f"the soft targets in {folder.name} have no record of their teacher"
        raise BadTeacher(message, advice="Remove that folder, or give another one")
    durable.write(path, maker.encode())


def _maker(
    cases: Sequence[Case], teachers_of: Callable[[str], Sequence[nn.Module]], recipe: Recipe
) -> str:
    """Return the SHA-256 over all that a map depends on but the case itself."""
    choices = (recipe.grid, recipe.intensity, recipe.augment.mirror_left)
    digest = hashlib.sha256(msgspec.json.encode(choices))
    known: dict[int, bytes] = {}  # by identity: one network makes the maps of many cases
    for case in cases:
        for teacher in teachers_of(case.name):
            if id(teacher) not in known:
                known[id(teacher)] = weights_digest(teacher)
            digest.update(case.name.encode() + known[id(teacher)])
    return digest.hexdigest()


def weights_digest(network: nn.Module) -> bytes:
    """Return the SHA-256 of all weights and their names."""
    digest = hashlib.sha256()
    for name, weight in network.state_dict().items():
        digest.update(name.encode() + weight.cpu().contiguous().numpy().tobytes())
    return digest.digest()


def read_maps(cases: Sequence[Case], n_classes: int, folder: Path) -> list[SoftMap]:
    """Return the maps of `cases`, mapped into memory.

    Raises:
        BadTeacher: a map is missing, damaged or has another shape; the message names the case.
    """
    maps = []
    for case in cases:
        try:
            # mapped, copy on write: the maps of many classes are larger than the images
            soft = np.load(folder / f"{case.name}.npy", mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError, EOFError) as exc:
            message = f"case {case.name} has no readable soft target"
            raise BadTeacher(message, advice="Run kd teach to its end") from exc
        if soft.shape != (n_classes, *case.labels.array.shape) or soft.dtype != np.float16:
            message = f"the soft target of case {case.name} has another shape than the case"
            raise BadTeacher(message, advice="It was made with another recipe: make it again")
        maps.append(soft)
    return maps


def missing_maps(names: Iterable[str], folder: Path) -> list[str]:
    """Return the cases that have no map in `folder` yet."""
    return [name for name in names if not (folder / f"{name}.npy").exists()]


def training_cases_of(folder: Path) -> tuple[str, ...]:
    """Return the cases that were used in training the networks that made the maps.

    Raises:
        BadTeacher: the record is missing or damaged.
    """
    path = folder / TRAINING_CASES
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.MsgspecError) as exc:
        message = f"{folder.name}/{TRAINING_CASES} cannot be read"
        raise BadTeacher(message, advice="The command that wrote the maps writes it again") from exc


def maps_digest(cases: Sequence[Case], folder: Path) -> str:
    """Return the SHA-256 over the maps of `cases`, which identifies the teacher of a student."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update((folder / f"{case.name}.npy").read_bytes())
    return digest.hexdigest()
