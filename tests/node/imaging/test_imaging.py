"""Geometry and voxels, compared with independently computed values."""

import numpy as np
import pytest
from scipy import ndimage

from node.imaging import Grid, Labels, Volume, intensity, regions
from node.imaging.assign import assign
from node.imaging.patches import gaussian_weights, score_rows, starts
from node.imaging.region_steps import KeepLargest, KeepLargestEach, RemoveSmall
from node.imaging.resample import axis_matrix, regrid, resample, thick_axis

RNG = np.random.default_rng(20260102)


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1, 1, 1)) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing, 1
    return Grid(shape, affine)


@pytest.mark.parametrize(("n_in", "n_out"), [(20, 33), (33, 20), (7, 7), (5, 40), (50, 51), (2, 3)])
@pytest.mark.parametrize("order", [1, 3])
def test_resampling_equals_scipys_zoom(n_in: int, n_out: int, order: int) -> None:
    values = RNG.normal(size=n_in)
    expected = ndimage.zoom(values, n_out / n_in, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(axis_matrix(n_in, n_out, order) @ values, expected, atol=1e-5)


def test_resampling_three_axes_equals_scipys_zoom() -> None:
    array = RNG.normal(size=(9, 14, 11)).astype(np.float32)
    source = Volume(array, grid(array.shape, (2.0, 1.0, 0.7)))
    target = regrid(source.grid, (1.0, 1.0, 1.0))
    assert target.shape == (18, 14, 8)
    factors = [b / a for a, b in zip(array.shape, target.shape, strict=True)]
    expected = ndimage.zoom(array, factors, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resample(source, target).array, expected, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_whole_slices_are_repeated_across_thick_ones(axis: int) -> None:
    """As nnU-Net: order 3 within slices, order 0 across (resample_data_or_seg, order_z=0)."""
    shape, spacing, requested = [14, 14, 14], [1.0, 1.0, 1.0], [0.8, 0.8, 0.8]
    shape[axis], spacing[axis], requested[axis] = 6, 5.0, 3.0
    array = RNG.normal(size=shape).astype(np.float32)
    sizes, edges = (shape[0], shape[1], shape[2]), (spacing[0], spacing[1], spacing[2])
    source = Volume(array, grid(sizes, edges))
    target = regrid(source.grid, (requested[0], requested[1], requested[2]))
    factors = [b / a for a, b in zip(array.shape, target.shape, strict=True)]
    within = [1.0 if i == axis else f for i, f in enumerate(factors)]
    expected = ndimage.zoom(array, within, order=3, mode="nearest", grid_mode=True)
    across = [f if i == axis else 1.0 for i, f in enumerate(factors)]
    expected = ndimage.zoom(expected, across, order=0, mode="nearest", grid_mode=True)
    result = resample(source, target, thick="nearest").array
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert not np.allclose(resample(source, target).array, expected, atol=0.1)


def test_an_axis_is_thick_by_source_or_grid_and_alone() -> None:
    assert thick_axis((1, 1, 3.1), (1, 1, 1)) == 2
    assert thick_axis((1, 1, 3), (4, 1, 1)) == 0
    assert thick_axis((1, 1, 3), (1, 1, 3)) is None
    assert thick_axis((4, 4, 1), (1, 1, 1)) is None  # thin slices between thick ones: no axis


def test_a_regridded_box_keeps_its_outer_edges() -> None:
    source = grid((9, 14, 11), (2.0, 1.0, 0.7))
    target = regrid(source, (1.1, 0.9, 1.3))
    for corner in ((-0.5, -0.5, -0.5), (8.5, 13.5, 10.5)):
        same = [
            (c + 0.5) * t / s - 0.5
            for c, s, t in zip(corner, source.shape, target.shape, strict=True)
        ]
        np.testing.assert_allclose(source.affine @ [*corner, 1], target.affine @ [*same, 1])


@pytest.mark.parametrize("order", [0, 2, 5])
def test_only_linear_and_cubic_are_offered(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        axis_matrix(4, 5, order)


def test_patches_start_at_the_edge_and_end_flush() -> None:
    assert starts(100, 40, 0.5) == [0, 20, 40, 60]
    assert starts(40, 40, 0.5) == [0]
    assert starts(10, 40, 0.5) == [0]
    assert starts(41, 40, 0.5) == [0, 1]


def test_gaussian_weights_are_highest_in_the_middle_and_never_zero() -> None:
    weights = gaussian_weights((8, 9, 10))
    assert weights.max() == 1.0
    assert weights.min() > 0
    assert weights[3, 4, 4] > weights[0, 0, 0]


def test_stitching_equals_the_weighted_mean_over_whole_volume() -> None:
    array = RNG.normal(size=(23, 17, 12)).astype(np.float32)
    patch = (8, 8, 8)

    def network(window: np.ndarray) -> np.ndarray:
        # depends on the place inside the patch, so that a wrong weight would show
        ramp = np.linspace(0, 1, 8, dtype=np.float32)
        return np.stack([window, window * ramp, -window * ramp[:, None, None]])

    total = np.zeros((3, *array.shape))
    weight = np.zeros(array.shape)
    for z in starts(23, 8, 0.5):
        for y in starts(17, 8, 0.5):
            for x in starts(12, 8, 0.5):
                at = np.s_[z : z + 8, y : y + 8, x : x + 8]
                total[:, *at] += network(array[at]) * gaussian_weights(patch)
                weight[at] += gaussian_weights(patch)
    rows = np.stack(list(score_rows(array, patch, 0.5, network)), axis=1)
    np.testing.assert_allclose(rows, total / weight, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 6, 10), (5, 6, 9)])
def test_scores_of_a_single_patch_are_unchanged(shape: tuple[int, int, int]) -> None:
    patch, windows = (8, 6, 10), list[np.ndarray]()

    def network(window: np.ndarray) -> np.ndarray:
        windows.append(window)
        return np.stack([window, -2 * window])

    array = RNG.normal(size=shape).astype(np.float32)
    rows = np.stack(list(score_rows(array, patch, 0.5, network)), axis=1)
    assert [window.shape for window in windows] == [patch]
    np.testing.assert_array_equal(rows, np.stack([array, -2 * array]))


def test_assigned_labels_equal_the_best_class_of_interpolated_scores() -> None:
    scores = RNG.normal(size=(4, 10, 9, 8)).astype(np.float32)
    shape = (23, 9, 15)
    up = scores
    for axis, n in enumerate(shape, start=1):
        matrix = axis_matrix(scores.shape[axis], n, 1)
        up = np.moveaxis(np.tensordot(matrix, up, (1, axis)), 0, axis)
    labels = assign((scores[:, k] for k in range(10)), 10, shape)
    assert (labels == up.argmax(axis=0)).mean() > 0.9999  # float rounding may decide a tie


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (intensity.Clip(low=2, high=3), [2, 2, 3, 3]),
        (intensity.Standardise(mean=2, std=2), [-0.5, 0, 0.5, 1]),
        (intensity.ToUnitRange(), [0, 1 / 3, 2 / 3, 1]),
        (intensity.ZScore(), (np.arange(1, 5) - 2.5) / np.std([1, 2, 3, 4])),
        (intensity.ClipPercentiles(low=0, high=50), [1, 2, 2.5, 2.5]),
    ],
)
def test_intensity_steps(step: intensity.IntensityStep, expected: list[float]) -> None:
    array = np.arange(1.0, 5.0).reshape(1, 2, 2)
    np.testing.assert_allclose(intensity.apply(array, (step,)).ravel(), expected, rtol=1e-6)


