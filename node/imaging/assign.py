"""Turn class scores on the model's grid into labels on the source grid, slice by slice.

Scores are interpolated linearly, then the best class is taken. This places boundaries between
voxels of the coarser grid, which interpolating labels cannot do. A linear interpolation is a convex
combination: if all corners of a cell have the same best class, every point in the cell has it.
Scores are therefore interpolated in the other cells only. Memory: two rows of scores.

With an intensity model (`node.imaging.sharpen`) the class depends on the source voxel too. Then all
cells are computed, except those that are background beyond doubt.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.imaging.patches import Scores
from node.imaging.sharpen import IntensityModel
from node.imaging.volume import FloatArray

Bytes = npt.NDArray[np.uint8]
# scores [n, C] of n source voxels, and their flat indices in the slice -> the class of each
Decide = Callable[[Scores, npt.NDArray[np.int64]], npt.NDArray[np.int64]]
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
    settled: npt.NDArray[np.bool_]  # [Y, X]: no intensity can change the best class


@dataclass(frozen=True, eq=False)
class Evidence:
    """The source's own intensities, and the model that says which class they speak for."""

    model: IntensityModel
    image_zyx: FloatArray  # on the source grid, in canonical order


def assign(
    rows: Iterable[Scores],
    depth: int,
    shape: tuple[int, int, int],
    evidence: Evidence | None = None,
) -> Bytes:
    """Return the label of every source voxel.

    Args:
        rows: scores [C, Y, X] of each row of the model's grid, in order, `depth` of them.
        depth: number of rows.
        shape: the source grid in canonical order, covering the same box as the model's grid.
        evidence: intensities that are weighed with the scores; None: scores alone.
    """
    labels = np.zeros(shape, np.uint8)
    places = _axis(depth, shape[0])
    in_plane: tuple[_Axis, _Axis] | None = None
    held: dict[int, _Row] = {}
    stream = _rows(rows, evidence)
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
        labels[at] = _slice(low, high, share, in_plane, _slice_of(evidence, at))
    return labels


def _rows(rows: Iterable[Scores], evidence: Evidence | None) -> Iterator[tuple[int, _Row]]:
    for index, scores in enumerate(rows):
        # no copy if the classes of a voxel are already adjacent in memory
        last = np.ascontiguousarray(np.moveaxis(scores, 0, -1)).reshape(-1, scores.shape[0])
        best = last.argmax(1).astype(np.uint8).reshape(scores.shape[1:])
        settled = np.ones(best.shape, np.bool_)
        if evidence is not None:
            lead = scores[0] - scores[1:].max(0)
            settled = lead > evidence.model.certain_margin
        yield index, _Row(last, best, settled)


def _axis(n_in: int, n_out: int) -> _Axis:
    """Place `n_out` samples among `n_in` over the same extent; the ends repeat."""
    at = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    low = at.astype(np.int64)
    return _Axis(low, np.minimum(low + 1, n_in - 1), (at - low).astype(np.float32))


def _slice_of(evidence: Evidence | None, at: int) -> Decide:
    """Return how the voxels of one source slice, by their flat index, get their class."""
    if evidence is None:
        return lambda scores, _: scores.argmax(1)
    plane, model = evidence.image_zyx[at].reshape(-1), evidence.model
    return lambda scores, chosen: model.log_posterior(scores, plane[chosen]).argmax(1)


def _slice(low: _Row, high: _Row, share: float, axes: tuple[_Axis, _Axis], decide: Decide) -> Bytes:
    """Label one source slice, `share` of the way from one row of the model's grid to the next."""
    rows, columns = axes
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
        flat[chosen] = decide(_between(top, bottom, rows.share[y][:, None]), chosen)
    return labels


def _between(low: Scores, high: Scores, share: npt.NDArray[np.float32]) -> Scores:
    """Interpolate linearly, in the memory of `high`."""
    high -= low
    high *= share
    high += low
    return high


def _uniform(low: _Row, high: _Row) -> npt.NDArray[np.bool_]:
    """Mark the cells whose eight corners share one best class, and are settled.

    A cell is indexed by its first corner.
    """
    uniform = (low.best == high.best) & low.settled & high.settled
    for axis in (0, 1):
        ahead = np.minimum(np.arange(uniform.shape[axis]) + 1, uniform.shape[axis] - 1)
        uniform = uniform & uniform.take(ahead, axis)
        uniform &= low.best == low.best.take(ahead, axis)
    return uniform
