"""Each loss against a value worked out by hand."""

import math

import pytest
import torch

from kd.losses import deep_supervision, dice_and_cross_entropy, soft_dice

# four voxels in a row, two classes: probability of class 1 is 0.8, 0.6, 0.3, 0.1
P1 = [0.8, 0.6, 0.3, 0.1]
TRUTH = [1, 1, 0, 0]


def _logits(p1: list[float]) -> torch.Tensor:
    rows = torch.tensor([[math.log(1 - p) for p in p1], [math.log(p) for p in p1]])
    return rows.reshape(1, 2, 1, 1, len(p1))


def _labels(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, 1, -1)


# twice the overlap, over the sum of both
DICE = 2 * 1.4 / 3.8
CROSS_ENTROPY = -(math.log(0.8) + math.log(0.6) + math.log(0.7) + math.log(0.9)) / 4


def test_soft_dice_of_a_row() -> None:
    truth = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0]]).reshape(1, 2, 1, 1, 4)
    found = soft_dice(_logits(P1).softmax(1), truth)
    assert float(found) == pytest.approx(1 - DICE, abs=1e-5)


def test_soft_dice_of_a_class_that_is_nowhere_is_perfect() -> None:
    nothing = torch.zeros(1, 2, 1, 1, 4)
    assert float(soft_dice(nothing, nothing)) == pytest.approx(0.0)


def test_dice_and_cross_entropy_of_a_row() -> None:
    found = dice_and_cross_entropy(_logits(P1), _labels(TRUTH))
    assert float(found) == pytest.approx(1 - DICE + CROSS_ENTROPY, abs=1e-5)


def test_deep_supervision_weighs_two_to_one_and_ignores_the_lowest() -> None:
    full, labels = _logits(P1), _labels(TRUTH)
    # at half resolution nearest-exact keeps voxels 1 and 3: labels 1 and 0
    half = _logits([0.9, 0.2])
    lowest = _logits([0.5])
    fine = 1 - DICE + CROSS_ENTROPY
    coarse = 1 - 2 * 0.9 / 2.1 - (math.log(0.9) + math.log(0.8)) / 2
    found = deep_supervision([full, half, lowest], labels)
    assert float(found) == pytest.approx((fine + coarse / 2) / 1.5, abs=1e-5)


def test_a_single_resolution_is_not_ignored() -> None:
    found = deep_supervision([_logits(P1)], _labels(TRUTH))
    assert float(found) == pytest.approx(1 - DICE + CROSS_ENTROPY, abs=1e-5)
