"""Fill a closed contour: which pixel centres lie inside; shares no code with the tracing."""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def filled(points: npt.NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Return the pixels of rows x columns whose centres lie inside a contour (even-odd rule).

    `points` are (row, column) in pixels; a line that runs forth and back changes nothing.
    """
    first, second = points, np.roll(points, -1, axis=0)
    upper = np.where(first[:, :1] <= second[:, :1], first, second)
    lower = np.where(first[:, :1] <= second[:, :1], second, first)
    # rows from `top` to before `bottom`: a row through a shared point counts once
    top, bottom = np.ceil(upper[:, 0]).astype(np.int64), np.ceil(lower[:, 0]).astype(np.int64)
    counts = bottom - top
    edge = np.repeat(np.arange(len(points)), counts)
    row = top[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    height = lower[edge, 0] - upper[edge, 0]
    width = lower[edge, 1] - upper[edge, 1]
    crossing = upper[edge, 1] + (row - upper[edge, 0]) / height * width
    column = np.clip(np.floor(crossing).astype(np.int64) + 1, 0, shape[1])
    crossed = np.zeros((shape[0], shape[1] + 1), np.int64)
    is_visible = (row >= 0) & (row < shape[0])
    np.add.at(crossed, (row[is_visible], column[is_visible]), 1)
    return np.asarray(np.cumsum(crossed[:, :-1], axis=1) % 2 == 1)
