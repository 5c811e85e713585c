"""Random augmentation of a batch on its device: the effects of nnU-Net, vectorised.

Shapes: B batch, K classes, Z Y X voxels (head, back, left). Random numbers are drawn per case, and
each effect has a probability. Image, labels and soft targets are warped by the same grid, so that
all three show the same view.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from kd.data.device import Draws, Random, moved
from kd.recipe.choices import Augment, Triple

Edges = tuple[float, float, float]  # of a voxel, as multiples of its smallest edge


@dataclass(frozen=True, eq=False)
class Batch:
    """Cases that go through the network together."""

    image_bczyx: Tensor
    labels_bzyx: Tensor  # uint8
    soft_bkzyx: Tensor | None = None  # the teacher's log-probabilities, where there is a teacher
    unknown_bk: Tensor | None = None  # bool: classes without reference labels in a case
    # offset, in each block of 2 x 2 x 2 voxels, of the one with label and soft target; None: all
    at_zyx: Triple | None = None


def view(
    batch: Batch,
    patch: Triple,
    choice: Augment,
    random: Random,
    edges_zyx: Edges = (1.0, 1.0, 1.0),
) -> Batch:
    """Return another view of `batch`, cut to the middle `patch` of its windows.

    Args:
        batch: windows that are wider than `patch`.
        patch: of the view.
        choice: strength of each effect; lengths are in voxels of the finest axis.
        random: generators for the batch's device.
        edges_zyx: of a voxel, as multiples of its smallest edge: anatomy is rotated in mm, which
            differs from a rotation in voxels where slices are thick.
    """
    n, device = batch.image_bczyx.shape[0], batch.image_bczyx.device
    draws = Draws(n, device, random)
    grid = _warp((batch.image_bczyx.shape[2:], patch, edges_zyx), choice, draws)
    image = F.grid_sample(batch.image_bczyx, grid, "bilinear", "zeros", align_corners=False)
    labels = batch.labels_bzyx[:, None].to(image.dtype)
    labels = F.grid_sample(labels, grid, "nearest", "zeros", align_corners=False)
    soft = batch.soft_bkzyx
    if soft is not None:
        # the window's border is background: border values continue it
        soft = F.grid_sample(soft.to(image.dtype), grid, "bilinear", "border", align_corners=False)
    image = _intensity(image, choice, draws)
    return Batch(image, labels[:, 0].to(torch.uint8), soft, batch.unknown_bk)


def thinned(batch: Batch, at_zyx: Triple) -> Batch:
    """Return the same images with every second label along each axis, from `at_zyx` on.

    With many classes, half of a training step is spent on full-resolution scores and their loss.
    One voxel of eight, another one at each step, trains almost as well.
    """
    part = tuple(slice(first, None, 2) for first in at_zyx)
    soft = batch.soft_bkzyx
    return replace(
        batch,
        labels_bzyx=batch.labels_bzyx[(slice(None), *part)],
        soft_bkzyx=None if soft is None else soft[(slice(None), slice(None), *part)],
        at_zyx=at_zyx,
    )


def _warp(shapes: tuple[torch.Size, Triple, Edges], choice: Augment, draws: Draws) -> Tensor:
    """Return the place that each voxel is sampled at, [B, Z, Y, X, 3] in grid_sample's units.

    grid_sample orders coordinates x, y, z and counts from -1 to 1 over the window. `shapes` are
    those of window, patch and voxel.
    """
    window, patch, edges_zyx = shapes
    edges = moved(torch.tensor(edges_zyx[::-1]), draws.device)  # x first
    angles = draws.uniform(-1, 1, 3) * math.radians(choice.rotate_degrees)
    turn = rotation(angles * draws.happens(choice.rotate_p, 1))
    scale = 1 + draws.uniform(-1, 1, 1) * choice.scale_share * draws.happens(choice.scale_p, 1)
    flip = torch.ones(draws.n, 3, device=draws.device)
    if choice.mirror_left:
        flip[:, 0] = 1 - 2 * draws.happens(0.5, 1)[:, 0]
    matrix = turn * (scale * flip)[:, None, :]
    # [Z, Y, X, 3] from the middle, x first, in voxels of the finest axis
    at = centred(patch, draws.device) * edges
    where = torch.einsum("bij,zyxj->bzyxi", matrix, at)
    where = where + draws.uniform(-1, 1, 1, 1, 1, 3) * choice.shift_voxels
    if choice.elastic_p > 0:
        lengths = [p * edge for p, edge in zip(patch, edges_zyx, strict=True)]
        knots = [max(2, round(length / choice.elastic_every) + 1) for length in lengths]
        field = draws.normal(3, *knots) * choice.elastic_voxels * draws.happens(choice.elastic_p, 4)
        bent = F.interpolate(field, patch, mode="trilinear", align_corners=True)
        where = where + bent.movedim(1, -1)
    half = moved(torch.tensor([n / 2 for n in reversed(window)]), draws.device)
    return where / edges / half


def relative_edges(spacing_mm_zyx: Edges) -> Edges:
    """Return the edges of a voxel as multiples of its smallest edge."""
    z, y, x = (float(edge / min(spacing_mm_zyx)) for edge in spacing_mm_zyx)
    return (z, y, x)


def centred(patch: Triple, device: torch.device) -> Tensor:
    """Return the places of a patch's voxels relative to its middle, [Z, Y, X, 3], x first."""
    axes = [torch.arange(n, device=device) - (n - 1) / 2 for n in patch]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def rotation(angles_b3: Tensor) -> Tensor:
    """Return rotation matrices [B, 3, 3] about x, then y, then z."""
    result = torch.eye(3, device=angles_b3.device).expand(len(angles_b3), 3, 3)
    for axis in range(3):
        c, s = angles_b3[:, axis].cos(), angles_b3[:, axis].sin()
        i, j = [a for a in range(3) if a != axis]
        one = torch.eye(3, device=angles_b3.device).repeat(len(angles_b3), 1, 1)
        one[:, i, i], one[:, j, j], one[:, i, j], one[:, j, i] = c, c, -s, s
        result = one @ result
    return result


