"""The average image: images of several people are aligned and averaged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kd.commands import main
from kd.data.average import average, landmarks
from kd.data.cases import Pair
from kd.errors import BadRecipe
from kd.recipe.read import read_recipe
from node.imaging import Grid, Labels, Volume
from node.imaging.nifti import read_volume
from tests.support.kd_phantoms import data_set, write_recipe

BALLS = np.array([[-20.0, 0, 10], [18, 5, 0], [0, -15, -12], [4, 12, 20]])  # LPS, mm
RADIUS = 6.0


def turned(degrees: float) -> np.ndarray:
    a = np.deg2rad(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


def person(name: str, degrees: float, scale: float, shift: tuple[float, ...], hu: float) -> Pair:
    """Four balls of 1000 in a box of `hu`, moved as a whole."""
    shape = (60, 70, 80)
    affine = np.array([[0, 0, 1.0, -40], [0, 1.0, 0, -35], [1.0, 0, 0, -30], [0, 0, 0, 1]])
    places = (affine @ np.vstack([np.indices(shape).reshape(3, -1), np.ones(np.prod(shape))]))[:3]
    array, labels = np.full(shape, hu, np.float32), np.zeros(shape, np.uint8)
    centres = BALLS @ (scale * turned(degrees)).T + np.array(shift)
    for number, centre in enumerate(centres, 1):
        near = np.linalg.norm(places - centre[:, None], axis=0).reshape(shape) < RADIUS * scale
        array[near], labels[near] = 1000, number
    grid = Grid(shape, affine)
    return Pair(name, Volume(array, grid), Labels(labels, grid))


PEOPLE = [
    person("a", 0, 1.0, (0, 0, 0), 0),
    person("b", 12, 0.9, (4, -3, 2), 20),
    person("c", -12, 1.1, (-4, 3, -2), 40),
]


def read() -> Iterator[Pair]:
    yield from PEOPLE


def test_rotated_scaled_and_shifted_images_are_aligned() -> None:
    mean = average(read, (1, 2, 3, 4), (2.0, 2.0, 2.0), -1000)
    assert mean.grid.spacing_mm == (2.0, 2.0, 2.0)
    bright = mean.array > 500
    share = bright.sum() * 8 / (4 * 4 / 3 * np.pi * RADIUS**3)
    assert 0.85 < share < 1.15, "balls that did not meet would be lost in the median"
    at = np.argwhere(bright).mean(0)
    middle = (mean.grid.affine @ np.append(at, 1))[:3]
    assert np.abs(middle).max() < 1.5, "around the middle of the structures"
    assert np.median(mean.array) == 20, "the median of three people"


def test_alignment_never_mirrors() -> None:
    mirrored = [person("a", 0, 1, (0, 0, 0), 0)]
    labels = mirrored[0].labels
    flipped = Labels(np.ascontiguousarray(labels.array[:, :, ::-1]), labels.grid)
    pairs = [PEOPLE[0], PEOPLE[0], Pair("m", mirrored[0].image, flipped)]
    mean = average(lambda: iter(pairs), (1, 2, 3, 4), (2.0, 2.0, 2.0), -1000)
    assert (mean.array > 500).sum() * 8 > 0.5 * 4 * 4 / 3 * np.pi * RADIUS**3, "two of three agree"


def _without(case: Pair, *numbers: int) -> Pair:
    array = np.where(np.isin(case.labels.array, numbers), 0, case.labels.array)
    return Pair(case.name, case.image, Labels(array.astype(np.uint8), case.labels.grid))


def test_a_structure_that_a_case_lacks_aligns_nothing() -> None:
    """Not everybody has a gallbladder."""
    pairs = [PEOPLE[0], PEOPLE[1], _without(PEOPLE[2], 4)]
    mean = average(lambda: iter(pairs), (1, 2, 3, 4), (2.0, 2.0, 2.0), -1000)
    share = (mean.array > 500).sum() * 8 / (4 * 4 / 3 * np.pi * RADIUS**3)
    assert 0.85 < share < 1.15
    with pytest.raises(BadRecipe, match="2 structures are in every case; alignment needs 3"):
        average(lambda: iter([PEOPLE[0], _without(PEOPLE[1], 1, 4)]), (1, 2, 3, 4), (2, 2, 2), 0)


def test_two_structures_are_too_few_to_align(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="alignment needs 3"):
        landmarks(read_recipe(write_recipe(tmp_path / "r.yaml")))


def test_the_command_reads_training_cases_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_set(tmp_path / "DATA", 3, 1)
    (folder / "images" / "ball_3.nii.gz").unlink()  # the test case
    monkeypatch.setattr("kd.data.average.FEWEST", 2)
    words = ["average", str(write_recipe(tmp_path / "r.yaml")), "--data", str(folder)]
    assert main([*words, "--out", str(tmp_path / "mean.nii.gz")]) == 0
    assert read_volume(tmp_path / "mean.nii.gz").array.max() > 0
