"""From class scores on the model's grid to labels on the source grid, one source slice at a time.

Scores are interpolated linearly and the best class is taken afterwards, which places boundaries
between voxels of the coarser grid; interpolating labels would not. Memory: two rows of scores.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.imaging.patches import Scores
from node.imaging.resample import Matrix, axis_matrix


@dataclass(frozen=True)
class _Between:
    """Source slice `at` lies between rows `low` and `low + 1`, `share` of the way up."""

    low: int
    share: float


def assign(
    rows: Iterable[Scores], depth: int, shape: tuple[int, int, int]
) -> npt.NDArray[np.uint8]:
    """Return the label of every source voxel.

    Args:
        rows: scores [C, Y, X] of each row of the model's grid, in order, `depth` of them.
        depth: number of rows.
        shape: the source grid in canonical order, covering the same box as the model's grid.
    """
    labels = np.zeros(shape, np.uint8)
    for at, scores in enumerate(_slices(rows, depth, shape)):
        labels[at] = scores.argmax(axis=0)
    return labels


def _slices(rows: Iterable[Scores], depth: int, shape: tuple[int, int, int]) -> Iterator[Scores]:
    """Interpolate rows to source slices: in-plane once per row, then between two rows."""
    held: dict[int, Scores] = {}
    stream = enumerate(rows)
    for place in _places(depth, shape[0]):
        high = min(place.low + 1, depth - 1) if place.share else place.low
        while high not in held:
            index, row = next(stream)
            held[index] = _in_plane(row, shape[1:])
            held.pop(index - 2, None)
        low = held[place.low]
        yield low + np.float32(place.share) * (held[high] - low) if place.share else low


def _places(depth: int, n_out: int) -> list[_Between]:
    at = np.clip((np.arange(n_out) + 0.5) * (depth / n_out) - 0.5, 0, depth - 1)
    return [_Between(int(a), float(a - int(a))) for a in at]


def _in_plane(row: Scores, shape: tuple[int, ...]) -> Scores:
    result: Scores = row
    if row.shape[1] != shape[0]:
        result = np.matmul(axis_matrix(row.shape[1], shape[0], 1), result)
    if row.shape[2] != shape[1]:
        across: Matrix = axis_matrix(row.shape[2], shape[1], 1)
        result = np.matmul(result, across.T)
    return result
