"""Turn class scores on the model's grid into labels on the source grid, slice by slice.

Scores are interpolated linearly, then the best class is taken. This places boundaries between
voxels of the coarser grid, which interpolating labels cannot do. A linear interpolation is a convex
combination: if all corners of a cell have the same best class, every point in the cell has it.
Scores are therefore interpolated in the other cells only. Memory: two rows of scores.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.imaging.patches import Scores

Bytes = npt.NDArray[np.uint8]
AT_ONCE = 1 << 16  # source pixels whose scores are interpolated in one step


@dataclass(frozen=True, eq=False)
class _Axis:
    """The two input samples around each output sample, and its position between them."""

    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    share: npt.NDArray[np.float32]  # 0 at `low`, 1 at `high`


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of the model's grid: scores [Y * X, C], and the best class [Y, X]."""

    scores: Scores
    best: Bytes


def assign(rows: Iterable[Scores], depth: int, shape: tuple[int, int, int]) -> Bytes:
    """Return the label of every source voxel.

    Args:
        rows: scores [C, Y, X] of each row of the model's grid, in order, `depth` of them.
        depth: number of rows.
        shape: the source grid in canonical order, covering the same box as the model's grid.
    """
    labels = np.zeros(shape, np.uint8)
    places = _axis(depth, shape[0])
    in_plane: tuple[_Axis, _Axis] | None = None
    held: dict[int, _Row] = {}
    stream = _rows(rows)
    for at in range(shape[0]):
        share = float(places.share[at])
        ends = (int(places.low[at]), int(places.high[at]) if share else int(places.low[at]))
        while ends[1] not in held:
            index, row = next(stream)
            held[index] = row
            held.pop(index - 2, None)
        low, high = held[ends[0]], held[ends[1]]
        if in_plane is None:
            in_plane = (_axis(low.best.shape[0], shape[1]), _axis(low.best.shape[1], shape[2]))
        labels[at] = _slice(low, high, share, *in_plane)
    return labels


def _rows(rows: Iterable[Scores]) -> Iterator[tuple[int, _Row]]:
    for index, scores in enumerate(rows):
        # no copy if the classes of a voxel are already adjacent in memory
        last = np.ascontiguousarray(np.moveaxis(scores, 0, -1)).reshape(-1, scores.shape[0])
        best = last.argmax(1).astype(np.uint8).reshape(scores.shape[1:])
        yield index, _Row(last, best)


def _axis(n_in: int, n_out: int) -> _Axis:
    """Place `n_out` samples among `n_in` over the same extent; the ends repeat."""
    at = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    low = at.astype(np.int64)
    return _Axis(low, np.minimum(low + 1, n_in - 1), (at - low).astype(np.float32))


def _slice(low: _Row, high: _Row, share: float, rows: _Axis, columns: _Axis) -> Bytes:
    """Label one source slice, `share` of the way from one row of the model's grid to the next."""
    labels = low.best.take(rows.low, 0).take(columns.low, 1)
    uniform = _uniform(low, high).take(rows.low, 0).take(columns.low, 1)
    mixed = np.flatnonzero(~uniform)
    if not len(mixed):
        return labels
    scores = low.scores
    if high is not low:
        scores = low.scores + np.float32(share) * (high.scores - low.scores)
    flat, width = labels.reshape(-1), low.best.shape[1]
    for first in range(0, len(mixed), AT_ONCE):
        chosen = mixed[first : first + AT_ONCE]
        y, x = np.divmod(chosen, labels.shape[1])
        upper, lower = rows.low[y] * width, rows.high[y] * width
        left, right = columns.low[x], columns.high[x]
        across = columns.share[x][:, None]
        top = _between(scores[upper + left], scores[upper + right], across)
        bottom = _between(scores[lower + left], scores[lower + right], across)
        flat[chosen] = _between(top, bottom, rows.share[y][:, None]).argmax(1)
    return labels


def _between(low: Scores, high: Scores, share: npt.NDArray[np.float32]) -> Scores:
    """Interpolate linearly, in the memory of `high`."""
    high -= low
    high *= share
    high += low
    return high


def _uniform(low: _Row, high: _Row) -> npt.NDArray[np.bool_]:
    """Mark the cells whose eight corners share one best class.

    A cell is indexed by its first corner.
    """
    uniform = low.best == high.best
    for axis in (0, 1):
        ahead = np.minimum(np.arange(uniform.shape[axis]) + 1, uniform.shape[axis] - 1)
        uniform = uniform & uniform.take(ahead, axis)
        uniform &= low.best == low.best.take(ahead, axis)
    return uniform
