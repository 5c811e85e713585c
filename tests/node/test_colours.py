"""Colours of segments: visible on grey, and another one for each side."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from highdicom.color import CIELabColor
from PIL import Image, ImageCms

from node.colours import display_colours
from node.package import Manifest, Segment
from tests.support.phantoms import package

MODELS = Path(__file__).parents[2] / "models"
RELEASED = sorted(MODELS.glob("*/*/manifest.json"))


def segments(folder: Path, *labels: str, **changes: Any) -> list[Segment]:
    first = package(folder).manifest.segments[0]
    return [
        msgspec.structs.replace(first, number=number, label=label, **changes)
        for number, label in enumerate(labels, start=1)
    ]


def lab(colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    known = CIELabColor.from_rgb(*colour)
    return np.array([known.l_star, known.a_star, known.b_star])


@pytest.mark.parametrize("manifest", RELEASED, ids=lambda path: path.parent.parent.name)
def test_released_segments_are_told_from_grey_and_from_each_other(manifest: Path) -> None:
    known = msgspec.json.decode(manifest.read_bytes(), type=Manifest).segments
    colours = {number: lab(colour) for number, colour in display_colours(known).items()}
    for number, (lightness, *chroma) in colours.items():
        assert np.hypot(*chroma) >= 18, number
        assert lightness >= 25, number
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(colours[one] - colours[other]) >= 8, (one, other)


def test_colours_that_can_be_seen_stay(tmp_path: Path) -> None:
    left, right = segments(tmp_path, "Left kidney", "Right kidney", colour_rgb=(220, 60, 40))
    other = msgspec.structs.replace(right, colour_rgb=(60, 140, 230))
    assert display_colours([left, other]) == {1: (220, 60, 40), 2: (60, 140, 230)}


@pytest.mark.parametrize("colour", [(220, 60, 40), (245, 245, 245), (0, 118, 14), (0, 0, 0)])
def test_two_sides_with_one_colour_get_two(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    both = segments(tmp_path, "Left kidney", "Right kidney", colour_rgb=colour)
    left, right = (lab(one) for one in display_colours(both).values())
    assert np.linalg.norm(left - right) >= 10
    single = segments(tmp_path, "Right kidney", colour_rgb=(220, 60, 40))
    assert display_colours(single) == {1: (220, 60, 40)}, "there is no left side"


def test_grey_gets_a_hue_far_from_the_others(tmp_path: Path) -> None:
    red, blue, grey = segments(tmp_path, "a", "b", "c")
    red = msgspec.structs.replace(red, colour_rgb=(255, 0, 0))
    blue = msgspec.structs.replace(blue, colour_rgb=(0, 0, 255))
    grey = msgspec.structs.replace(grey, colour_rgb=(200, 200, 200))
    shown = display_colours([red, blue, grey])[3]
    assert shown[1] == max(shown) == 200, "green, opposite to red and blue"
    assert min(shown) < 130


@pytest.mark.parametrize("colour", [(220, 60, 40), (119, 159, 176), (12, 48, 255), (245, 245, 245)])
def test_cielab_of_a_seg_agrees_with_a_colour_management_system(
    colour: tuple[int, int, int],
) -> None:
    """Little CMS relates CIELab to D50, as ICC does; the same colour must come back as sRGB."""
    stored = CIELabColor.from_rgb(*colour).value
    back = CIELabColor.from_dicom_value(tuple(stored)).to_rgb()
    assert np.abs(np.array(back) - colour).max() <= 1
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    transform = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    reference = ImageCms.applyTransform(Image.new("RGB", (1, 1), colour), transform)
    assert reference is not None
    l_star = float(np.asarray(reference)[0, 0, 0]) / 255 * 100
    assert lab(colour)[0] == pytest.approx(l_star, abs=2.5)
