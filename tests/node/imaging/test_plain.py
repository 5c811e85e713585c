"""What is computed plane by plane, by box or by region gives the bits of the plain version."""

import numpy as np
import pytest
from numpy.typing import NDArray

from node.imaging import Grid, Labels, regions
from node.imaging.assign import assign_by_intensity, second_best
from node.imaging.intensity import (
    Clip,
    ClipPercentiles,
    IntensityStep,
    Standardise,
    ToUnitRange,
    ZScore,
    apply,
)
from node.imaging.region_steps import (
    KeepLargest,
    KeepLargestEach,
    KeepNear,
    RemoveSmall,
    ReplaceIslands,
)
from node.imaging.sharpen import IntensityModel
from node.imaging.volume import FloatArray
from tests.support import plain

STEPS: list[tuple[IntensityStep, ...]] = [
    (Clip(low=-250, high=600), Standardise(mean=40, std=150)),
    (ClipPercentiles(low=1, high=99), ToUnitRange()),
    (ZScore(),),
    (ZScore(nonzero_only=True),),
    (ZScore(nonzero_box=True),),
    (ZScore(nonzero_only=True, nonzero_box=True), Clip(low=-1, high=1)),
]


def scan(seed: int = 1) -> FloatArray:
    """Return intensities with an empty margin, [Z, Y, X]."""
    array = np.random.default_rng(seed).normal(100, 400, (13, 22, 31)).astype(np.float32)
    array[:2] = array[:, :, 25:] = 0
    return array


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_intensity_steps(steps: tuple[IntensityStep, ...], axes: tuple[int, int, int]) -> None:
    array = np.transpose(scan(), axes)[::-1]
    before = array.copy()
    result = apply(array, steps)
    assert np.array_equal(result, plain.intensity(array, steps))
    assert np.array_equal(array, before)
    assert result.dtype == np.float32


@pytest.mark.parametrize("step", [ZScore(nonzero_only=True), ToUnitRange(), ZScore()])
def test_an_image_of_zeros_stays_zero(step: IntensityStep) -> None:
    assert not apply(np.zeros((3, 4, 5), np.float32), (step,)).any()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0)])
@pytest.mark.parametrize("shape", [(18, 40, 44), (9, 20, 22), (5, 9, 50)])
def test_classes_by_intensity(
    shape: tuple[int, int, int], axes: tuple[int, int, int], threads: int
) -> None:
    draws = np.random.default_rng(3)
    n_classes = 7
    centres = draws.uniform(0, 1, (n_classes, 3)) * (9, 20, 22)
    places = np.stack(np.meshgrid(*map(np.arange, (9, 20, 22)), indexing="ij"), -1)
    distances = np.linalg.norm(places[None] - centres[:, None, None, None], axis=-1)
    rows = list(np.moveaxis((-2 * distances).astype(np.float32), 1, 0))
    rows = [np.where(np.arange(n_classes)[:, None, None] == 6, row - 500, row) for row in rows]
    coefficients = draws.uniform(-1, 0, (n_classes, 3)).astype(np.float32)
    model = IntensityModel(coefficients, outlier=-3.0, prior=0.5)
    image = draws.standard_normal(shape).astype(np.float32)
    expected = plain.by_intensity(rows, image, model)
    assert len(np.unique(expected)) == n_classes - 1  # the last class can win nowhere
    image = np.ascontiguousarray(image.transpose(axes)).transpose(axes)  # as of a turned volume
    assert np.array_equal(assign_by_intensity(rows, image, model, threads), expected)


def test_background_is_left_out_where_no_class_can_win() -> None:
    """Background has one log-likelihood, so it decides where other classes may be left out."""
    draws = np.random.default_rng(8)
    rows = list(draws.normal(0, 4, (9, 5, 20, 22)).astype(np.float32))
    for row in rows:
        row[0] += 8
        row[:, 12:] = np.array([30, 0, 0, 0, 0], np.float32)[:, None, None]
    coefficients = draws.uniform(-1, 0, (5, 3)).astype(np.float32)
    coefficients[0] = (-1.5, 0, 0)
    model = IntensityModel(coefficients, outlier=-3.0, prior=0.5)
    image = draws.standard_normal((18, 40, 44)).astype(np.float32)
    expected = plain.by_intensity(rows, image, model)
    assert len(np.unique(expected)) == 5
    assert np.array_equal(assign_by_intensity(rows, image, model), expected)


@pytest.mark.parametrize("shape", [(18, 40, 44), (9, 20, 22), (5, 9, 50)])
def test_second_best_classes_by_intensity(shape: tuple[int, int, int]) -> None:
    draws = np.random.default_rng(3)
    rows = list(draws.normal(0, 3, (9, 7, 20, 22)).astype(np.float32))
    coefficients = draws.uniform(-1, 0, (7, 3)).astype(np.float32)
    model = IntensityModel(coefficients, outlier=-3.0, prior=0.5)
    image = draws.standard_normal(shape).astype(np.float32)
    best = assign_by_intensity(rows, image, model)
    places = np.argwhere(draws.random(shape) < 0.3)
    at = tuple(places.T)
    second = second_best(rows, shape, places, best[at], (image, model))
    assert np.array_equal(second, plain.second_by_intensity(rows, image, model, best)[at])
    assert len(np.unique(second)) == 7


