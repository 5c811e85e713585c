"""Render a picture of a result: three planes with outlines, names and volumes.

Guarantees: true proportions in mm; radiological view (the patient's right on the left) with letters
at the edges; no patient data except the image. The picture is not for diagnosis.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from node.caveats import Caveat
from node.colours import Colour, display_colours
from node.imaging import Labels, Volume
from node.imaging.orient import orient, turn_of
from node.package import Segment
from node.volumes import marked

Pixels = npt.NDArray[np.uint8]
Scalar = TypeVar("Scalar", bound=np.generic)

PANEL_PX = 360  # width and height of the square for each plane
MARGIN_PX = 24  # around a plane: room for the letters
LINE_PX = 26  # height of a line of the legend
LEGEND_PX = PANEL_PX + MARGIN_PX - 34  # width of a text in a column of the legend
SHORT_LEGEND = 8  # up to this number of segments, the legend has one column
FILL = 0.30  # opacity of a segment inside its outline
WINDOW_PERCENT = (1.0, 99.5)  # percentiles of the voxels; outliers would darken the picture
MOST_SAMPLES = 16_000_000  # of the percentiles
BACKGROUND, INK, FAINT = (0, 0, 0), (235, 235, 235), (150, 150, 150)
LINE_CHARACTERS = 130  # of the caveats; a font of 14 pixels has room for more
NOTE = "AI result - for research use only, not for diagnosis"


@dataclass(frozen=True)
class _Plane:
    """How a slice of the canonical volume (axes to head, back, left) is shown."""

    name: str
    axis: int  # canonical axis perpendicular to the plane
    is_upside_down: bool  # rows run to the head, while a picture starts at the top
    letters: tuple[str, str, str, str]  # left, right, top, bottom


PLANES = (
    _Plane("axial", 0, is_upside_down=False, letters=("R", "L", "A", "P")),
    _Plane("coronal", 1, is_upside_down=True, letters=("R", "L", "H", "F")),
    _Plane("sagittal", 2, is_upside_down=True, letters=("A", "P", "H", "F")),
)


def preview(
    volume: Volume,
    labels: Labels,
    segments: Sequence[Segment],
    path: Path,
    caveats: Sequence[Caveat] = (),
) -> None:
    """Write the picture of `render` as a PNG file."""
    picture = Image.fromarray(render(volume, labels, segments, caveats))
    picture.save(path, "PNG", optimize=True)


def render(
    volume: Volume, labels: Labels, segments: Sequence[Segment], caveats: Sequence[Caveat] = ()
) -> Pixels:
    """Return rows x columns x RGB of three planes through the middle of the detected segments.

    Args:
        volume: the image, in any orientation.
        labels: the result on the same grid; if it is empty, the planes go through the centre.
        segments: names and colours.
        caveats: what a reader of the result must know; long ones take several lines.
    """
    notes = [line for caveat in caveats for line in textwrap.wrap(caveat.text, LINE_CHARACTERS)]
    turned, _ = orient(volume)
    segmented = turn_of(volume.grid).apply(labels.array)
    centre = _centre(segmented)
    low, high = np.percentile(_sample(turned.array), WINDOW_PERCENT)
    colours = display_colours(segments)
    width = len(PLANES) * (PANEL_PX + 2 * MARGIN_PX)
    lines = _lines(len(segments)) + len(notes)
    height = PANEL_PX + 2 * MARGIN_PX + (lines + 1) * LINE_PX + MARGIN_PX
    sheet = Image.new("RGB", (width, height), BACKGROUND)
    for number, plane in enumerate(PLANES):
        grey = _cut(turned.array, plane, centre)
        shown = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
        panel = _panel(
            (shown * 255).astype(np.uint8),
            _cut(segmented, plane, centre),
            [mm for axis, mm in enumerate(turned.grid.spacing_mm) if axis != plane.axis],
            max(turned.grid.extent_mm),
            colours,
        )
        _place(sheet, panel, number * (PANEL_PX + 2 * MARGIN_PX), plane)
    _legend(sheet, segments, colours, labels, notes)
    return np.asarray(sheet)


def _sample(array: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Return voxels at regular distances, at most about `MOST_SAMPLES`: sorting all takes long."""
    step = max(1, round((array.size / MOST_SAMPLES) ** (1 / array.ndim)))
    return array[(slice(None, None, step),) * array.ndim]


