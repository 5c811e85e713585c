"""Prepared cases on disk: the same batches, prepared once, anew after every change."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from kd.commands import main
from kd.data.batches import Batches
from kd.data.cache import cached_cases
from kd.data.cases import Case, read_cases
from kd.errors import BadCase
from node.imaging import Labels, Volume
from node.imaging.nifti import read_labels, write
from tests.support.kd_phantoms import data_set, pair, recipe, write_recipe

NAMES = ("ball_0", "ball_1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data_set(tmp_path / "balls", 2, 1)


def _first(folder: Path, cache: Path, **changes: object) -> Case:
    chosen = msgspec.structs.replace(recipe(), **changes) if changes else recipe()
    return cached_cases(chosen, folder, NAMES[:1], cache)[0]


def _files(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir()}


def test_mapped_cases_equal_those_in_memory(folder: Path, tmp_path: Path) -> None:
    plain = read_cases(recipe(), folder, NAMES)
    for _ in range(2):  # written, then read
        mapped = cached_cases(recipe(), folder, NAMES, tmp_path / "cache")
        for one, other in zip(mapped, plain, strict=True):
            assert isinstance(one.image.array, np.memmap)
            np.testing.assert_array_equal(one.image.array, other.image.array)
            np.testing.assert_array_equal(one.labels.array, other.labels.array)
            np.testing.assert_array_equal(one.image.grid.affine, other.image.grid.affine)
            assert (one.name, one.unknown) == (other.name, other.unknown)
    assert len(_files(tmp_path / "cache")) == 6


def test_batches_of_mapped_cases_are_the_same(folder: Path, tmp_path: Path) -> None:
    chosen, cpu = recipe(), torch.device("cpu")
    sources = [
        Batches(cached_cases(chosen, folder, NAMES, cache), (16, 16, 16), chosen.training, cpu)
        for cache in (None, tmp_path / "cache")
    ]
    for step in range(3):
        one, other = (source.at(step, chosen.augment) for source in sources)
        assert torch.equal(one.image_bczyx, other.image_bczyx)
        assert torch.equal(one.labels_bzyx, other.labels_bzyx)


def test_a_case_is_prepared_anew_if_a_file_or_a_choice_changes(
    folder: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    _first(folder, cache)
    before = _files(cache)
    _first(folder, cache)
    assert _files(cache) == before, "nothing changed"
    grid = msgspec.structs.replace(recipe().grid, spacing_mm_zyx=(2.0, 2.0, 2.0))
    assert _first(folder, cache, grid=grid).image.array.shape == (10, 12, 10)
    assert len(_files(cache)) == 6
    image, labels = pair(7)
    write(Volume(image.array, image.grid), folder / "images" / "ball_0.nii.gz")
    write(Labels(labels.array, labels.grid), folder / "labels" / "ball_0.nii.gz")
    np.testing.assert_array_equal(
        _first(folder, cache).labels.array,
        read_labels(folder / "labels" / "ball_0.nii.gz").array,
    )


@pytest.mark.parametrize("ending", ["image.npy", "labels.npy", "case.json"])
@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_file_of_the_cache_is_written_again(
    folder: Path, tmp_path: Path, ending: str, content: bytes
) -> None:
    cache = tmp_path / "cache"
    whole = _first(folder, cache).image.array.copy()
    (path,) = cache.glob(f"*.{ending}")
    path.write_bytes(content)
    np.testing.assert_array_equal(_first(folder, cache).image.array, whole)
    assert path.read_bytes() != content


def test_what_is_written_to_a_mapped_array_stays_in_memory(folder: Path, tmp_path: Path) -> None:
    case = _first(folder, tmp_path / "cache")
    case.image.array[:] = 1000
    assert _first(folder, tmp_path / "cache").image.array.max() < 1000


def test_a_missing_file_is_named_with_a_cache_too(folder: Path, tmp_path: Path) -> None:
    (folder / "labels" / "ball_0.nii.gz").unlink()
    with pytest.raises(BadCase, match=r"case ball_0: its label file ball_0\.nii\.gz is missing"):
        _first(folder, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(BadCase, match=r"the cache .* cannot be used: .*leave out --cache"):
        _first(folder, tmp_path / "file" / "cache")


@pytest.mark.slow
def test_a_training_with_a_cache_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    words = ["train", str(write_recipe(tmp_path / "r.yaml")), "--data", str(folder)]
    words += ["--size", "small", "--device", "cpu", "--steps", "3", "--run"]
    assert main([*words, str(tmp_path / "a")]) == 0
    assert main([*words, str(tmp_path / "b"), "--cache", str(tmp_path / "cache")]) == 0
    one, other = (
        torch.load(tmp_path / run / "checkpoint.pt", weights_only=True)["averaged"] for run in "ab"
    )
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name
