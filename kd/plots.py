"""Plots as SVG, drawn from the report's numbers, and overlays as PNG for a person's eyes.

Overlays show patients: they are written where the person asks, never into a package.
"""

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

from node.imaging import Labels, Volume
from node.imaging.orient import orient
from node.package import Segment

WIDTH, HEIGHT, EDGE = 640, 400, 60  # pixels
INK, FAINT = "#222222", "#cccccc"
PALETTE = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98")


def accuracy_against_latency(report: dict[str, Any]) -> str:
    """Draw mean Dice with its interval over seconds (logarithmic), one mark per size."""
    sizes = report["sizes"]
    seconds = np.log10([found["seconds"] for found in sizes.values()])
    dice = [found["dice"] for found in sizes.values()]
    across = _Scale(float(seconds.min()) - 0.1, float(seconds.max()) + 0.1, EDGE, WIDTH - 20)
    low, high = min(d["ci"][0] for d in dice), max(d["ci"][1] for d in dice)
    up = _Scale(low - 0.005, high + 0.005, HEIGHT - EDGE, 30)
    marks = []
    for i, (size, found) in enumerate(sizes.items()):
        x, y = across(float(np.log10(found["seconds"]))), up(found["dice"]["mean"])
        ends = [up(v) for v in found["dice"]["ci"]]
        colour = PALETTE[i % len(PALETTE)]
        marks.append(_line(x, ends[0], x, ends[1], colour))
        marks.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')
        label = f"{size}, {found['parameters'] / 1e6:.2g} M, {found['seconds']:.2g} s"
        marks.append(_text(x + 8, y - 6, label))
    ticks = [float(v) for v in np.linspace(low, high, 5)]
    marks += [_text(EDGE - 8, up(v) + 4, f"{v:.3f}", anchor="end") for v in ticks]
    return _svg(
        f"{report['task']} {report['version']}: mean Dice of {report['cases']} cases",
        "seconds per case (logarithmic)",
        marks,
    )


def differences(title: str, by_size: dict[str, list[float]]) -> str:
    """Draw one dot per case and size: a paired difference, such as student - teacher in Dice."""
    every = [v for values in by_size.values() for v in values]
    reach = max(0.01, *(abs(v) for v in every)) * 1.05
    up = _Scale(-reach, reach, HEIGHT - EDGE, 30)
    marks = [_line(EDGE, up(0), WIDTH - 20, up(0), INK)]
    step = (WIDTH - 20 - EDGE) / max(1, len(by_size))
    for i, (size, values) in enumerate(by_size.items()):
        middle = EDGE + step * (i + 0.5)
        for k, value in enumerate(sorted(values)):
            x = middle + step * 0.7 * ((k + 0.5) / len(values) - 0.5)
            colour = PALETTE[i % len(PALETTE)]
            marks.append(f'<circle cx="{x:.1f}" cy="{up(value):.1f}" r="3" fill="{colour}"/>')
        mean = up(float(np.mean(values)))
        marks.append(_line(middle - step * 0.4, mean, middle + step * 0.4, mean, INK))
        marks.append(_text(middle, HEIGHT - EDGE + 18, size, anchor="middle"))
    ticks = (-reach, 0.0, reach)
    marks += [_text(EDGE - 8, up(v) + 4, f"{v:+.3f}", anchor="end") for v in ticks]
    return _svg(title, "cases, sorted within each size; the line is the mean", marks)


def overlay(
    image: Volume, truth: Labels, found: Labels, segments: tuple[Segment, ...], path: Path
) -> None:
    """Write three slices through the middle of the structures: image, reference, found."""
    turned, turn = orient(image)
    masks = [turn.apply(labels.array) for labels in (truth, found)]
    places = np.argwhere((masks[0] > 0) | (masks[1] > 0))
    at = places.mean(0).astype(int) if len(places) else np.array(turned.array.shape) // 2
    low, high = np.percentile(turned.array, [1, 99])
    grey = np.clip((turned.array - low) / max(high - low, 1e-6), 0, 1) * 255
    rows = []
    for axis in range(3):
        plane = np.repeat(np.take(grey, at[axis], axis)[..., None], 3, -1)
        views = [plane, *(_painted(plane, np.take(m, at[axis], axis), segments) for m in masks)]
        if axis > 0:
            views = [view[::-1] for view in views]  # the head goes up
        rows.append(np.concatenate(views, axis=1))
    widest = max(row.shape[1] for row in rows)
    padded = [np.pad(r, ((0, 0), (0, widest - r.shape[1]), (0, 0))) for r in rows]
    picture = Image.fromarray(np.concatenate(padded, axis=0).astype(np.uint8))
    picture.resize((picture.width * 4, picture.height * 4), Image.Resampling.NEAREST).save(path)


def _painted(
    plane: npt.NDArray[np.floating], mask: npt.NDArray[np.uint8], segments: tuple[Segment, ...]
) -> npt.NDArray[np.floating]:
    result = plane.copy()
    for segment in segments:
        chosen = mask == segment.number
        result[chosen] = 0.5 * result[chosen] + 0.5 * np.array(segment.colour_rgb)
    return result


class _Scale:
    """A straight map from values to pixels."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start = low, start
        self.slope = (end - start) / max(high - low, 1e-9)

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) * self.slope


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="1.5"/>'


def _text(x: float, y: float, content: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="12" fill="{INK}">{escape(content)}</text>'


def _svg(title: str, below: str, marks: list[str]) -> str:
    frame = _line(EDGE, HEIGHT - EDGE, WIDTH - 20, HEIGHT - EDGE, FAINT)
    frame += _line(EDGE, HEIGHT - EDGE, EDGE, 30, FAINT)
    head = f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
    lines = [
        f'<svg {head} font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    lines += [frame, _text(EDGE, 18, title), _text(WIDTH / 2, HEIGHT - 14, below, "middle"), *marks]
    return "\n".join([*lines, "</svg>"]) + "\n"
