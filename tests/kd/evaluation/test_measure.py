"""Overlap, surfaces and volumes of two masks, against values worked out by hand."""

import numpy as np
import pytest

from kd.evaluation.measure import Agreement, agreement
from kd.evaluation.scores import Score
from kd.evaluation.summary import accuracy
from node.imaging import Grid

GRID = Grid((20, 20, 20), np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])


def _cube(first: int, last: int) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[first:last, 5:15, 5:15] = True
    return mask


def test_equal_masks_agree_fully() -> None:
    result = agreement(_cube(5, 15), _cube(5, 15), GRID)
    assert (result.dice, result.hd95_mm) == (1.0, 0.0)
    assert result.nsd == pytest.approx(1.0)
    assert result.found_ml == pytest.approx(1.0)


def test_a_cube_that_lacks_three_layers() -> None:
    result = agreement(_cube(8, 15), _cube(5, 15), GRID)
    assert result.dice == pytest.approx(2 * 700 / 1700)
    assert result.hd95_mm == pytest.approx(3.0)
    assert 0.6 < result.nsd < 0.9  # one face of six is away, and parts of four others
    assert result.true_ml - result.found_ml == pytest.approx(0.3)


def test_a_missed_structure_is_the_worst_that_could_be() -> None:
    result = agreement(np.zeros(GRID.shape, bool), _cube(5, 15), GRID)
    assert (result.dice, result.nsd) == (0.0, 0.0)
    assert result.hd95_mm == pytest.approx(np.sqrt(3) * 20)


def test_two_empty_masks_agree() -> None:
    nothing = np.zeros(GRID.shape, bool)
    result = agreement(nothing, nothing, GRID)
    assert (result.dice, result.nsd, result.hd95_mm) == (1.0, 1.0, 0.0)


def test_the_bias_of_a_volume_is_in_percent_of_the_mean_reference() -> None:
    """Detected 1.1 and 2.0 ml, in the reference 1.0 and 3.0 ml: -0.9 of 4 ml."""
    volumes = ((1.1, 1.0), (2.0, 3.0))
    scores = [
        Score(str(n), (Agreement(0.9, 0.9, 1.0, found, true), Agreement(1, 1, 0, 0.5, 0.0)), 1.0)
        for n, (found, true) in enumerate(volumes)
    ]
    measured = accuracy(scores, ["Ball", "Absent"], None).volume_ml
    assert measured["Ball"].bias == pytest.approx(-0.45)
    assert measured["Ball"].percent == pytest.approx(-22.5)
    assert measured["Absent"].bias == pytest.approx(0.5)
    assert measured["Absent"].percent is None
