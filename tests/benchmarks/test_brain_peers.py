"""The comparison with brainchop's networks: conforming and back, merged sides, left-out voxels."""

from itertools import permutations, product

import numpy as np
import pytest
from brain_peers import IDS, RECIPE, STRUCTURES, compare, side_table
from conform import CUBE, centred, conform, head_box, quantiles

from kd.data.ids import LEFT_OUT, read_ids
from kd.recipe.read import read_recipe
from node.imaging import Grid, Volume

SHAPE = (31, 40, 52)
AXES = list(permutations(range(3)))
SIGNS = list(product((1, -1), repeat=3))


def phantom() -> np.ndarray:
    """Return three boxes without any symmetry."""
    array = np.zeros(SHAPE, np.float32)
    array[3:12, 5:20, 7:30] = 100
    array[20:24, 22:37, 8:15] = 100
    array[5:8, 30:33, 40:50] = 100
    return array


def grid(axes: tuple[int, ...], signs: tuple[int, ...], spacing_mm: float) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * np.array(signs) * spacing_mm
    affine[:3, 3] = (-20, 13, 7)
    return Grid(SHAPE, affine)


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_labels_of_conformed_voxels_come_back_in_place(at: int, spacing_mm: float) -> None:
    source = phantom()
    conformed = conform(Volume(source, grid(AXES[at], SIGNS[at], spacing_mm)))
    assert conformed.array.shape == CUBE
    # a third of the brightest: half a voxel beside a corner is still inside
    labels = conformed.labels_back((conformed.array > 85).astype(np.uint8))
    assert np.array_equal(labels, source > 0)


def test_conformed_axes_run_to_the_left_down_and_to_the_front() -> None:
    """The source runs to the head, to the back and to the left."""
    middle = np.array(SHAPE) // 2
    steps = {0: (0, 0, 9), 1: (-9, 0, 0), 2: (0, -9, 0)}  # left, down, front
    places = []
    for step in ((0, 0, 0), *steps.values()):
        array = np.zeros(SHAPE, np.float32)
        array[tuple(middle + step)] = 1
        conformed = conform(Volume(array, grid((2, 1, 0), (1, 1, 1), 1.0)))
        places.append(np.array(np.unravel_index(conformed.array.argmax(), CUBE)))
    for axis in steps:
        assert (places[axis + 1] - places[0]).tolist() == [9 * (i == axis) for i in range(3)]


def test_a_scan_larger_than_the_cube_loses_both_ends() -> None:
    line = np.arange(1, 262).reshape(-1, 1, 1)
    there = centred(line, (256, 1, 1))
    back = centred(there, line.shape)
    inside = back > 0
    assert int(inside.sum()) == 256
    assert np.array_equal(back[inside], line[inside])


def test_the_box_of_the_head_has_a_margin_and_even_edges() -> None:
    array = np.zeros((40, 40, 40), np.uint8)
    array[11:20, 3, 38] = 1
    box = head_box(array)
    assert [(one.start, one.stop) for one in box] == [(2, 28), (0, 12), (30, 40)]


def test_an_empty_image_is_conformed_without_a_division_by_zero() -> None:
    conformed = conform(Volume(np.zeros(SHAPE, np.float32), grid((2, 1, 0), (1, 1, 1), 1.0)))
    assert not quantiles(conformed.array).any()
    assert head_box(conformed.array) == tuple(slice(0, n) for n in CUBE)


def test_both_sides_of_each_id_become_one_structure() -> None:
    segments = read_recipe(RECIPE).segments
    table = side_table(segments)
    ids = read_ids(RECIPE.parent / IDS, tuple(part.number for part in segments)).segments
    pairs = {
        "cerebral white matter": (2, 41),
        "cerebral cortex": (11101, 12101),
        "third ventricle": (14, 14),
        "hippocampus": (17, 53),
        "ventral diencephalon": (28, 60),
    }
    for name, (left, right) in pairs.items():
        assert [STRUCTURES[table[ids[one]] - 1] for one in (left, right)] == [name, name]
    assert set(table.tolist()) == {*range(18), LEFT_OUT}
    assert table[LEFT_OUT] == LEFT_OUT


def test_voxels_left_out_of_the_reference_do_not_count() -> None:
    reference = np.array([1, 1, 2, LEFT_OUT, 0], np.uint8)
    dice, shares = compare(np.array([1, 0, 2, 1, 2], np.uint8), reference)
    assert dice["cerebral white matter"] == pytest.approx(2 / 3)
    assert (shares["cerebral white matter"], shares["cerebral cortex"]) == (0.5, 2.0)
