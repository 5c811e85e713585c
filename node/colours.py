"""The colour in which each segment is shown: in the SEG and in pictures.

Guarantees: the colours of a package stay as they are where a reader can distinguish them from grey
and left from right; otherwise they are changed as little as that takes. The result depends on the
segments only.
"""

import colorsys
from collections.abc import Iterator, Sequence
from itertools import pairwise

from node.package import Segment
from node.volumes import LEFT, RIGHT

Colour = tuple[int, int, int]  # red, green, blue, from 0 to 255

LEAST_SATURATION = 0.40  # below it, an overlay on a grey image resembles a part of the image
LEAST_VALUE = 0.50  # below it, an overlay on a dark image is invisible
HUELESS = 0.05  # saturation below which a hue is an accident
BRIGHT = 0.35  # from this luma on, the right side becomes darker, below it lighter
LUMA = (0.2126, 0.7152, 0.0722)  # shares of red, green and blue, ITU-R BT.709
SIDE_STEP = 0.35  # of the way to black or to white


def display_colours(segments: Sequence[Segment]) -> dict[int, Colour]:
    """Return the colour of each segment by its number.

    Colours that are nearly grey or nearly black become visible on a grey image. Where both sides of
    a structure have one colour, the right side becomes darker, or lighter if that colour is dark.
    """
    hues = [hue for hue, saturation, _ in map(_hsv, segments) if saturation >= HUELESS]
    colours: dict[int, Colour] = {}
    for segment in segments:
        hue, saturation, value = _hsv(segment)
        if saturation < HUELESS:
            hue = _farthest(hues)
        saturation, value = max(saturation, LEAST_SATURATION), max(value, LEAST_VALUE)
        colours[segment.number] = _rgb(hue, saturation, value, segment)
    for right in _rights_like_left(segments):
        colours[right] = _other_side(colours[right])
    return colours


def _hsv(segment: Segment) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in segment.colour_rgb)
    return colorsys.rgb_to_hsv(red, green, blue)


def _rgb(hue: float, saturation: float, value: float, segment: Segment) -> Colour:
    if (hue, saturation, value) == _hsv(segment):
        return segment.colour_rgb
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _farthest(hues: Sequence[float]) -> float:
    """Return the middle of the widest gap between the hues on the colour circle."""
    if not hues:
        return 0.0
    ordered = sorted(set(hues))
    gaps = [(after - before, before) for before, after in pairwise([*ordered, ordered[0] + 1])]
    width, before = max(gaps)
    return (before + width / 2) % 1


def _rights_like_left(segments: Sequence[Segment]) -> Iterator[int]:
    """Yield the numbers of right sides that have the colour of the left side."""
    of_label = {segment.label: segment for segment in segments}
    for segment in segments:
        left = of_label.get(LEFT + segment.label.removeprefix(RIGHT))
        is_right = segment.label.startswith(RIGHT)
        if is_right and left is not None and left.colour_rgb == segment.colour_rgb:
            yield segment.number


def _other_side(colour: Colour) -> Colour:
    luma = sum(share * channel / 255 for share, channel in zip(LUMA, colour, strict=True))
    end = 0 if luma >= BRIGHT else 255
    red, green, blue = (round(channel + SIDE_STEP * (end - channel)) for channel in colour)
    return red, green, blue
