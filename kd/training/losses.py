"""What a network is taught to minimise.

Shapes: B batch, K classes (0 is background), Z Y X voxels. Every function takes logits, before any
softmax, and returns a scalar; sums run in float32 whatever the autocast. The teacher comes as
log-probabilities, which a softmax at any temperature treats like logits. Its maps know nothing
below `LEAST_PROBABILITY`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from kd.data.augment import Batch
from kd.data.soft_targets import LEAST_PROBABILITY
from kd.recipe.choices import Distillation

# outputs of the network (full resolution first), batch, share of the budget spent -> loss
Objective = Callable[[list[Tensor], Batch, float], Tensor]

LEAST_LOGIT = -1e4  # of a class that cannot be: its probability is 0 in float32
SMOOTH = 1e-5  # voxels; keeps Dice defined where a class is absent from patch and prediction


def soft_dice(p_bkzyx: Tensor, labels_bzyx: Tensor) -> Tensor:
    """Return 1 - mean soft Dice of probabilities and labels over foreground classes and cases.

    Dice = (2 sum of p where the label is k, + s) / (sum p_k + voxels of k + s), of each case and
    class, background left out (as in nnU-Net with batch_dice=False). Labels are counted instead of
    spread over K maps: with 33 classes that was a third of a training step.
    """
    labels = labels_bzyx.long()
    totals = p_bkzyx.sum((2, 3, 4))
    none, flat = torch.zeros_like(totals), labels.flatten(1)
    right = p_bkzyx.gather(1, labels[:, None]).flatten(1)
    overlap = none.scatter_add(1, flat, right)
    volumes = none.scatter_add(1, flat, torch.ones_like(right))
    return 1 - ((2 * overlap + SMOOTH) / (totals + volumes + SMOOTH))[:, 1:].mean()


def squared_dice(p_bkzyx: Tensor, q_bkzyx: Tensor) -> Tensor:
    """Return 1 - mean soft Dice with squared sums, which is least where q equals p.

    Dice = (2 sum p q + s) / (sum p^2 + sum q^2 + s), of each case and class, background left out
    (Milletari et al. 2016). 1 - Dice is sum (p - q)^2 over the same denominator. With plain sums,
    as for labels, a student that thresholds its teacher would be rewarded.
    """
    p, q = p_bkzyx[:, 1:].flatten(2).float(), q_bkzyx[:, 1:].flatten(2).float()
    total = p.square().sum(2) + q.square().sum(2)
    return 1 - ((2 * (p * q).sum(2) + SMOOTH) / (total + SMOOTH)).mean()


def dice_and_cross_entropy(
    logits_bkzyx: Tensor, labels_bzyx: Tensor, balance: float = 0.0
) -> Tensor:
    """Return soft Dice loss plus voxel-wise cross-entropy against reference labels.

    With `balance` b a voxel of class k weighs n_k^-b in the cross-entropy, n_k the voxels of k in
    the batch: 0 is the plain mean over voxels, 1 the mean over the classes present.
    """
    log_p = logits_bkzyx.float().log_softmax(1)
    labels = labels_bzyx.long()
    weights = None
    if balance > 0:
        counts = torch.bincount(labels.flatten(), minlength=log_p.shape[1])
        weights = counts.clamp_min(1).float() ** -balance
    return soft_dice(log_p.exp(), labels_bzyx) + F.nll_loss(log_p, labels, weights)


def merged(logits_bkzyx: Tensor, unknown_bk: Tensor) -> Tensor:
    """Return logits in which classes that nobody has drawn are part of the background.

    Background becomes the logarithm of the summed exponentials of itself and the unknown classes,
    which then have probability 0: a voxel labelled background may be either, and neither is
    corrected (marginal loss, Shi et al., Medical Image Analysis 2021).

    Args:
        logits_bkzyx: of all classes.
        unknown_bk: bool, of the first classes; later ones are known, and so is background.
    """
    hidden = F.pad(unknown_bk, (0, logits_bkzyx.shape[1] - unknown_bk.shape[1]))
    hidden = hidden[:, :, None, None, None]
    logits = logits_bkzyx.float()
    may_be = hidden.clone()
    may_be[:, 0] = True
    background = logits.masked_fill(~may_be, -math.inf).logsumexp(1, keepdim=True)
    # not -inf: a class that is never there still needs a finite loss
    others = logits.masked_fill(hidden, LEAST_LOGIT)
    return torch.cat([background, others[:, 1:]], 1)


def deep_supervision(
    outputs: list[Tensor],
    labels_bzyx: Tensor,
    unknown_bk: Tensor | None = None,
    balance: float = 0.0,
) -> Tensor:
    """Return the mean of Dice + cross-entropy over resolutions, each weighing half the last.

    As in nnU-Net the lowest resolution has no weight, unless it is the only one; labels are
    sampled to it by nearest neighbour. Classes that nobody has drawn in a case are `merged`.
    """
    weights = [0.5**i for i in range(len(outputs))]
    if len(outputs) > 1:
        weights[-1] = 0.0
    total = sum(weights)
    loss = outputs[0].new_zeros((), dtype=torch.float32)
    for weight, logits in zip(weights, outputs, strict=True):
        if weight:
            labels = _shrink(labels_bzyx, logits.shape[2:])
            known = logits if unknown_bk is None else merged(logits, unknown_bk)
            loss = loss + weight / total * dice_and_cross_entropy(known, labels, balance)
    return loss


def _shrink(labels_bzyx: Tensor, shape: torch.Size) -> Tensor:
    if labels_bzyx.shape[1:] == shape:
        return labels_bzyx
    return F.interpolate(labels_bzyx[:, None].float(), shape, mode="nearest-exact")[:, 0]


def kl(
    logits_bkzyx: Tensor, teacher_bkzyx: Tensor, weights_bzyx: Tensor, temperature: float
) -> Tensor:
    """Return T² KL(teacher || student) at temperature T, summed over classes.

    T² sum_k p_k log(p_k / q_k), p and q softened by T, averaged over voxels with `weights`
    (Hinton et al. 2015; T² keeps the gradient's size). Fast-nnUNet averages over classes too,
    which makes the term weak. The student is not clamped as the maps are: one that is surely wrong
    would have no gradient. One that is surer than a map can say is drawn back, by T (q - p) of each
    class: no more than T LEAST_PROBABILITY^(1/T).
    """
    p = (teacher_bkzyx.float() / temperature).log_softmax(1)
    q = (logits_bkzyx.float() / temperature).log_softmax(1)
    by_voxel = (p.exp() * (p - q)).sum(1)
    return temperature**2 * (by_voxel * weights_bzyx).sum() / weights_bzyx.sum().clamp_min(SMOOTH)


def channel_wise(logits_bkzyx: Tensor, teacher_bkzyx: Tensor, temperature: float) -> Tensor:
    """Return channel-wise distillation: where in space each class is, relative to elsewhere.

    T² / K sum_k KL(softmax over voxels of teacher_k / T || the same of student_k / T), mean over
    cases (Shu et al., ICCV 2021). Both sides are log-probabilities, as a map per voxel is known
    only up to a constant otherwise, and both are clamped at `LEAST_PROBABILITY`: far from a
    structure, a student may be surer than a map can say.
    """
    p = (_log_probabilities(teacher_bkzyx) / temperature).flatten(2).log_softmax(2)
    q = (_log_probabilities(logits_bkzyx) / temperature).flatten(2).log_softmax(2)
    return temperature**2 * (p.exp() * (p - q)).sum(2).mean()


def voxel_weights(
    labels_bzyx: Tensor,
    teacher_bkzyx: Tensor,
    choice: Distillation,
    unknown_bk: Tensor | None = None,
) -> Tensor:
    """Return the weight of each voxel in `kl`: class volume, boundary band, gate.

    Class weights are inverse volumes in the batch (each class present weighs the same in sum); a
    band of `band_voxels` around every boundary weighs 1 + `boundary`; the gate closes where the
    teacher's best class is not the reference label, or one that the reference does not know.
    """
    truth = F.one_hot(labels_bzyx.long(), teacher_bkzyx.shape[1]).movedim(-1, 1).float()
    weights = torch.ones_like(truth[:, 0])
    if choice.has_class_weights:
        volumes = truth.sum((0, 2, 3, 4))
        present = (volumes > 0).sum()
        share = truth[:, 0].numel() / (present * volumes.clamp_min(1))
        weights = share[labels_bzyx.long()]
    if choice.boundary > 0:
        highest = _spread(labels_bzyx, choice.band_voxels, torch.maximum)
        lowest = _spread(labels_bzyx, choice.band_voxels, torch.minimum)
        weights = weights * (1 + choice.boundary * (highest != lowest))
    if choice.has_gate:
        said = teacher_bkzyx if unknown_bk is None else merged(teacher_bkzyx, unknown_bk)
        chosen = said.gather(1, labels_bzyx[:, None].long())[:, 0]
        weights = weights * (chosen >= said.amax(1))
    return weights


def _spread(labels_bzyx: Tensor, reach: int, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the largest (or smallest) label within `reach` voxels along every axis.

    Axis by axis, on bytes: a tenth of the time of pooling one-hot maps.
    """
    for axis in (1, 2, 3):
        result = labels_bzyx.clone()
        n = labels_bzyx.shape[axis]
        for shift in range(1, min(reach, n - 1) + 1):
            left, right = (slice(0, n - shift), slice(shift, n))
            before = (slice(None),) * axis
            for there, here in ((left, right), (right, left)):
                part = pick(result[(*before, here)], labels_bzyx[(*before, there)])
                result[(*before, here)] = part
        labels_bzyx = result
    return labels_bzyx


def supervised(balance: float = 0.0) -> Objective:
    """Return the objective of reference labels alone: Dice + cross-entropy, deep supervision.

    Small structures have next to no share of a plain cross-entropy, and Dice says little about what
    is not found at all; so the cross-entropy begins balanced, with n_k^-b, and b falls from
    `balance` to 0 over the budget, since a balanced one draws small structures too large.
    """

    def objective(outputs: list[Tensor], batch: Batch, share: float) -> Tensor:
        now = balance * (1 - share)
        return deep_supervision(outputs, batch.labels_bzyx, batch.unknown_bk, now)

    return objective


def distilled(choice: Distillation, balance: float = 0.0) -> Objective:
    """Return the objective of a student: labels, plus the teacher at full resolution, ramped in.

    L = (1 - w (1 - l)) deep supervision + w [ a KL + b squared Dice + c channel-wise ],
    w(t) = min(1, t / ramp, (1 - t) / (1 - fade)) over the share t of the budget; l is the weight of
    the labels. With `fade` below 1 the labels have the last word.
    """
    by_labels = supervised(balance)

    def objective(outputs: list[Tensor], batch: Batch, share: float) -> Tensor:
        loss = by_labels(outputs, batch, share)
        teacher, logits = batch.soft_bkzyx, outputs[0].float()
        assert teacher is not None  # kd.training.steps gives soft targets with this objective
        extra = logits.new_zeros(())
        if choice.kl > 0:
            weights = voxel_weights(batch.labels_bzyx, teacher, choice, batch.unknown_bk)
            extra = extra + choice.kl * kl(logits, teacher, weights, choice.temperature)
        if choice.dice > 0:
            extra = extra + choice.dice * squared_dice(logits.softmax(1), teacher.softmax(1))
        if choice.channel_wise > 0:
            wise = channel_wise(logits, teacher, choice.channel_temperature)
            extra = extra + choice.channel_wise * wise
        weight = min(1.0, share / max(choice.ramp, 1e-6))
        if choice.fade < 1:
            weight = min(weight, (1 - share) / (1 - choice.fade))
        return (1 - weight * (1 - choice.labels)) * loss + weight * extra

    return objective


def _log_probabilities(logits_bkzyx: Tensor) -> Tensor:
    return logits_bkzyx.float().log_softmax(1).clamp_min(math.log(LEAST_PROBABILITY))