@pytest.mark.parametrize("threads", [1, 3])
def test_islands_get_the_second_best_class_of_their_places(threads: int) -> None:
    labels = blobs()
    seconds = np.random.default_rng(6).integers(4, 9, labels.array.shape).astype(np.uint8)

    def second(places: NDArray[np.int64], best: NDArray[np.uint8]) -> NDArray[np.uint8]:
        assert np.array_equal(best, labels.array[tuple(places.T)])
        return seconds[tuple(places.T)]

    step = ReplaceIslands(segments=(1, 3), ml=4 * labels.grid.voxel_ml)
    replaced = regions.apply(labels, (step,), second, threads).array
    islands = plain.islands(labels.array == 1, 4) | plain.islands(labels.array == 3, 4)
    assert np.array_equal(replaced, np.where(islands, seconds, labels.array))
    assert 0 < islands.sum() < np.isin(labels.array, (1, 3)).sum()


def test_islands_cannot_be_replaced_without_scores() -> None:
    with pytest.raises(ValueError, match="scores"):
        regions.apply(blobs(), (ReplaceIslands(segments=(1,), ml=1),))


def blobs() -> Labels:
    """Return labels 1 to 3 with many regions, some of the same size."""
    array = np.random.default_rng(5).integers(0, 4, (14, 20, 20)).astype(np.uint8)
    array[:3] = array[:, 16:] = 0
    array[5, 2:5, 2:5] = 1
    return Labels(array, Grid(array.shape, np.eye(4)))


def test_the_largest_region_of_several_segments() -> None:
    labels = blobs()
    kept = regions.apply(labels, (KeepLargest(segments=(1, 3)),)).array
    listed = np.isin(labels.array, (1, 3))
    expected = np.where(listed & ~plain.largest_region(listed), 0, labels.array)
    assert np.array_equal(kept, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_largest_region_of_each_segment(threads: int) -> None:
    labels = blobs()
    kept = regions.apply(labels, (KeepLargestEach(segments=(1, 2, 3)),), threads=threads).array
    for number in (1, 2, 3):
        assert np.array_equal(kept == number, plain.largest_region(labels.array == number))


def test_a_single_region_stays_whole() -> None:
    array = np.zeros((4, 6, 6), np.uint8)
    array[1:3, 1:4, 1:4] = 1
    labels = Labels(array, Grid(array.shape, np.eye(4)))
    for step in (KeepLargest(segments=(1,)), ReplaceIslands(segments=(1,), ml=100)):
        kept = regions.apply(labels, (step,), lambda _places, best: best * 0).array
        assert np.array_equal(kept, array)
    removed = regions.apply(labels, (RemoveSmall(segments=(1,), ml=100),)).array
    assert not removed.any()


def test_regions_of_the_least_size_stay() -> None:
    array = np.zeros((3, 8, 8), np.uint8)
    array[0, 0, :3], array[2, 5, :2] = 1, 1
    labels = Labels(array, Grid(array.shape, np.eye(4)))
    kept = regions.apply(labels, (RemoveSmall(segments=(1,), ml=3 * labels.grid.voxel_ml),)).array
    assert kept[0, 0, :3].all()
    assert not kept[2].any()


@pytest.mark.parametrize("mm", [0.0, 1.0, 2.5, 4.0, 100.0])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.5, 0.8)])
def test_voxels_near_other_segments(mm: float, spacing_mm: tuple[float, float, float]) -> None:
    array = np.zeros((9, 14, 15), np.uint8)
    array[1:8, 1:13, 1:14] = 2
    array[3:5, 4:9, 5:8], array[6, 10, 12] = 1, 3
    array[2, 2] = 0
    labels = Labels(array, Grid(array.shape, np.diag([*spacing_mm, 1.0])))
    kept = regions.apply(labels, (KeepNear(segments=(2,), mm=mm),)).array
    near = plain.near(array == 2, np.isin(array, (1, 3)), spacing_mm, mm)
    assert np.array_equal(kept, np.where((array == 2) & ~near, 0, array))
    assert 0 < near.sum() < (array == 2).sum() or mm in (0.0, 100.0)


def test_without_another_segment_nothing_is_near() -> None:
    labels = blobs()
    alone = Labels(np.where(labels.array == 2, labels.array, 0).astype(np.uint8), labels.grid)
    assert not regions.apply(alone, (KeepNear(segments=(2,), mm=50.0),)).array.any()
    both = regions.apply(labels, (KeepNear(segments=(1, 2, 3), mm=50.0),))
    assert not both.array.any()


def test_labels_without_a_voxel_stay_empty() -> None:
    labels = Labels(np.zeros((3, 4, 5), np.uint8), Grid((3, 4, 5), np.eye(4)))
    assert not regions.apply(labels, (KeepLargest(segments=(1,)),)).array.any()


def test_voxels_are_counted() -> None:
    labels = blobs()
    assert list(labels.counts()) == list(np.bincount(labels.array.ravel(), minlength=256))
