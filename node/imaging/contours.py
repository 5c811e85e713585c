"""Closed outlines of a mask, between its pixels and the others.

An outline passes half-way between the centres of neighbouring pixels. So every pixel centre of the
mask lies inside and every other one outside, and filling the outlines gives the mask back exactly.
Positions are (row, column) in pixels, with the centre of the first pixel at (0, 0).
"""

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Outline = npt.NDArray[np.float64]  # points x 2, not repeated at the end
Integers = npt.NDArray[np.int64]

# Borders of a pixel, clockwise: to the right, down, to the left, up. Each is given by its start at
# a corner of the pixel, its step, and its middle, relative to the pixel's first corner.
STARTS = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
STEPS = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
OUTSIDE = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])  # the pixel beyond each border


def outlines(mask: Mask) -> list[Outline]:
    """Return the outlines of a mask of rows x columns; one per region, with its holes in it.

    Regions are connected by shared borders, not by corners. A hole is joined to the outline around
    it by a line that runs forth and back (PS3.3 C.8.8.6.3, the keyhole technique).
    """
    rings = [_without_collinear(ring) for ring in _rings(mask)]
    outer = [ring for ring in rings if _area(ring) > 0]
    holes = [ring for ring in rings if _area(ring) < 0]
    inside: list[list[Outline]] = [[] for _ in outer]
    for hole in holes:
        around = [at for at, ring in enumerate(outer) if _holds(ring, hole[0])]
        inside[min(around, key=lambda at: _area(outer[at]))].append(hole)
    return [_joined(ring, own) for ring, own in zip(outer, inside, strict=True)]


def _rings(mask: Mask) -> list[Outline]:
    """Return closed rings of border middles: clockwise around regions, the other way in holes."""
    padded = np.pad(mask, 1)
    width = padded.shape[1] + 1
    starts, directions, middles = [], [], []
    for side, beyond in enumerate(OUTSIDE):
        pixels = np.argwhere(padded & ~np.roll(padded, tuple(-beyond), axis=(0, 1)))
        corner = pixels + STARTS[side]
        starts.append(corner[:, 0] * width + corner[:, 1])
        directions.append(np.full(len(pixels), side))
        middles.append(corner + STEPS[side] / 2 - 1.5)
    start, direction = np.concatenate(starts), np.concatenate(directions)
    following = _following(start, direction, width)
    middle = np.concatenate(middles)
    rings, is_used = [], np.zeros(len(start), bool)
    for first in range(len(start)):
        if is_used[first]:
            continue
        ring = [first]
        while (after := following[ring[-1]]) != first:
            ring.append(after)
        is_used[ring] = True
        rings.append(middle[ring])
    return rings


def _following(start: Integers, direction: Integers, width: int) -> list[int]:
    """Return for each border the next one: where two begin at its end, the right turn."""
    order = np.argsort(start, kind="stable")
    ends = start + STEPS[direction, 0] * width + STEPS[direction, 1]
    first = np.searchsorted(start[order], ends)
    last = np.searchsorted(start[order], ends, side="right") - 1
    one, other = order[first], order[last]
    turns_right = direction[one] == (direction + 1) % 4
    following: list[int] = np.where(turns_right, one, other).tolist()
    return following


def _without_collinear(ring: Outline) -> Outline:
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return ring[turns]


def _area(ring: Outline) -> float:
    """Return the area in pixels; negative for a ring that runs around a hole."""
    after = np.roll(ring, -1, axis=0)
    return float((ring[:, 1] * after[:, 0] - after[:, 1] * ring[:, 0]).sum() / 2)


def _holds(ring: Outline, point: npt.NDArray[np.float64]) -> bool:
    """Return whether a point, which is on no ring but its own, lies inside a ring."""
    after = np.roll(ring, -1, axis=0)
    is_beside = (ring[:, 0] > point[0]) != (after[:, 0] > point[0])
    one, other = ring[is_beside], after[is_beside]
    share = (point[0] - one[:, 0]) / (other[:, 0] - one[:, 0])
    crossing = one[:, 1] + share * (other[:, 1] - one[:, 1])
    return bool((crossing > point[1]).sum() % 2)


def _joined(ring: Outline, holes: list[Outline]) -> Outline:
    """Return the ring with each hole joined to it at the nearest pair of points."""
    for hole in holes:
        distances = ((ring[:, None] - hole[None]) ** 2).sum(axis=2)
        at, there = np.unravel_index(int(distances.argmin()), distances.shape)
        begun = np.roll(hole, -int(there), axis=0)
        ring = np.concatenate([ring[: at + 1], begun, begun[:1], ring[at:]])
    return ring
