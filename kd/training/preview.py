"""Pictures of what a network is shown and of what it detects, kept in the folder of its run.

Each row is one patch, in the plane with the most labelled voxels. The pictures show patients,
unless the images are synthetic: they are as confidential as the training data.
Shapes: B batch, K classes, Z Y X voxels; [H, W, 3] pixels.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from kd.data.augment import Batch
from kd.data.batches import Source
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from node import durable

BATCH, PREDICTIONS = "batch.png", "predictions.png"  # in the folder of a run
ROWS = 4
HEIGHT = 160  # pixels of a tile; narrower where the patch is
GAP = 4  # pixels between tiles
COVER = 0.55  # share of a colour over the image
WINDOW = (1.0, 99.0)  # percentiles of the intensities of a plane, from black to white

Colours = Mapping[int, tuple[int, int, int]]  # by class; the background has none
Shares = npt.NDArray[np.float32]  # of each class at each pixel [K, H, W], 0 to 1
Pixels = npt.NDArray[np.float32]  # [H, W, 3], 0 to 255


def write_batch(batch: Batch, colours: Colours, folder: Path) -> None:
    """Write the patches of a batch: image, image with labels, and with the teacher's probabilities.

    Args:
        batch: as the network gets it.
        colours: of the classes.
        folder: of the run.
    """
    labels, soft = batch.labels_bzyx, batch.soft_bkzyx
    if batch.at_zyx is not None:  # one voxel of eight has a label: it stands for all eight
        labels = _widened(labels, batch.image_bczyx.shape[2:])
        soft = None if soft is None else _widened(soft, batch.image_bczyx.shape[2:])
    rows = []
    for i in range(min(ROWS, len(labels))):
        z = _plane(labels[i])
        image = _grey(batch.image_bczyx[i, 0, z])
        row = [image, _covered(image, _shares(labels[i, z]), colours)]
        if soft is not None:
            row.append(_covered(image, _numpy(soft[i, :, z].float().exp()), colours))
        rows.append(row)
    _write(rows, folder / BATCH)


def write_predictions(
    network: UNet, source: Source, device: torch.device, colours: Colours, folder: Path
) -> None:
    """Write fixed held-out patches: image, reference labels, and what the network detects.

    Args:
        network: with running statistics; it is switched to evaluation.
        source: of the patches (`kd.training.watch`).
        device: of both.
        colours: of the classes.
        folder: of the run.
    """
    network.eval()
    rows = []
    for step in range(ROWS):
        batch = source.at(step, None)
        with torch.no_grad(), autocast(device):
            best = network.finest(batch.image_bczyx).argmax(1)[0]
        z = _plane(batch.labels_bzyx[0])
        image = _grey(batch.image_bczyx[0, 0, z])
        both = [_shares(batch.labels_bzyx[0, z]), _shares(best[z])]
        rows.append([image, *(_covered(image, shares, colours) for shares in both)])
    _write(rows, folder / PREDICTIONS)


def _widened(source: Tensor, shape_zyx: Sequence[int]) -> Tensor:
    """Repeat every second voxel along the last three axes."""
    for axis, edge in zip((-3, -2, -1), shape_zyx, strict=True):
        source = source.repeat_interleave(2, axis).narrow(axis, 0, edge)
    return source


def _plane(labels_zyx: Tensor) -> int:
    """Return the plane with the most labelled voxels; the middle one without any."""
    counts = (labels_zyx > 0).sum((1, 2))
    return int(counts.argmax()) if bool(counts.any()) else len(counts) // 2


def _numpy(values: Tensor) -> Shares:
    result: Shares = values.detach().cpu().numpy().astype(np.float32)
    return result


def _shares(labels_yx: Tensor) -> Shares:
    """Return labels as shares of classes, 0 or 1."""
    labels = labels_yx.cpu().numpy()
    classes = np.arange(int(labels.max(initial=0)) + 1)
    result: Shares = (labels[None] == classes[:, None, None]).astype(np.float32)
    return result


def _grey(image_yx: Tensor) -> Pixels:
    values = _numpy(image_yx.float())
    low, high = np.percentile(values, WINDOW)
    grey = np.clip((values - low) / max(float(high - low), 1e-6), 0, 1) * 255
    result: Pixels = np.repeat(grey[..., None], 3, axis=2)
    return result


def _covered(image: Pixels, shares_kyx: Shares, colours: Colours) -> Pixels:
    """Lay the colour of each class over the image, as strongly as its share."""
    result = image.copy()
    for number in range(1, len(shares_kyx)):
        cover = COVER * shares_kyx[number][..., None]
        colour = np.asarray(colours.get(number, (255, 255, 255)), np.float32)
        result += cover * (colour - image)
    return result


def _write(rows: Sequence[Sequence[Pixels]], path: Path) -> None:
    tiles = [[_tile(pixels) for pixels in row] for row in rows]
    width = max(sum(tile.width + GAP for tile in row) for row in tiles) - GAP
    height = sum(row[0].height + GAP for row in tiles) - GAP
    picture = Image.new("RGB", (width, height), "white")
    top = 0
    for row in tiles:
        left = 0
        for tile in row:
            picture.paste(tile, (left, top))
            left += tile.width + GAP
        top += row[0].height + GAP
    content = io.BytesIO()
    picture.save(content, "PNG")
    durable.write(path, content.getvalue())


def _tile(pixels: Pixels) -> Image.Image:
    tile = Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))
    scale = HEIGHT / tile.height
    return tile.resize((max(1, round(tile.width * scale)), HEIGHT), Image.Resampling.NEAREST)
