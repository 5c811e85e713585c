"""Loss functions: Dice and cross-entropy on reference labels, KL divergence from a teacher.

Shapes: B batch, K classes (0 is background), Z Y X voxels. Every function takes logits, before any
softmax, and returns a scalar; sums run in float32 whatever the autocast. The teacher comes as
log-probabilities, which a softmax at any temperature treats like logits; they are clamped at
`kd.data.soft_targets.LEAST_PROBABILITY`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from kd.data.augment import Batch
from kd.recipe.choices import Distillation

# outputs of the network (full resolution first), batch, share of the budget spent -> loss
Objective = Callable[[list[Tensor], Batch, float], Tensor]

LEAST_LOGIT = -1e4  # of an impossible class: its probability is 0 in float32
MOST_CLASSES = 256  # labels are bytes
SMOOTH = 1e-5  # voxels; keeps Dice defined where a class is absent from patch and prediction


def soft_dice(p_bkzyx: Tensor, labels_bzyx: Tensor) -> Tensor:
    """Return 1 - mean soft Dice of probabilities and labels over foreground classes and cases.

    Dice = (2 sum of p where the label is k, + s) / (sum p_k + voxels of k + s), of each case and
    class, background left out (as in nnU-Net with batch_dice=False). Labels are counted and not
    spread over K one-hot maps, which took a third of a training step with 33 classes.
    """
    labels = labels_bzyx.long()
    totals = p_bkzyx.sum((2, 3, 4))
    none, flat = torch.zeros_like(totals), labels.flatten(1)
    right = p_bkzyx.gather(1, labels[:, None]).flatten(1)
    overlap = none.scatter_add(1, flat, right)
    volumes = none.scatter_add(1, flat, torch.ones_like(right))
    return 1 - ((2 * overlap + SMOOTH) / (totals + volumes + SMOOTH))[:, 1:].mean()


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
        counts = class_counts(labels, log_p.shape[1])
        weights = counts.clamp_min(1).float() ** -balance
    return soft_dice(log_p.exp(), labels_bzyx) + F.nll_loss(log_p, labels, weights)


def merged(logits_bkzyx: Tensor, unknown_bk: Tensor) -> Tensor:
    """Return logits in which the classes without reference are merged into the background.

    Background becomes the logarithm of the summed exponentials of itself and the unknown classes,
    which then have probability 0: a voxel labelled background may be either, and neither is
    penalised (marginal loss, Shi et al., Medical Image Analysis 2021).

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
    # not -inf: a class that is never present still needs a finite loss
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
    sampled to it by nearest neighbour. Classes without reference in a case are `merged`.
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
    logits_bkzyx: Tensor,
    teacher_bkzyx: Tensor,
    temperature: float,
    weights_bzyx: Tensor | None = None,
) -> Tensor:
    """Return T² KL(teacher || student) at temperature T, summed over classes.

    T² sum_k p_k log(p_k / q_k), p and q softened by T, averaged over voxels with `weights`
    (Hinton et al. 2015; T² keeps the size of the gradient). Fast-nnUNet averages over classes too,
    which makes the term weak. The student is not clamped like the teacher: a confident, wrong
    student would have no gradient. A student that is more confident than the clamped teacher is
    pulled back by T (q - p) of each class: at most T LEAST_PROBABILITY^(1/T).
    """
    p = (teacher_bkzyx.float() / temperature).log_softmax(1)
    q = (logits_bkzyx.float() / temperature).log_softmax(1)
    by_voxel = (p.exp() * (p - q)).sum(1)
    if weights_bzyx is None:
        return temperature**2 * by_voxel.mean()
    return temperature**2 * (by_voxel * weights_bzyx).sum() / weights_bzyx.sum().clamp_min(SMOOTH)


def class_counts(labels: Tensor, n_classes: int) -> Tensor:
    """Return the voxels of each class [K] in int64 labels; bincount would wait for a GPU."""
    one = torch.ones((), dtype=torch.int64, device=labels.device)
    flat = labels.flatten()
    return one.new_zeros(n_classes).scatter_add_(0, flat, one.expand_as(flat))


def class_weights(labels_bzyx: Tensor) -> Tensor:
    """Return for each voxel a weight with which all classes in the batch weigh the same in sum."""
    labels = labels_bzyx.long()
    volumes = class_counts(labels, MOST_CLASSES).float()
    present = (volumes > 0).sum()
    weights = labels_bzyx.numel() / (present * volumes.clamp_min(1))
    return weights[labels]


class Terms:
    """The terms of an objective at its last call, for the log; reading them waits for a GPU."""

    def __init__(self) -> None:
        """Begin without a call."""
        self.labels: Tensor | None = None
        self.kl: Tensor | None = None  # None: the objective has no teacher
        self.teacher_weight: float | None = None


def supervised(balance: float = 0.0, terms: Terms | None = None) -> Objective:
    """Return the objective of reference labels alone: Dice + cross-entropy, deep supervision.

    Small structures have almost no share of a plain cross-entropy, and the gradient of Dice is weak
    where a structure is not detected at all. The cross-entropy therefore starts balanced, with
    n_k^-b. Balanced training oversegments small structures, so b falls from `balance` to 0 over the
    budget. `terms` receives the terms of each call.
    """

    def objective(outputs: list[Tensor], batch: Batch, share: float) -> Tensor:
        now = balance * (1 - share)
        loss = deep_supervision(outputs, batch.labels_bzyx, batch.unknown_bk, now)
        if terms is not None:
            terms.labels = loss.detach()
        return loss

    return objective


def distilled(choice: Distillation, balance: float = 0.0, terms: Terms | None = None) -> Objective:
    """Return the objective of a student: reference labels plus KL from the teacher.

    L = deep supervision + w a KL at full resolution, a the weight `kl`, and
    w(t) = min(1, t / ramp, (1 - t) / (1 - fade)) over the share t of the budget. With `fade` below
    1 the teacher's weight falls to 0 at the end, and the labels alone decide the last steps.
    `terms` receives the terms of each call.
    """
    by_labels = supervised(balance, terms)

    def objective(outputs: list[Tensor], batch: Batch, share: float) -> Tensor:
        loss = by_labels(outputs, batch, share)
        teacher = batch.soft_bkzyx
        assert teacher is not None  # kd.training.steps gives soft targets with this objective
        if choice.kl == 0:
            return loss
        weights = class_weights(batch.labels_bzyx) if choice.has_class_weights else None
        divergence = kl(outputs[0], teacher, choice.temperature, weights)
        weight = choice.kl * teacher_share(choice, share)
        if terms is not None:
            terms.kl, terms.teacher_weight = divergence.detach(), weight
        return loss + weight * divergence

    return objective


def teacher_share(choice: Distillation, share: float) -> float:
    """Return w(t), the teacher's weight at the share t of the budget, from 0 to 1."""
    weight = min(1.0, share / max(choice.ramp, 1e-6))
    if choice.fade < 1:
        weight = min(weight, (1 - share) / (1 - choice.fade))
    return weight
