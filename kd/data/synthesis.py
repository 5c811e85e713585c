"""Synthesise images of any contrast, scanner and resolution from a few label maps.

A network that gets a new random contrast at each step has to learn shape, not grey values
(SynthSeg: Billot et al., Medical Image Analysis 2023, doi 10.1016/j.media.2023.102789). Arrays are
computed on the device of the label map, decisions and tables of tissues on the host. Shapes: B
batch, Z Y X voxels (head, back, left). "Fine" voxels are those of the label map: `fine` of them
along each axis make one voxel of the model's grid.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from kd.data.augment import Batch, rotation
from kd.data.device import CPU, Draws, Random, moved
from kd.data.labelmaps import AIR, LabelMap
from kd.recipe.choices import Generator, Triple
from node.imaging import Labels, Volume

LEAST_STD = 1e-3  # of a whole head's intensities, which are of the order of 1


def synthesise(label_map: LabelMap, patch: Triple, choice: Generator, random: Random) -> Batch:
    """Return one random view with a random contrast, as a batch of one.

    Args:
        label_map: an anatomy on its fine grid.
        patch: shape of the view on the model's grid.
        choice: strength and probability of each effect.
        random: generators for the device of the map.
    """
    device = label_map.tissue_zyx.device
    draws = Draws(1, device, random)
    where = _sampling_places(label_map.shape, patch, choice, draws)
    is_mirrored = bool(draws.host.happens(choice.mirror_p, 0)[0])
    tissue = _sample(label_map, where, is_mirrored=is_mirrored)
    middle = F.avg_pool3d(where[None], choice.fine)[0]
    target = label_map.target(
        _sample(label_map, middle, is_mirrored=is_mirrored), mirrored=is_mirrored
    )
    image = contrast(label_map, tissue, choice, draws)
    image = F.avg_pool3d(image[None, None], choice.fine)
    image, target = _resolution(image, choice, draws), target[None].to(torch.uint8)
    image = image * (1 + draws.uniform(-1, 1, 1, 1, 1, 1) * choice.scale_jitter)
    image = image + draws.uniform(-1, 1, 1, 1, 1, 1) * choice.shift_jitter
    return _cropped(Batch(image, target), choice, draws.host)


def synthesise_scan(label_map: LabelMap, choice: Generator, seed: int) -> tuple[Volume, Labels]:
    """Return a synthetic image of the whole label map on its grid, and its target labels.

    The same seed gives the same image: the anatomy and field of view of the map, one random
    contrast.
    """
    draws = Draws(1, CPU, Random.seeded(CPU, seed))
    tissue = label_map.tissue_zyx
    image = contrast(label_map, tissue, choice, draws).numpy()
    target = label_map.target(tissue).numpy()
    return Volume(image, label_map.grid), Labels(target, label_map.grid)


def contrast(label_map: LabelMap, tissue_zyx: Tensor, choice: Generator, draws: Draws) -> Tensor:
    """Return intensities [Z, Y, X] of one random contrast for a map of tissues, standardised.

    Mean and standard deviation are those of the whole label map with air around it, because the
    node standardises a whole scan and not a patch.
    """
    host = draws.host
    std = host.uniform(0.01, choice.std_high, label_map.n_tissues)[0]
    mean = _means(label_map, choice, host)[label_map.shared]
    std = std[label_map.shared]
    if bool(host.happens(choice.air_p, 0)[0]):
        mean[AIR], std[AIR] = 0.0, host.uniform(0, 0.02)[0]
    if bool(host.happens(choice.strip_p, 0)[0]):
        mean = torch.where(label_map.is_outside, mean.new_zeros(()), mean)
        std = torch.where(label_map.is_outside, std.new_zeros(()), std)
    tissue = tissue_zyx.int()
    means, stds = (moved(table, draws.device) for table in (mean, std))
    image = means[tissue] + stds[tissue] * draws.normal(*tissue_zyx.shape)[0]
    knots = (choice.bias_knots,) * 3
    field = draws.normal(1, *knots) * draws.uniform(0, choice.bias_log, 1, 1, 1, 1)
    bias = F.interpolate(field, tissue_zyx.shape, mode="trilinear", align_corners=True)
    image = image.clamp_min(0) * bias[0, 0].exp()
    counts = label_map.counts.clone()
    counts[AIR] += counts.sum() * host.uniform(0, choice.air_share)[0]
    share = counts / counts.sum()
    middle = (share * mean).sum()
    spread = ((share * (mean.square() + std.square())).sum() - middle.square()).clamp_min(0).sqrt()
    return (image - middle) / spread.clamp_min(LEAST_STD)


def _means(label_map: LabelMap, choice: Generator, host: Draws) -> Tensor:
    """Return the mean intensity of each tissue: of a kind of scan, or of a random contrast."""
    n = label_map.n_tissues
    dice = float(host.uniform(0, 1)[0])
    centres = host.uniform(0, 1, int(label_map.alike.max()) + 1)[0]
    for kind in choice.contrasts:
        if dice < kind.share:
            known = torch.tensor(kind.means)
            known = known + host.normal(len(known))[0] * choice.contrast_spread
            centres[: len(known)] = known
            break
        dice -= kind.share
    else:
        if not bool(host.happens(choice.alike_p, 0)[0]):
            return host.uniform(0, 1, n)[0]
    spread = host.normal(n)[0] * choice.alike_spread
    return (centres[label_map.alike] + spread).clamp(0, 1)


def _sampling_places(shape: Triple, patch: Triple, choice: Generator, draws: Draws) -> Tensor:
    """Return the place in the map of each fine voxel of the patch, [3, Z, Y, X], in voxels."""
    fine = [edge * choice.fine for edge in patch]
    host = draws.host
    angles = host.uniform(-1, 1, 3) * math.radians(choice.rotate_degrees)
    scale = 1 + host.uniform(-1, 1, 3) * choice.scale_share
    shear = torch.eye(3) + host.normal(3, 3)[0] * choice.shear
    matrix = rotation(angles)[0] @ shear @ torch.diag(scale[0])
    room = [max(0, n - p) / 2 for n, p in zip(shape, fine, strict=True)]
    middle = [(n - 1) / 2 for n in shape]
    offset = host.uniform(-1, 1, 3)[0] * torch.tensor(room) + torch.tensor(middle)
    knots = [max(2, round(p / choice.elastic_every) + 1) for p in fine]
    size = draws.uniform(0, choice.elastic_voxels, 1, 1, 1, 1)
    where = F.interpolate(
        draws.normal(3, *knots) * size, fine, mode="trilinear", align_corners=True
    )[0]
    z, y, x = (torch.arange(n, device=draws.device) - (n - 1) / 2 for n in fine)
    for axis in range(3):
        along_z, along_y, along_x = matrix[axis]
        plane = (along_z * z + offset[axis])[:, None] + along_y * y
        where[axis] += plane[:, :, None]
        where[axis] += along_x * x
    return where


def _sample(label_map: LabelMap, where: Tensor, *, is_mirrored: bool) -> Tensor:
    """Return the tissue [Z, Y, X] nearest to each place; air outside the map."""
    padded = F.pad(label_map.tissue_zyx, (1,) * 6)  # a border of air around the map
    z, y, x = (
        places.round().clamp(-1, n).to(torch.int32)
        for places, n in zip(where, label_map.shape, strict=True)
    )
    if is_mirrored:
        x = label_map.shape[2] - 1 - x
    rows, columns = padded.shape[1:]
    sampled: Tensor = padded.flatten()[((z + 1) * rows + y + 1) * columns + x + 1]
    return sampled


def _resolution(image: Tensor, choice: Generator, draws: Draws) -> Tensor:
    """Simulate thick slices along one axis and a coarser matrix, then resample to the grid."""
    steps, host = torch.ones(3), draws.host
    if bool(host.happens(choice.smooth_p, 0)[0]):
        steps = steps * host.uniform(1, choice.smooth_high)[0]
    if bool(host.happens(choice.thick_p, 0)[0]):
        axis = int(host.uniform(0, 3)[0].clamp_max(2.999))
        steps[axis] = torch.maximum(steps[axis], host.uniform(1, choice.thick_high)[0])
    shape = image.shape[2:]
    coarse = [max(2, round(n / float(s))) for n, s in zip(shape, steps, strict=True)]
    if coarse != list(shape):
        image = F.interpolate(image, coarse, mode="area")
    std = draws.uniform(0, choice.noise_std)[0] * image.std()
    image = image + std * draws.normal(*image.shape[1:])
    if coarse != list(shape):
        image = F.interpolate(image, shape, mode="trilinear", align_corners=False)
    return image


def _cropped(batch: Batch, choice: Generator, host: Draws) -> Batch:
    """Crop the field of view from one side and pad it with zeros, as the node does."""
    if not bool(host.happens(choice.crop_p, 0)[0]):
        return batch
    axis = int(host.uniform(0, 3)[0].clamp_max(2.999))
    n = batch.labels_bzyx.shape[1 + axis]
    cropped = int(host.uniform(0, choice.crop_share)[0] * n)
    from_start = bool(host.happens(0.5, 0)[0])
    cut = slice(0, cropped) if from_start else slice(n - cropped, n)
    image, labels = batch.image_bczyx.clone(), batch.labels_bzyx.clone()
    image[(slice(None),) * (2 + axis) + (cut,)] = 0
    labels[(slice(None),) * (1 + axis) + (cut,)] = 0
    return Batch(image, labels)