def _intensity(image: Tensor, choice: Augment, draws: Draws) -> Tensor:
    """Apply noise, brightness, contrast, low resolution and gamma, in nnU-Net's order."""
    if choice.noise_p > 0:
        std = draws.uniform(0, choice.noise_std, 1, 1, 1, 1) * draws.happens(choice.noise_p, 4)
        image = image + std * draws.normal(*image.shape[1:])
    span = draws.uniform(-1, 1, 1, 1, 1, 1) * choice.brightness_share
    image = image * (1 + span * draws.happens(choice.brightness_p, 4))
    span = draws.uniform(-1, 1, 1, 1, 1, 1) * choice.contrast_share
    mean = image.mean(dim=(2, 3, 4), keepdim=True)
    image = (image - mean) * (1 + span * draws.happens(choice.contrast_p, 4)) + mean
    image = _low_resolution(image, choice, draws)
    return _gamma(image, choice, draws)


def _low_resolution(image: Tensor, choice: Augment, draws: Draws) -> Tensor:
    """Downsample and upsample; one factor per batch, because shapes cannot differ within it."""
    share = draws.host.uniform(choice.low_resolution_least, 1)[0].item()
    chosen = draws.happens(choice.low_resolution_p, 4)
    small = [max(1, round(n * share)) for n in image.shape[2:]]
    coarse = F.interpolate(image, small, mode="nearest-exact")
    coarse = F.interpolate(coarse, image.shape[2:], mode="trilinear")
    return torch.lerp(image, coarse, chosen)


def _gamma(image: Tensor, choice: Augment, draws: Draws) -> Tensor:
    """Apply gamma between the extremes of each case; keep its mean and standard deviation."""
    exponent = (draws.uniform(-1, 1, 1, 1, 1, 1) * choice.gamma_log).exp()
    chosen = draws.happens(choice.gamma_p, 4)
    axes = (1, 2, 3, 4)
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    span = (high - low).clamp_min(1e-6)
    bent = ((image - low) / span).pow(exponent)
    mean, std = image.mean(axes, keepdim=True), image.std(axes, keepdim=True)
    bent = (bent - bent.mean(axes, keepdim=True)) / bent.std(axes, keepdim=True).clamp_min(1e-6)
    return torch.lerp(image, bent * std + mean, chosen)
