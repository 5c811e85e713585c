"""Plots of a report as SVG, and overlays of labels on images as PNG.

The only module that imports matplotlib. Overlays of a validation show patients: they are written to
the folder given on the command line, never into a package.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from PIL import Image

from kd.records import Report
from kd.release.cells import cases_of
from node.imaging import Labels, Volume
from node.imaging.orient import orient
from node.package import SIZE_NAMES, Segment
from node.package.manifest import SizeName

SIZE_INCHES = (7.0, 4.2)
AGAINST_TEACHER = "Dice, student - teacher"
HOLLOW_SHIFT = 1.04  # beside the filled mark, not under it
INK = "#222222"
REFERENCE_HEIGHT = 240  # pixels
PALETTE_COLOURS = 96
PALETTE = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98")
# the same numbers give the same bytes: a plot is part of what a package's digest covers
SAME_BYTES = {"svg.hashsalt": "segnode", "svg.fonttype": "none"}


def accuracy_against_latency(report: Report) -> str:
    """Plot mean Dice with its interval over seconds (logarithmic); return SVG.

    One filled mark per size; hollow marks are runs of that size that are not released.
    """
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    seconds = []
    for size, measured in report.sizes.items():
        if measured.cost is None:
            continue
        seconds.append(measured.cost.seconds)
        colour = PALETTE[SIZE_NAMES.index(size) % len(PALETTE)]
        mean, (low, high) = measured.dice.mean, measured.dice.ci
        axes.errorbar(
            measured.cost.seconds,
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="o",
            capsize=4,
            color=colour,
            label=f"{size}, {measured.parameters / 1e6:.2g} M parameters",
        )
        others = [one.dice.mean for one in report.compared.values() if one.size == size]
        if others:
            across = [measured.cost.seconds * HOLLOW_SHIFT] * len(others)
            axes.plot(across, others, "o", color=colour, markerfacecolor="none")
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 1.5, max(seconds) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%.2g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("seconds per reference case, one thread (logarithmic)")
    axes.set_ylabel("mean Dice, 95 % interval")
    hollow = "; hollow: not released (baselines, seeds, ablations)" if report.compared else ""
    title = f"{report.task} {report.version}: {cases_of(report, 'held-out case')}{hollow}"
    axes.set_title(title, fontsize="medium")
    axes.legend(frameon=False, loc="best")
    return _svg(figure)


def differences(title: str, by_size: Mapping[SizeName, Sequence[float]]) -> str:
    """Plot one dot per case and size: a paired difference, such as student - teacher in Dice."""
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0.0, color=INK, linewidth=0.8)
    for i, (size, values) in enumerate(by_size.items()):
        colour = PALETTE[SIZE_NAMES.index(size) % len(PALETTE)]
        across = i + 0.35 * np.linspace(-1, 1, len(values))
        axes.plot(across, sorted(values), ".", color=colour)
        axes.hlines(float(np.mean(values)), i - 0.4, i + 0.4, color=INK)
    axes.set_xticks(range(len(by_size)), list(by_size))
    axes.set_xlabel("cases, sorted within each size; the line is the mean")
    axes.set_title(title)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    written = io.StringIO()
    with mpl.rc_context(SAME_BYTES):
        figure.savefig(written, format="svg", metadata={"Date": None})
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines()) + "\n"


def overlay(
    image: Volume, references: Sequence[Labels], segments: Sequence[Segment], path: Path
) -> None:
    """Write three slices through the middle of the structures as PNG.

    Each row is one plane: the image alone, then the image under each of `references`, such as the
    reference labels and the detected ones.
    """
    turned, turn = orient(image)
    masks = [turn.apply(labels.array) for labels in references]
    places = np.argwhere(np.any([mask > 0 for mask in masks], axis=0))
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


def reference(
    image: Volume,
    labels: Labels,
    segments: Sequence[Segment],
    window: tuple[float, float] | None,
    path: Path,
) -> None:
    """Write three planes of the reference image under its labels, side by side, as PNG.

    Planes go through the middle of the labels, are cut to what is brighter than the window's lower
    end, and have square pixels. A palette keeps the file small: it stays in each clone for ever.

    Args:
        image: the reference image.
        labels: of one size, on the image's grid.
        segments: of the package, for the colours.
        window: lowest and highest intensity; None: percentiles of the image.
        path: of the PNG.
    """
    turned, turn = orient(image)
    mask = turn.apply(labels.array)
    at = np.argwhere(mask > 0).mean(0).astype(int)
    low, high = window or tuple(np.percentile(turned.array, [1, 99.5]))
    grey = np.clip((turned.array - low) / max(high - low, 1e-6), 0, 1) * 255
    places = np.argwhere(grey > 0)
    box = [slice(a, b + 1) for a, b in zip(places.min(0), places.max(0), strict=True)]
    views = []
    for axis in range(3):
        plane = np.repeat(np.take(grey, at[axis], axis)[..., None], 3, -1)
        painted = _painted(plane, np.take(mask, at[axis], axis), segments).astype(np.uint8)
        painted = painted[tuple(np.delete(np.array(box, object), axis))]
        view = Image.fromarray(painted if axis == 0 else painted[::-1])  # the head goes up
        rows_mm, columns_mm = np.delete(turned.grid.spacing_mm, axis) * painted.shape[:2]
        width = round(REFERENCE_HEIGHT * columns_mm / rows_mm)
        views.append(view.resize((width, REFERENCE_HEIGHT), Image.Resampling.BICUBIC))
    picture = Image.new("RGB", (sum(view.width for view in views), REFERENCE_HEIGHT))
    left = 0
    for view in views:
        picture.paste(view, (left, 0))
        left += view.width
    picture.quantize(PALETTE_COLOURS).save(path, optimize=True)


def _painted(
    plane: npt.NDArray[np.floating], mask: npt.NDArray[np.uint8], segments: Sequence[Segment]
) -> npt.NDArray[np.floating]:
    result = plane.copy()
    for segment in segments:
        chosen = mask == segment.number
        result[chosen] = 0.5 * result[chosen] + 0.5 * np.array(segment.colour_rgb)
    return result
