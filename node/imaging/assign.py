"""Turn class scores on the model's grid into labels on the source grid, slice by slice.

Scores are interpolated linearly, then the best class is taken. This places boundaries between
voxels of the coarser grid, which interpolating labels cannot do. A linear interpolation is a convex
combination: if all corners of a cell have the same best class, every point in the cell has it.
Scores are therefore interpolated in the other cells only. Memory: two rows of scores.

With an intensity model (`node.imaging.sharpen`) the class depends on the source voxel too, and
`assign_by_intensity` interpolates each class wherever it could win.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from node.imaging.parallel import in_threads, parts
from node.imaging.patches import Scores
from node.imaging.resample import axis_matrix
from node.imaging.sharpen import IntensityModel, Margins
from node.imaging.volume import FloatArray

Bytes = npt.NDArray[np.uint8]
Row = TypeVar("Row")
Places = npt.NDArray[np.int64]
AT_ONCE = 1 << 16  # source pixels whose scores are interpolated in one step
PARTS = 4  # of a volume for each thread: some parts take longer than others


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
    in_plane: tuple[_Axis, _Axis] | None = None
    for at, low, high, share in _neighbours(map(_row, rows), _axis(depth, shape[0])):
        if in_plane is None:
            in_plane = (_axis(low.best.shape[0], shape[1]), _axis(low.best.shape[1], shape[2]))
        labels[at] = _slice(low, high, share, in_plane)
    return labels


def assign_by_intensity(
    rows: Sequence[Scores], image_zyx: FloatArray, model: IntensityModel, threads: int = 1
) -> Bytes:
    """Return the class of the largest posterior at every source voxel.

    Args:
        rows: scores [C, Y, X] of each row of the model's grid, in order.
        image_zyx: intensities on the source grid in canonical order, with even brightness.
        model: what each intensity says about the classes.
        threads: number of computing threads.
    """
    labels = np.zeros(image_zyx.shape, np.uint8)
    places = _axis(len(rows), len(image_zyx))
    margins = model.margins()

    def assign_part(slices: range) -> None:
        first = int(places.low[slices.start])
        prepared = (_weighted(row, model.prior, margins) for row in rows[first:])
        for at, low, high, share in _neighbours(prepared, places, slices, first):
            labels[at] = _sharp_slice(low, high, share, image_zyx[at], model)

    in_threads(assign_part, parts(len(labels), PARTS * threads if threads > 1 else 1), threads)
    return labels


def second_best(
    rows: Sequence[Scores],
    shape: tuple[int, int, int],
    places: Places,
    best: Bytes,
    by_intensity: tuple[FloatArray, IntensityModel] | None = None,
) -> Bytes:
    """Return the class of the second largest score, or posterior, at some source voxels.

    Args:
        rows: scores [C, Y, X] of each row of the model's grid, in order.
        shape: the source grid in canonical order.
        places: indices of n source voxels, [n, 3].
        best: their classes of the largest score, [n].
        by_intensity: intensities on the source grid with even brightness, and what they say about
            the classes; None: the scores alone decide.
    """
    edges = (len(rows), *rows[0].shape[1:])
    axes = [_axis(n_in, n_out) for n_in, n_out in zip(edges, shape, strict=True)]
    scores = np.empty((rows[0].shape[0], len(places)), np.float32)
    for z in np.unique(places[:, 0]).tolist():
        chosen = np.flatnonzero(places[:, 0] == z)
        y, x = places[chosen, 1], places[chosen, 2]
        low, high = rows[axes[0].low[z]], rows[axes[0].high[z]]
        scores[:, chosen] = _mixed(
            _at(low, y, x, axes), _at(high, y, x, axes), float(axes[0].share[z])
        )
    if by_intensity is not None:
        image_zyx, model = by_intensity
        intensities = image_zyx[tuple(places.T)]
        scores *= np.float32(model.prior)
        for k in range(len(scores)):
            scores[k] += model.log_likelihood(k, intensities)
    scores[best, np.arange(len(places))] = -np.inf
    return scores.argmax(0).astype(np.uint8)


def _at(row: Scores, y: Places, x: Places, axes: Sequence[_Axis]) -> Scores:
    """Interpolate the scores of one row of the model's grid at n source pixels, [C, n]."""
    _, rows, columns = axes
    left, right, across = columns.low[x], columns.high[x], columns.share[x]
    upper, lower = rows.low[y], rows.high[y]
    top = _between(row[:, upper, left], row[:, upper, right], across)
    bottom = _between(row[:, lower, left], row[:, lower, right], across)
    return _between(top, bottom, rows.share[y])


def _neighbours(
    rows: Iterator[Row], places: _Axis, slices: range | None = None, first: int = 0
) -> Iterator[tuple[int, Row, Row, float]]:
    """Yield the index of each slice, the two rows around it, and its place between them.

    Args:
        rows: of the model's grid, in order.
        places: of the slices among the rows.
        slices: the requested ones, in order; default: all.
        first: index of the first of `rows`.
    """
    held: dict[int, Row] = {}
    stream = enumerate(rows, first)
    for at in range(len(places.low)) if slices is None else slices:
        share = float(places.share[at])
        ends = (int(places.low[at]), int(places.high[at]) if share else int(places.low[at]))
        while ends[1] not in held:
            index, row = next(stream)
            held[index] = row
            held.pop(index - 2, None)
        yield at, held[ends[0]], held[ends[1]], share


