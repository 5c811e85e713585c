"""Outlines of a mask: filled again they are the mask, whatever its shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from node.imaging.contours import outlines
from node.rtstruct.fill import Mask, filled

MASKS = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(lambda s: arrays(bool, s))
RING = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool)


def refilled(mask: Mask) -> Mask:
    result = np.zeros_like(mask)
    for outline in outlines(mask):
        region = filled(outline, mask.shape)
        assert not (result & region).any(), "regions do not overlap"
        result |= region
    return result


@given(MASKS)
def test_filled_outlines_are_the_mask(mask: Mask) -> None:
    np.testing.assert_array_equal(refilled(mask), mask)


@given(MASKS, st.integers(0, 2**32 - 1))
def test_rounded_coordinates_change_nothing(mask: Mask, seed: int) -> None:
    noise = np.random.default_rng(seed)
    for outline in outlines(mask):
        moved = outline + noise.uniform(-0.01, 0.01, outline.shape)
        # a line of a keyhole moves as one: its points are the same places
        same = np.unique(outline, axis=0, return_inverse=True)[1].ravel()
        moved = moved[[int(np.flatnonzero(same == place)[0]) for place in same]]
        np.testing.assert_array_equal(filled(moved, mask.shape), filled(outline, mask.shape))


def test_a_region_is_one_outline_with_its_holes() -> None:
    (outline,) = outlines(RING)
    np.testing.assert_array_equal(filled(outline, (4, 4)), RING)
    inner = np.zeros((8, 8), bool)
    inner[:7, :7] = True
    inner[1:6, 1:6] = False
    inner[3, 3] = True  # an island in the hole
    assert len(outlines(inner)) == 2


def test_corners_do_not_connect_regions() -> None:
    assert len(outlines(np.eye(3, dtype=bool))) == 3
    assert outlines(np.zeros((4, 5), bool)) == []


def test_a_straight_border_has_no_points_between() -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:25, 5:35] = True
    (outline,) = outlines(mask)
    assert len(outline) == 8, "corners are cut, half a pixel wide"
    assert outline.min(axis=0).tolist() == [4.5, 4.5]
    assert outline.max(axis=0).tolist() == [24.5, 34.5]


@pytest.mark.parametrize("seed", range(5))
def test_another_library_fills_the_same_pixels(seed: int) -> None:
    """Pillow draws the border too, so the outline is magnified until the border is thin."""
    blob = np.random.default_rng(seed).normal(size=(20, 20))
    for axis in (0, 1, 0, 1):
        blob = np.add.reduce([np.roll(blob, by, axis) for by in (-1, 0, 1)])
    mask, scale = np.pad(blob > 0, 2), 16
    sheet = Image.new("1", (24 * scale, 24 * scale))
    for outline in outlines(mask):
        points = [((column + 0.5) * scale, (row + 0.5) * scale) for row, column in outline]
        region = Image.new("1", sheet.size)
        ImageDraw.Draw(region).polygon(points, fill=1)
        sheet.paste(1, mask=region)
    centres = np.asarray(sheet)[scale // 2 :: scale, scale // 2 :: scale]
    holes = sum(len(outline) for outline in outlines(mask))
    assert holes
    np.testing.assert_array_equal(centres, mask)
