"""Heads that average the scores of an image and of its mirror image.

Left and right change places in a mirror image, so its scores are mirrored back and its classes
swapped. The heads of a U-Net are linear: one head over the features of both images computes that
mean, and the logits of many classes at full resolution are computed once.

Shapes: C features, K classes, Z Y X voxels (the last axis runs from side to side).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Head = nn.Conv3d | nn.ConvTranspose3d


def mirrored_head(head: nn.Module, classes: Sequence[int]) -> Head:
    """Return a head of 2 C features: those of the image, then those of its mirror image.

    Args:
        head: a convolution of kernel 1, or a transposed one without overlap.
        classes: the class that each class becomes in a mirror image.
    """
    assert isinstance(head, nn.Conv3d | nn.ConvTranspose3d)
    assert head.bias is not None
    order = list(classes)
    if isinstance(head, nn.ConvTranspose3d):  # weights [C, K, Z, Y, X]
        weight = torch.cat([head.weight, head.weight[:, order].flip(-1)]) / 2
        z, y, x = head.weight.shape[2:]
        result: Head = nn.ConvTranspose3d(len(weight), len(order), (z, y, x), (z, y, x))
    else:  # weights [K, C, 1, 1, 1]
        weight = torch.cat([head.weight, head.weight[order]], dim=1) / 2
        result = nn.Conv3d(weight.shape[1], len(order), 1)
    bias = (head.bias + head.bias[order]) / 2
    result.load_state_dict({"weight": weight, "bias": bias})
    return result


def plain_weight(weight: Tensor, like: Tensor) -> Tensor:
    """Return the weight of the head that `mirrored_head` was given, if `weight` is of such a head.

    Args:
        weight: of a released head.
        like: the weight of the plain head, for its shape.
    """
    for axis, (n, expected) in enumerate(zip(weight.shape, like.shape, strict=False)):
        if n == 2 * expected:
            return 2 * weight.narrow(axis, 0, expected)
    return weight
