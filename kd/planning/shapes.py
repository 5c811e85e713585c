"""Patch, strides and kernels of a network, by nnU-Net's rules (Isensee et al. 2021)."""

from collections.abc import Sequence

import numpy as np

from kd.recipe.choices import Triple, uniform
from kd.recipe.stages import Stages

LARGEST_PATCH_VOXELS = 96**3  # what two CPU cores can train and serve
SMALLEST_EDGE = 4  # voxels of the lowest grid, nnU-Net's
MOST_STAGES = 6


def patch_and_strides(
    median_shape: Sequence[float], spacing_mm: Sequence[float]
) -> tuple[Triple, tuple[Triple, ...]]:
    """Return a patch near the median shape, within the limit, and the strides that fit it.

    An axis is halved while its edge stays at 4 or more and its spacing is not yet twice as coarse
    as the finest axis that can still be halved.
    """
    edges = np.array(median_shape, float)
    excess = edges.prod() / LARGEST_PATCH_VOXELS
    if excess > 1:
        edges = edges / excess ** (1 / 3)
    strides: list[Triple] = [(1, 1, 1)]
    now, spacing = edges.copy(), np.array(spacing_mm, float)
    while len(strides) < MOST_STAGES:
        able = now >= 2 * SMALLEST_EDGE
        if not able.any():
            break
        finest = spacing[able].min()
        halved = able & (spacing < 2 * finest)
        step = np.where(halved, 2, 1)
        strides.append((int(step[0]), int(step[1]), int(step[2])))
        now, spacing = now / step, spacing * step
    divisor = np.prod(np.array(strides), axis=0)
    patch = np.maximum(np.ceil(edges / divisor), 1) * divisor
    return within_limit(patch, tuple(strides)), tuple(strides)


def thick_stages(
    base: int, strides_zyx: Sequence[Triple], spacing_mm: Sequence[float]
) -> Stages | None:
    """Return stages with flat kernels where slices are thick (nnU-Net's rule); None without any.

    A kernel has one voxel along an axis whose spacing, at that stage, is twice that of the finest
    axis or more.
    """
    spacing, kernels = np.array(spacing_mm, float), list[Triple]()
    for stride in strides_zyx:
        spacing = spacing * np.array(stride)
        z, y, x = (1 if edge >= 2 * spacing.min() else 3 for edge in spacing)
        kernels.append((z, y, x))
    if all(kernel == (3, 3, 3) for kernel in kernels):
        return None
    n = len(kernels)
    return Stages(
        widths=uniform(base, tuple(strides_zyx)).widths,
        kernels_zyx=tuple(kernels),
        convolutions=(2,) * n,
        decoder_convolutions=(2,) * (n - 1),
    )


def within_limit(patch_zyx: Sequence[float], strides_zyx: Sequence[Triple]) -> Triple:
    """Shorten the longest edges, by whole strides, until two CPU cores can train the patch."""
    divisor = np.prod(np.array(strides_zyx), axis=0)
    patch = np.array(patch_zyx, int)
    while patch.prod() > LARGEST_PATCH_VOXELS and (patch > divisor).any():
        longest = int(np.argmax(np.where(patch > divisor, patch, 0)))
        patch[longest] -= divisor[longest]
    return (int(patch[0]), int(patch[1]), int(patch[2]))
