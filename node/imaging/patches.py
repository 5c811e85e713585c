"""Run a network on overlapping patches of a volume and stitch the class scores row by row.

Memory holds the scores of one slab (the depth of a patch), never those of the volume: a row is
yielded as soon as no later patch can reach it. Patch steps and Gaussian weights are those of
nnU-Net (Isensee et al. 2021), so that an imported network runs as in its training.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from node.imaging.volume import FloatArray

Shape = tuple[int, int, int]
Scores = npt.NDArray[np.float32]
Network = Callable[[FloatArray], FloatArray]  # patch [Z, Y, X] -> scores [C, Z, Y, X]

SIGMA_SHARE = 1 / 8  # of the patch edge, as in nnU-Net
# the weight of a corner must not be 0; a larger minimum would blend patches evenly at the edges of
# the volume, where all weights are small (nnU-Net's minimum, a tenth of float16's)
LEAST_WEIGHT = 6e-9


def starts(n: int, patch: int, overlap: float) -> list[int]:
    """Return the first index of each patch along one axis, evenly spread from edge to edge."""
    if n <= patch:
        return [0]
    step = patch * (1.0 - overlap)
    count = int(np.ceil((n - patch) / step)) + 1
    return [round(i * (n - patch) / (count - 1)) for i in range(count)]


@lru_cache(maxsize=8)
def gaussian_weights(patch: Shape) -> Scores:
    """Return the weight of each voxel of a patch, [Z, Y, X]: 1 in the middle, never 0."""
    axes = []
    for n in patch:
        at = np.arange(n) - n // 2  # the middle as in nnU-Net, half a voxel off for an even patch
        axes.append(np.exp(-0.5 * (at / (n * SIGMA_SHARE)) ** 2))
    weights = np.einsum("i,j,k->ijk", *axes)
    weights /= weights.max()
    result: Scores = np.maximum(weights, LEAST_WEIGHT).astype(np.float32)
    result.setflags(write=False)
    return result


def score_rows(
    array: FloatArray, patch: Shape, overlap: float, network: Network
) -> Iterator[Scores]:
    """Yield the stitched scores [C, Y, X] of each row (axis 0) of `array`, first to last.

    Args:
        array: intensities on the model's grid, [Z, Y, X], any shape; a volume smaller than the
            patch is padded with zeros on both sides, as in training.
        patch: the input shape of the network.
        overlap: share of a patch that the next patch covers too, 0 to below 1.
        network: maps one patch to class scores before any softmax.
    """
    inner, padded = _pad(array, patch)
    if padded.shape == patch:  # one patch needs no blending
        rows = iter(np.moveaxis(network(padded), 1, 0))
    else:
        rows = _blended(padded, patch, overlap, network)
    for row, scores in enumerate(rows):
        if inner[0].start <= row < inner[0].stop:
            yield scores[:, inner[1], inner[2]]


def _blended(
    padded: FloatArray, patch: Shape, overlap: float, network: Network
) -> Iterator[Scores]:
    """Yield the weighted mean of all patches for each row."""
    depth = padded.shape[0]
    weights = gaussian_weights(patch)
    firsts = [starts(n, p, overlap) for n, p in zip(padded.shape, patch, strict=True)]
    total = _weight_rows(padded.shape, patch, firsts)
    slab = np.empty(0, np.float32)
    base = 0
    for i, z in enumerate(firsts[0]):
        for y in firsts[1]:
            for x in firsts[2]:
                window = padded[z : z + patch[0], y : y + patch[1], x : x + patch[2]]
                scores = network(np.ascontiguousarray(window))
                if not slab.size:
                    slab = np.zeros_like(scores, shape=(len(scores), patch[0], *padded.shape[1:]))
                # plane by plane, so that no second patch is in memory
                for at, plane in enumerate(np.moveaxis(scores, 1, 0)):
                    place = slab[:, at, y : y + patch[1], x : x + patch[2]]
                    place += plane * _spread(weights[at], plane)
        upto = firsts[0][i + 1] if i + 1 < len(firsts[0]) else depth
        for row in range(base, upto):
            yield slab[:, row - base] / _spread(total(row), slab[:, row - base])
        done = upto - base
        slab[:, : patch[0] - done] = slab[:, done:].copy()
        slab[:, patch[0] - done :] = 0
        base = upto


def _spread(one: Scores, like: Scores) -> Scores:
    """Repeat `one` for each class if the classes of a voxel are adjacent in memory.

    Numpy's broadcasting would loop over the few classes of each voxel, ten times as slowly.
    """
    if like.strides[0] > like.strides[-1]:
        return one
    return np.moveaxis(np.repeat(one[..., np.newaxis], len(like), axis=-1), -1, 0)


def _pad(array: FloatArray, patch: Shape) -> tuple[tuple[slice, slice, slice], FloatArray]:
    """Pad `array` to at least `patch`; return the slices of the original and the padded array."""
    before = [max(p - n, 0) // 2 for n, p in zip(array.shape, patch, strict=True)]
    after = [max(p - n, 0) - b for n, p, b in zip(array.shape, patch, before, strict=True)]
    inner = tuple(slice(b, b + n) for b, n in zip(before, array.shape, strict=True))
    padded = np.pad(array, list(zip(before, after, strict=True))) if any(after) else array
    return (inner[0], inner[1], inner[2]), padded


def _weight_rows(
    shape: tuple[int, ...], patch: Shape, firsts: list[list[int]]
) -> Callable[[int], Scores]:
    """Return a function row -> summed weights [Y, X]: the Gaussian is a product of its axes."""
    weights = gaussian_weights(patch)
    plane = np.zeros(shape[1:], np.float32)
    # the minimum in gaussian_weights is not separable, so the patches are summed once per depth
    by_depth: dict[int, Scores] = {}

    def of_depth(d: int) -> Scores:
        if d not in by_depth:
            total = plane.copy()
            for y in firsts[1]:
                for x in firsts[2]:
                    total[y : y + patch[1], x : x + patch[2]] += weights[d]
            by_depth[d] = total
        return by_depth[d]

    def of_row(row: int) -> Scores:
        total = plane.copy()
        for z in firsts[0]:
            if z <= row < z + patch[0]:
                total += of_depth(row - z)
        return total

    return of_row
