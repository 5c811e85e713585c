"""Turn volumes to the canonical axis order and back by permuting and flipping axes.

The canonical order is LPS: array axis 0 runs to the head, axis 1 to the back, axis 2 to the left,
as nearly as permutations and flips of whole axes allow. An oblique volume stays oblique, and no
value changes.

A package may require the same axes with other directions, such as RAS (to the right, to the front,
to the head), because padding and patches must start at the same ends as in training.
"""

from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from node.imaging.volume import Grid, Volume

Orientation = Literal["LPS", "RPS", "LAS", "RAS", "LPI", "RPI", "LAI", "RAI"]


@dataclass(frozen=True)
class Turn:
    """A permutation of the array axes and a flip of some of them; `undo` is its inverse."""

    axes: tuple[int, int, int]  # canonical axis i was source axis axes[i]
    flips: tuple[bool, bool, bool]  # canonical axis i runs against its source axis

    def apply(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn an array [slice, row, column] to the canonical order (a view)."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return np.transpose(array, self.axes)[steps]

    def undo(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Turn an array in canonical order back to the source order (a view)."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        back = np.argsort(self.axes)
        return np.transpose(array[steps], tuple(int(i) for i in back))


def turn_of(grid: Grid, orientation: Orientation = "LPS") -> Turn:
    """Find the turn that brings `grid` nearest to `orientation`.

    All six assignments of axes are compared. Choosing the nearest axis one by one can assign two
    array axes to one direction if a volume lies at about 45 degrees.
    """
    directions = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    cosines = directions[::-1]  # rows: along z (head), y (back), x (left); columns: source axes
    best = max(permutations(range(3)), key=lambda p: sum(abs(cosines[i, p[i]]) for i in range(3)))
    signs = [1 if letter in "LPS" else -1 for letter in reversed(orientation)]
    flips = tuple(bool(signs[i] * cosines[i, best[i]] < 0) for i in range(3))
    return Turn((best[0], best[1], best[2]), (flips[0], flips[1], flips[2]))


def turned_grid(grid: Grid, turn: Turn) -> Grid:
    """Return the grid of `turn.apply(array)`: the same places with other indices."""
    shape = tuple(grid.shape[a] for a in turn.axes)
    to_source = np.zeros((4, 4))
    to_source[3, 3] = 1.0
    for i, (axis, flip) in enumerate(zip(turn.axes, turn.flips, strict=True)):
        to_source[axis, i] = -1.0 if flip else 1.0
        to_source[axis, 3] = grid.shape[axis] - 1 if flip else 0.0
    return Grid((shape[0], shape[1], shape[2]), grid.affine @ to_source)


def orient(volume: Volume, orientation: Orientation = "LPS") -> tuple[Volume, Turn]:
    """Return `volume` in canonical order, and the turn that was applied."""
    turn = turn_of(volume.grid, orientation)
    return Volume(turn.apply(volume.array), turned_grid(volume.grid, turn)), turn
