"""Each loss against a value worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch

from kd.data.augment import Batch
from kd.data.soft_targets import LEAST_PROBABILITY
from kd.recipe.choices import Distillation
from kd.training.losses import (
    class_weights,
    deep_supervision,
    dice_and_cross_entropy,
    distilled,
    kl,
    soft_dice,
    supervised,
)

# four voxels in a row, two classes: probability of class 1 is 0.8, 0.6, 0.3, 0.1
P1 = [0.8, 0.6, 0.3, 0.1]
TRUTH = [1, 1, 0, 0]
T1 = [0.9, 0.4, 0.2, 0.1]  # the teacher's


def _logits(p1: list[float]) -> torch.Tensor:
    rows = torch.tensor([[math.log(1 - p) for p in p1], [math.log(p) for p in p1]])
    return rows.reshape(1, 2, 1, 1, len(p1))


def _labels(values: list[int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, 1, -1)


# twice the overlap, over the sum of both
DICE = 2 * 1.4 / 3.8
CROSS_ENTROPY = -(math.log(0.8) + math.log(0.6) + math.log(0.7) + math.log(0.9)) / 4


def test_soft_dice_of_a_row() -> None:
    loss = soft_dice(_logits(P1).softmax(1), _labels(TRUTH))
    assert float(loss) == pytest.approx(1 - DICE, abs=1e-5)


def test_soft_dice_of_a_class_that_is_nowhere_is_perfect() -> None:
    background = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, 1, 4)
    assert float(soft_dice(background, _labels([0, 0, 0, 0]))) == pytest.approx(0.0)


def test_soft_dice_is_the_mean_over_cases_and_foreground_classes() -> None:
    """Against the formula written out with one map per class."""
    p = torch.randn(2, 4, 3, 5, 2, generator=torch.Generator().manual_seed(1)).softmax(1)
    labels = torch.randint(0, 4, (2, 3, 5, 2), generator=torch.Generator().manual_seed(2))
    scores = []
    for case in range(2):
        for k in range(1, 4):
            q = (labels[case] == k).float()
            scores.append(float(2 * (p[case, k] * q).sum() / (p[case, k].sum() + q.sum())))
    loss = soft_dice(p, labels.to(torch.uint8))
    assert float(loss) == pytest.approx(1 - sum(scores) / len(scores), abs=1e-5)


def test_dice_and_cross_entropy_of_a_row() -> None:
    loss = dice_and_cross_entropy(_logits(P1), _labels(TRUTH))
    assert float(loss) == pytest.approx(1 - DICE + CROSS_ENTROPY, abs=1e-5)


def test_deep_supervision_weighs_two_to_one_and_ignores_the_lowest() -> None:
    full, labels = _logits(P1), _labels(TRUTH)
    # at half resolution nearest-exact keeps voxels 1 and 3: labels 1 and 0
    half = _logits([0.9, 0.2])
    lowest = _logits([0.5])
    fine = 1 - DICE + CROSS_ENTROPY
    coarse = 1 - 2 * 0.9 / 2.1 - (math.log(0.9) + math.log(0.8)) / 2
    loss = deep_supervision([full, half, lowest], labels)
    assert float(loss) == pytest.approx((fine + coarse / 2) / 1.5, abs=1e-5)


def test_a_single_resolution_is_not_ignored() -> None:
    loss = deep_supervision([_logits(P1)], _labels(TRUTH))
    assert float(loss) == pytest.approx(1 - DICE + CROSS_ENTROPY, abs=1e-5)


def test_kl_at_temperature_one() -> None:
    def one(t: float, p: float) -> float:
        return t * math.log(t / p) + (1 - t) * math.log((1 - t) / (1 - p))

    expected = sum(one(t, p) for t, p in zip(T1, P1, strict=True)) / 4
    loss = kl(_logits(P1), _logits(T1), 1.0)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_kl_at_temperature_two_is_four_times_that_of_softened_maps() -> None:
    def soften(p: float) -> float:
        return math.sqrt(p) / (math.sqrt(p) + math.sqrt(1 - p))

    soft = [soften(p) for p in P1], [soften(t) for t in T1]
    whole = kl(_logits(P1), _logits(T1), 2.0)
    parts = kl(_logits(soft[0]), _logits(soft[1]), 1.0)
    assert float(whole) == pytest.approx(4 * float(parts), abs=1e-6)


def test_kl_counts_only_weighted_voxels() -> None:
    weights = torch.tensor([0.0, 3.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    expected = 0.4 * math.log(0.4 / 0.6) + 0.6 * math.log(0.6 / 0.4)
    assert float(kl(_logits(P1), _logits(T1), 1.0, weights)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_confident_wrong_student_has_a_gradient(temperature: float) -> None:
    """The gradient of T^2 KL is T (q - p), however far below the maps' floor the student is."""
    floor = math.log(LEAST_PROBABILITY)
    teacher = torch.tensor([[0.0], [floor]]).reshape(1, 2, 1, 1, 1)
    for logit in (floor, 2 * floor, 5 * floor):
        wrong = torch.tensor([[logit], [0.0]]).reshape(1, 2, 1, 1, 1).requires_grad_()
        kl(wrong, teacher, temperature).backward()  # type: ignore[no-untyped-call]
        assert wrong.grad is not None
        q = (wrong.detach() / temperature).softmax(1)
        p = (teacher / temperature).softmax(1)
        torch.testing.assert_close(wrong.grad, temperature * (q - p))
        assert float(wrong.grad[0, 0]) < -0.99 * temperature