def _row(scores: Scores) -> _Row:
    # no copy if the classes of a voxel are already adjacent in memory
    last = np.ascontiguousarray(np.moveaxis(scores, 0, -1)).reshape(-1, scores.shape[0])
    return _Row(last, last.argmax(1).astype(np.uint8).reshape(scores.shape[1:]))


def _axis(n_in: int, n_out: int) -> _Axis:
    """Place `n_out` samples among `n_in` over the same extent; the ends repeat."""
    at = np.clip((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, 0, n_in - 1)
    low = at.astype(np.int64)
    return _Axis(low, np.minimum(low + 1, n_in - 1), (at - low).astype(np.float32))


def _slice(low: _Row, high: _Row, share: float, axes: tuple[_Axis, _Axis]) -> Bytes:
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
        flat[chosen] = _between(top, bottom, rows.share[y][:, None]).argmax(1)
    return labels


def _between(low: Scores, high: Scores, share: npt.NDArray[np.float32]) -> Scores:
    """Interpolate linearly, in the memory of `high`."""
    high -= low
    high *= share
    high += low
    return high


def _uniform(low: _Row, high: _Row) -> npt.NDArray[np.bool_]:
    """Mark the cells whose eight corners share one best class, by their first corner."""
    uniform = low.best == high.best
    for axis in (0, 1):
        ahead = np.minimum(np.arange(uniform.shape[axis]) + 1, uniform.shape[axis] - 1)
        uniform = uniform & uniform.take(ahead, axis)
        uniform &= low.best == low.best.take(ahead, axis)
    return uniform


@dataclass(frozen=True, eq=False)
class _WeightedRow:
    """One row of the model's grid: weighted scores [C, Y, X], and where each class could win."""

    scores: Scores
    first: Places  # [C, 2]: row and column at which the box of a class begins
    last: Places  # [C, 2]: its last row and column; -1 if it can win nowhere


def _weighted(scores: Scores, prior: float, margins: Margins) -> _WeightedRow:
    """Find the box of each class: where its score is near enough to the best for it to win."""
    scores = np.ascontiguousarray(scores)  # the classes of a voxel may be adjacent in memory
    could_win = scores >= scores.max(0) - margins.any_class[:, None, None]
    could_win &= scores >= scores[0] - margins.background[:, None, None]
    first, last = np.zeros((2, len(scores), 2), np.int64)
    for axis, across in enumerate((2, 1)):
        along = could_win.any(across)
        nowhere = ~along.any(1)
        first[:, axis] = np.where(nowhere, along.shape[1], along.argmax(1))
        last[:, axis] = np.where(nowhere, -1, along.shape[1] - 1 - along[:, ::-1].argmax(1))
    return _WeightedRow(scores * np.float32(prior), first, last)


def _sharp_slice(
    low: _WeightedRow, high: _WeightedRow, share: float, plane: FloatArray, model: IntensityModel
) -> Bytes:
    """Label one source slice, class by class: the best so far is kept for each pixel."""
    labels = np.zeros(plane.shape, np.uint8)
    first, last = np.minimum(low.first, high.first), np.maximum(low.last, high.last)
    others = np.flatnonzero(last[1:, 0] >= 0) + 1
    if not len(others):
        return labels
    first[0], last[0] = first[others].min(0), last[others].max(0)  # the rest is background
    plane = np.ascontiguousarray(plane)  # the axes of a turned volume may have any order in memory
    down = axis_matrix(low.scores.shape[1], plane.shape[0], 1)
    across = axis_matrix(low.scores.shape[2], plane.shape[1], 1)
    rows, columns = (_axis(*matrix.shape[::-1]) for matrix in (down, across))
    reach = [_reach(first[:, axis], last[:, axis], at) for axis, at in enumerate((rows, columns))]
    best = np.empty(plane.shape, np.float32)
    for k in (0, *others.tolist()):
        (box_y, source_y), (box_x, source_x) = reach[0][k], reach[1][k]
        box, source = (box_y, box_x), (source_y, source_x)
        scores = _mixed(low.scores[k][box], high.scores[k][box], share)
        value = down[source_y, box_y] @ scores @ across[source_x, box_x].T
        value += model.log_likelihood(k, plane[source])
        if k == 0:
            best[source] = value
            continue
        # classes come in ascending order, so a new winner is the largest label of its pixel so far;
        # masked copies would take half of the time
        wins = (value > best[source]).view(np.uint8)
        wins *= np.uint8(k)
        np.maximum(best[source], value, out=best[source])
        np.maximum(labels[source], wins, out=labels[source])
    return labels


def _mixed(low: Scores, high: Scores, share: float) -> Scores:
    mixed: Scores = high - low
    mixed *= np.float32(share)
    mixed += low
    return mixed


def _reach(first: Places, last: Places, places: _Axis) -> list[tuple[slice, slice]]:
    """Return which samples of an axis have a corner in `first` to `last`, and all their corners.

    Returns:
        For each class the slice of the model's axis that the corners cover, and the slice of the
        source's axis; both empty where the source has fewer samples than the model.
    """
    begin = np.searchsorted(places.high, first)
    end = np.maximum(np.searchsorted(places.low, last, "right"), begin)
    low = places.low[np.minimum(begin, len(places.low) - 1)]
    high = np.where(begin < end, places.high[end - 1] + 1, low)
    corners = zip(low.tolist(), high.tolist(), strict=True)
    source = zip(begin.tolist(), end.tolist(), strict=True)
    return [(slice(*one), slice(*other)) for one, other in zip(corners, source, strict=True)]
