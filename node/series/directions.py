"""Group images by size, pixel spacing and direction, and keep the largest group."""

import numpy as np

from node.errors import MixedOrientation
from node.series.header import Header

ORIENTATION_TOLERANCE = 1e-3  # of a direction cosine: 0.06 degrees, 0.2 mm at the edge of a head
SPACING_TOLERANCE = 1e-3  # share of the pixel spacing: half a pixel over 512
STRAY_SHARE = 0.1  # up to this share of stray images is left out; more means a mixed series
MOST_STRAYS = 3
MOST_KINDS = MOST_STRAYS + 2  # of size or direction: one more than a volume with strays has


def one_direction(headers: list[Header]) -> tuple[list[Header], list[Header]]:
    """Return the images that share size, spacing and orientation, and a few stray images.

    Raises:
        MixedOrientation: there are more than a few other images.
    """
    groups, more = _kinds(headers)
    chosen, others = groups[0], [header for group in groups[1:] for header in group]
    if more + len(others) > min(MOST_STRAYS, STRAY_SHARE * len(headers)):
        kinds = "; ".join(f"{len(group)} × {_described(group[0])}" for group in groups[:4])
        count = f"more than {len(groups)}" if more else str(len(groups))
        message = f"the images have {count} different sizes or directions: {kinds}"
        raise MixedOrientation(message, advice="Send each stack of slices as its own series.")
    return chosen, others


def _kinds(headers: list[Header]) -> tuple[list[list[Header]], int]:
    """Group parallel images, the largest group first; also return the number of ungrouped images.

    At most `MOST_KINDS` groups are made, because a rotating projection has thousands of directions,
    and comparing each image with each would take minutes.
    """
    groups: list[list[Header]] = []
    more = 0
    for header in headers:
        group = next((group for group in groups if is_parallel(group[0], header)), None)
        if group is not None:
            group.append(header)
        elif len(groups) < MOST_KINDS:
            groups.append([header])
        else:
            more += 1
    return sorted(groups, key=len, reverse=True), more


def is_parallel(a: Header, b: Header) -> bool:
    """Compare size, pixel spacing and direction of two images within the tolerances."""
    if (a.rows, a.columns) != (b.rows, b.columns):
        return False
    spacing_a, spacing_b = np.array(a.pixel_spacing_mm), np.array(b.pixel_spacing_mm)
    turned = np.abs(np.array(a.orientation) - np.array(b.orientation)).max()
    scaled = np.abs(spacing_a / spacing_b - 1).max()
    return bool(turned <= ORIENTATION_TOLERANCE and scaled <= SPACING_TOLERANCE)


def _described(header: Header) -> str:
    assert header.orientation is not None
    assert header.pixel_spacing_mm is not None
    cosines = ", ".join(f"{value:.2f}" for value in header.orientation)
    spacing = " × ".join(f"{value:.3f}" for value in header.pixel_spacing_mm)
    return f"{header.rows} × {header.columns} pixels of {spacing} mm along ({cosines})"