def test_kl_hardly_pulls_back_a_student_more_confident_than_the_clamped_teacher() -> None:
    floor = math.log(LEAST_PROBABILITY)
    teacher = torch.tensor([[0.0], [floor]]).reshape(1, 2, 1, 1, 1)
    for temperature in (1.0, 2.0):
        confident = torch.tensor([[0.0], [3 * floor]]).reshape(1, 2, 1, 1, 1).requires_grad_()
        kl(confident, teacher, temperature).backward()  # type: ignore[no-untyped-call]
        assert confident.grad is not None
        most = temperature * LEAST_PROBABILITY ** (1 / temperature)
        assert 0 < float(confident.grad.abs().max()) < most


def test_class_weights_give_each_class_the_same_sum() -> None:
    weights = class_weights(_labels([1, 0, 0, 0]))
    assert weights.flatten().tolist() == pytest.approx([2, 2 / 3, 2 / 3, 2 / 3])


def test_a_perfect_student_pays_for_its_labels_alone() -> None:
    batch = Batch(torch.zeros(1, 1, 1, 1, 4), _labels(TRUTH), _logits(P1))
    logits = _logits(P1)
    choice = Distillation(fade=1.0)
    loss = distilled(choice)([logits], batch, 1.0)
    alone = float(deep_supervision([logits], batch.labels_bzyx))
    assert float(loss) == pytest.approx(alone, abs=1e-5)


def test_the_teacher_is_ramped_in() -> None:
    batch = Batch(torch.zeros(1, 1, 1, 1, 4), _labels(TRUTH), _logits(T1))
    objective = distilled(Distillation(ramp=0.5, fade=1.0))
    start, half, full = (float(objective([_logits(P1)], batch, at)) for at in (0.0, 0.25, 0.5))
    labels = float(deep_supervision([_logits(P1)], batch.labels_bzyx))
    assert start == pytest.approx(labels)
    assert half - start == pytest.approx((full - start) / 2, abs=1e-6)
    assert full > start


def test_the_teacher_fades_until_labels_alone_count() -> None:
    batch = Batch(torch.zeros(1, 1, 1, 1, 4), _labels(TRUTH), _logits(T1))
    objective = distilled(Distillation(ramp=0.1, fade=0.4))
    full, late, end = (float(objective([_logits(P1)], batch, at)) for at in (0.4, 0.7, 1.0))
    labels = float(deep_supervision([_logits(P1)], batch.labels_bzyx))
    assert end == pytest.approx(labels)
    assert late - end == pytest.approx((full - end) / 2, abs=1e-6)
    assert float(distilled(Distillation(fade=1.0))([_logits(P1)], batch, 1.0)) > labels, (
        "without fading it stays"
    )


def test_balanced_cross_entropy_of_a_row() -> None:
    """Three voxels of class 0 and one of class 1: with b 1 both classes weigh the same."""
    logits, labels = _logits(P1), _labels([1, 0, 0, 0])
    dice = 1 - 2 * 0.8 / (1.8 + 1)
    zeros = -(math.log(0.4) + math.log(0.7) + math.log(0.9)) / 3
    for balance, share in ((1.0, 0.5), (0.5, 1 / (1 + math.sqrt(3))), (0.0, 0.25)):
        expected = dice - share * math.log(0.8) + (1 - share) * zeros
        loss = dice_and_cross_entropy(logits, labels, balance)
        assert float(loss) == pytest.approx(expected, abs=1e-4), balance


def test_balance_falls_to_nothing_over_the_budget() -> None:
    labels = _labels([1, 0, 0, 0])
    batch = Batch(torch.zeros(1, 1, 1, 1, 4), labels)
    for share, balance in ((0.0, 0.8), (0.5, 0.4), (1.0, 0.0)):
        expected = deep_supervision([_logits(P1)], labels, None, balance)
        for objective in (
            supervised(0.8),
            distilled(Distillation(kl=0), 0.8),
        ):
            with_teacher = replace(batch, soft_bkzyx=_logits(T1))
            assert float(objective([_logits(P1)], with_teacher, share)) == pytest.approx(
                float(expected), abs=1e-6
            )
