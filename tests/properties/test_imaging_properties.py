"""Properties of imaging that hold for any grid, orientation and shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.imaging import Grid, Volume
from node.imaging.assign import assign
from node.imaging.orient import orient, turned_grid
from node.imaging.patches import score_rows
from node.imaging.resample import axis_matrix, regrid

SHAPES = st.tuples(*[st.integers(1, 14)] * 3)
ANGLES = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
SPACINGS = st.tuples(*[st.floats(0.2, 8.0)] * 3)


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [a for a in range(3) if a != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        result = result @ step
    return result


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = rotation(draw(ANGLES)) @ np.diag(draw(SPACINGS))
    if draw(st.booleans()):
        affine[:3, 0] *= -1  # a left-handed index order, as a series sorted from the feet may be
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Grid(draw(SHAPES), affine)


def ramp(grid: Grid) -> Volume:
    """A volume whose value at each voxel encodes the place of the voxel in the patient."""
    index = np.stack([*np.indices(grid.shape), np.ones(grid.shape)])
    place = np.einsum("ij,jzyx->izyx", grid.affine, index)
    return Volume(place[0] + 1e3 * place[1] + 1e6 * place[2], grid)


@given(grids())
def test_orienting_moves_no_voxel_in_the_patient(grid: Grid) -> None:
    turned, _ = orient(ramp(grid))
    np.testing.assert_allclose(turned.array, ramp(turned.grid).array, rtol=1e-9, atol=1e-3)


@given(grids())
def test_orienting_and_back_is_the_identity(grid: Grid) -> None:
    volume = ramp(grid)
    turned, turn = orient(volume)
    np.testing.assert_array_equal(turn.undo(turned.array), volume.array)
    assert turned_grid(grid, turn).is_close(turned.grid)


@given(grids())
def test_an_oriented_grid_is_nearest_to_lps(grid: Grid) -> None:
    turned, _ = orient(ramp(grid))
    directions = turned.grid.affine[:3, :3] / np.array(turned.grid.spacing_mm)
    along = [directions[2, 0], directions[1, 1], directions[0, 2]]
    assert sum(along) >= 1.0 - 1e-9  # the trace of the best assignment is at least 1
    assert min(along) >= -1e-9


@given(grids(), SPACINGS)
def test_regridding_keeps_the_box(grid: Grid, spacing: tuple[float, float, float]) -> None:
    other = regrid(grid, spacing)
    np.testing.assert_allclose(other.extent_mm, grid.extent_mm, rtol=1e-9)
    low = np.array([-0.5, -0.5, -0.5, 1])
    np.testing.assert_allclose(grid.affine @ low, other.affine @ low, atol=1e-6)


@settings(max_examples=60)
@given(SHAPES, st.tuples(*[st.integers(1, 8)] * 3), st.floats(0, 0.9), st.floats(-5, 5))
def test_stitching_a_constant_gives_the_constant(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, value: float
) -> None:
    array = np.zeros(shape, np.float32)

    def network(window: np.ndarray) -> np.ndarray:
        assert window.shape == patch
        return np.full((2, *patch), value, np.float32)

    rows = list(score_rows(array, patch, overlap, network))
    assert len(rows) == shape[0]
    for row in rows:
        assert row.shape == (2, *shape[1:])
        np.testing.assert_allclose(row, value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(SHAPES, SHAPES, st.tuples(*[st.integers(1, 8)] * 3), st.floats(0, 0.9), st.integers(0, 99))
def test_the_memory_layout_of_scores_changes_no_bit(
    shape: tuple[int, int, int],
    source: tuple[int, int, int],
    patch: tuple[int, int, int],
    overlap: float,
    seed: int,
) -> None:
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)

    def classes_first(window: np.ndarray) -> np.ndarray:
        ramp = np.linspace(0, 1, patch[2], dtype=np.float32)
        return np.stack([window, window * ramp, 1 - window])

    def classes_last(window: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(classes_first(window), 0, -1)), -1, 0)

    first, last = (
        list(score_rows(array, patch, overlap, one)) for one in (classes_first, classes_last)
    )
    np.testing.assert_array_equal(np.stack(first), np.stack(last))
    np.testing.assert_array_equal(assign(first, shape[0], source), assign(last, shape[0], source))


@settings(max_examples=80)
@given(SHAPES, SHAPES, st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_assigned_labels_are_the_best_class_of_interpolated_scores(
    model: tuple[int, int, int], source: tuple[int, int, int], classes: int, piece: int, seed: int
) -> None:
    """In pieces of one best class as at their boundaries; only a tie may be decided otherwise."""
    rng = np.random.default_rng(seed)
    pieces = rng.normal(size=(classes, *(n // piece + 1 for n in model)))
    for axis in (1, 2, 3):
        pieces = pieces.repeat(piece, axis)
    z, y, x = model
    noise = 0.05 * rng.normal(size=(classes, *model))
    scores = (pieces[:, :z, :y, :x] + noise).astype(np.float32)
    plain: np.ndarray = scores.astype(np.float64)
    for axis, n in enumerate(source, start=1):
        matrix = axis_matrix(scores.shape[axis], n, 1)
        plain = np.moveaxis(np.tensordot(matrix, plain, (1, axis)), 0, axis)
    labels = assign(iter(np.moveaxis(scores, 1, 0)), z, source)
    chosen = np.take_along_axis(plain, labels[None].astype(np.int64), 0)[0]
    np.testing.assert_allclose(chosen, plain.max(axis=0), atol=1e-4)