def test_z_score_of_the_nonzero_box_ignores_an_empty_border() -> None:
    inside = np.array([[[1.0, 2], [0, 5]], [[3, 4], [6, 7]]], np.float32)
    bordered = np.pad(inside, 2)
    step = intensity.ZScore(nonzero_box=True)
    result = intensity.apply(bordered, (step,))
    expected = (inside - inside.mean()) / inside.std()
    np.testing.assert_allclose(result[2:-2, 2:-2, 2:-2], expected, rtol=1e-5)
    np.testing.assert_allclose(result[0], -inside.mean() / inside.std(), rtol=1e-5)
    assert not intensity.apply(np.zeros((2, 2, 2), np.float32), (step,)).any()


def test_z_score_of_nonzero_voxels_leaves_zeros() -> None:
    array = np.array([[[0.0, 1.0], [3.0, 0.0]]])
    result = intensity.apply(array, (intensity.ZScore(nonzero_only=True),))
    np.testing.assert_allclose(result.ravel(), [0, -1, 1, 0])


def test_a_constant_image_becomes_zeros() -> None:
    assert not intensity.apply(np.full((2, 2, 2), 7.0), (intensity.ZScore(),)).any()


def pieces() -> Labels:
    array = np.zeros((6, 6, 6), np.uint8)
    array[0, 0, 0:4] = 1  # four voxels, touching two of segment 2
    array[0, 1, 0:2] = 2
    array[5, 5, 0:3] = 2  # three voxels apart
    return Labels(array, grid((6, 6, 6), (10, 10, 10)))  # one voxel is 1 ml


def test_keep_largest_takes_the_segments_together() -> None:
    labels = regions.apply(pieces(), (KeepLargest(segments=(1, 2)),))
    assert labels.volumes_ml((1, 2)) == pytest.approx({1: 4.0, 2: 2.0})


def test_keep_largest_each_takes_every_segment_alone() -> None:
    labels = regions.apply(pieces(), (KeepLargestEach(segments=(1, 2)),))
    assert labels.volumes_ml((1, 2)) == pytest.approx({1: 4.0, 2: 3.0})


def test_remove_small_counts_millilitres() -> None:
    labels = regions.apply(pieces(), (RemoveSmall(segments=(2,), ml=2.5),))
    assert labels.volumes_ml((1, 2)) == pytest.approx({1: 4.0, 2: 3.0})


def test_an_empty_segment_passes_every_step() -> None:
    empty = Labels(np.zeros((3, 3, 3), np.uint8), grid((3, 3, 3)))
    steps = (KeepLargest(segments=(1,)), RemoveSmall(segments=(1,), ml=1))
    assert not regions.apply(empty, steps).array.any()


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.zeros((2, 2, 3), np.uint8), "shape"), (np.zeros((2, 2, 2), int), "uint8")],
)
def test_invalid_labels_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labels(array, grid((2, 2, 2)))


def test_regions_that_reach_a_corner_are_kept() -> None:
    mask = np.zeros((6, 7), bool)
    mask[0, 4:] = mask[1, 6] = True  # reaches a corner
    mask[3:5, 2:4] = True  # inside
    mask[5, 1] = True  # at an edge, but at no corner
    expected = np.zeros_like(mask)
    expected[0, 4:] = expected[1, 6] = True
    np.testing.assert_array_equal(regions.reaching_corners(mask), expected)