def _centre(segmented: npt.NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return the index of the plane with most segmented voxels along each axis."""
    if not segmented.any():
        return (segmented.shape[0] // 2, segmented.shape[1] // 2, segmented.shape[2] // 2)
    marked = segmented > 0
    middle = [int(marked.sum(axis=axes).argmax()) for axes in ((1, 2), (0, 2), (0, 1))]
    return (middle[0], middle[1], middle[2])


def _cut(
    array: npt.NDArray[Scalar], plane: _Plane, centre: tuple[int, int, int]
) -> npt.NDArray[Scalar]:
    cut = np.take(array, centre[plane.axis], axis=plane.axis)
    return cut[::-1] if plane.is_upside_down else cut


def _panel(
    grey: Pixels,
    segmented: Pixels,
    spacing_mm: Sequence[float],
    longest_mm: float,
    colours: Mapping[int, Colour],
) -> Image.Image:
    """Render one plane with outlines, at the same scale for all planes."""
    scale = PANEL_PX / longest_mm
    height, width = (
        max(1, round(n * mm * scale)) for n, mm in zip(grey.shape, spacing_mm, strict=True)
    )
    smooth = Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC)
    exact = Image.fromarray(segmented).resize((width, height), Image.Resampling.NEAREST)
    picture = np.repeat(np.asarray(smooth, np.float32)[..., None], 3, axis=2)
    shown = np.asarray(exact)
    edge = _edges(shown)
    for number, colour in colours.items():
        inside = shown == number
        picture[inside] += FILL * (np.array(colour, np.float32) - picture[inside])
        picture[inside & edge] = colour
    return Image.fromarray(picture.astype(np.uint8))


def _edges(shown: Pixels) -> npt.NDArray[np.bool_]:
    """Mark pixels with a neighbour of another segment."""
    padded = np.pad(shown, 1, mode="edge")
    middle = padded[1:-1, 1:-1]
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_or.reduce([middle != neighbour for neighbour in neighbours])


def _place(sheet: Image.Image, panel: Image.Image, left: int, plane: _Plane) -> None:
    x = left + MARGIN_PX + (PANEL_PX - panel.width) // 2
    y = MARGIN_PX + (PANEL_PX - panel.height) // 2
    sheet.paste(panel, (x, y))
    draw, font = ImageDraw.Draw(sheet), _font(15)
    middle = (x + panel.width // 2, y + panel.height // 2)
    spots = (
        (x - MARGIN_PX // 2, middle[1]),
        (x + panel.width + MARGIN_PX // 2, middle[1]),
        (middle[0], y - MARGIN_PX // 2),
        (middle[0], y + panel.height + MARGIN_PX // 2),
    )
    for letter, spot in zip(plane.letters, spots, strict=True):
        draw.text(spot, letter, INK, font, anchor="mm")


def _legend(
    sheet: Image.Image,
    segments: Sequence[Segment],
    colours: Mapping[int, Colour],
    labels: Labels,
    notes: Sequence[str],
) -> None:
    draw = ImageDraw.Draw(sheet)
    volumes_ml = labels.volumes_ml(tuple(segment.number for segment in segments))
    top = PANEL_PX + 2 * MARGIN_PX
    lines, at_edge = _lines(len(segments)), labels.at_edge()
    for place, segment in enumerate(segments):
        column, line = divmod(place, lines)
        x, y = MARGIN_PX + column * (PANEL_PX + 2 * MARGIN_PX), top + line * LINE_PX
        draw.rectangle((x, y + 5, x + 16, y + 21), colours[segment.number])
        amount = marked(volumes_ml[segment.number], is_cut=segment.number in at_edge, unit=" ml")
        text = f"{segment.label}: {amount if volumes_ml[segment.number] else 'not detected'}"
        draw.text((x + 26, y + 13), text, INK, _fitting(draw, text), anchor="lm")
    for line, note in enumerate(notes):
        middle = top + (lines + line) * LINE_PX + LINE_PX // 2
        draw.text((MARGIN_PX, middle), note, INK, _font(14), anchor="lm")
    last = top + (lines + len(notes)) * LINE_PX + LINE_PX // 2
    draw.text((MARGIN_PX, last), NOTE, FAINT, _font(14), anchor="lm")


def _fitting(draw: ImageDraw.ImageDraw, text: str) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the largest font in which `text` fits into a column of the legend."""
    sizes = range(16, 8, -1)
    fits = (size for size in sizes if draw.textlength(text, _font(size)) <= LEGEND_PX)
    return _font(next(fits, sizes[-1]))


def _lines(segments: int) -> int:
    """Return the number of lines of the legend; a long legend has a column below each plane."""
    return segments if segments <= SHORT_LEGEND else -(-segments // len(PLANES))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
