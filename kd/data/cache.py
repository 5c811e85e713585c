"""Prepared cases on disk, mapped into memory: a data set may be larger than the memory.

Promises: a case is prepared once for all commands with the same choices. Its key is a digest of its
two files and of every choice that changes it, so that a changed file or recipe is prepared anew.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from kd.data.cases import Case, case_files, prepare, read_cases, read_pair
from kd.errors import BadCase
from kd.recipe.read import Recipe
from node import durable
from node.imaging import Grid, Labels, Volume

CACHE_FORMAT = 1
IMAGE, LABELS, DESCRIPTION = "image.npy", "labels.npy", "case.json"  # after the key and a point
KEY_CHARACTERS = 32


class _Description(msgspec.Struct, frozen=True):
    """What a prepared case has besides its two arrays."""

    affine: tuple[tuple[float, ...], ...]
    unknown: tuple[int, ...]


def cached_cases(
    recipe: Recipe, folder: Path, names: Sequence[str], cache: Path | None
) -> list[Case]:
    """Return prepared cases in the order of `names`; their arrays are mapped from the cache.

    Args:
        recipe: of the cases.
        folder: the data set.
        names: of the cases.
        cache: folder of prepared cases, made on demand; None: the cases are held in memory.

    Raises:
        BadCase: of the first case that cannot be used, or the cache cannot be written.
    """
    if cache is None:
        return read_cases(recipe, folder, names)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return [_case(recipe, folder, name, cache) for name in names]
    except OSError as exc:
        message = f"the cache {cache} cannot be used: {exc.strerror or exc}"
        raise BadCase(message, advice="Free some space, or leave out --cache") from exc


def _case(recipe: Recipe, folder: Path, name: str, cache: Path) -> Case:
    files = case_files(recipe.data, folder, name)
    if not all(path.is_file() for path in files):
        return prepare(recipe, read_pair(recipe, folder, name))  # raises, with the file's name
    key = cache / _key(recipe, files)
    if (mapped := _mapped(name, key)) is not None:
        return mapped
    case = prepare(recipe, read_pair(recipe, folder, name))
    _save(case, key)
    return _mapped(name, key) or case


def _key(recipe: Recipe, files: Sequence[Path]) -> str:
    """Return the digest of the files of a case and of all choices that change it."""
    data = recipe.data
    choices = (recipe.grid, recipe.intensity, recipe.n_classes, data.partial, data.negatives)
    digest = hashlib.sha256(msgspec.json.encode((CACHE_FORMAT, choices)))
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:KEY_CHARACTERS]


def _save(case: Case, key: Path) -> None:
    """Write a case; its description, which is written last, completes it."""
    for ending, array in ((IMAGE, case.image.array), (LABELS, case.labels.array)):
        with durable.replacing(_path(key, ending)) as file:
            np.save(file, array, allow_pickle=False)
    affine = tuple(tuple(float(value) for value in row) for row in case.image.grid.affine)
    content = msgspec.json.encode(_Description(affine, case.unknown))
    durable.write(_path(key, DESCRIPTION), content)


def _mapped(name: str, key: Path) -> Case | None:
    """Return a case of the cache; None where it is not there, or damaged."""
    try:
        raw = _path(key, DESCRIPTION).read_bytes()
        described = msgspec.json.decode(raw, type=_Description)
        # "c", copy on write: torch warns of arrays that cannot be written
        image, labels = (
            np.load(_path(key, ending), mmap_mode="c", allow_pickle=False)
            for ending in (IMAGE, LABELS)
        )
        grid = Grid(image.shape, np.array(described.affine))
        return Case(name, Volume(image, grid), Labels(labels, grid), described.unknown)
    except (OSError, ValueError, EOFError, msgspec.MsgspecError):
        return None


def _path(key: Path, ending: str) -> Path:
    return key.with_name(f"{key.name}.{ending}")
