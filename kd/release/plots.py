"""Plots as SVG, drawn from the report's numbers, and overlays as PNG for a person's eyes.

The only module that knows matplotlib. Overlays show patients: they are written where the person
asks, never into a package.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from PIL import Image

from kd.release.cells import cases_of
from node.imaging import Labels, Volume
from node.imaging.orient import orient
from node.package import SIZE_NAMES, Segment

SIZE_INCHES = (7.0, 4.2)
AGAINST_TEACHER = "Dice, student - teacher"
HOLLOW_SHIFT = 1.04  # beside the filled mark, not under it
INK = "#222222"
PALETTE = ("#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98")
# the same numbers give the same bytes: a plot is part of what a package's digest covers
SAME_BYTES = {"svg.hashsalt": "segnode", "svg.fonttype": "none"}


def accuracy_against_latency(report: dict[str, Any]) -> str:
    """Draw mean Dice with its interval over seconds (logarithmic); SVG text.

    One filled mark per size; hollow marks are runs of that size that are not released.
    """
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    for size, found in report["sizes"].items():
        colour = PALETTE[SIZE_NAMES.index(size) % len(PALETTE)]
        mean, (low, high) = found["dice"]["mean"], found["dice"]["ci"]
        label = f"{size}, {found['parameters'] / 1e6:.2g} M parameters"
        axes.errorbar(
            found["seconds"],
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="o",
            capsize=4,
            color=colour,
            label=label,
        )
        twins = [c for c in report.get("compared", {}).values() if c["size"] == size]
        if twins:
            means = [twin["dice"]["mean"] for twin in twins]
            across = [found["seconds"] * HOLLOW_SHIFT] * len(means)
            axes.plot(across, means, "o", color=colour, markerfacecolor="none")
    seconds = sorted(found["seconds"] for found in report["sizes"].values())
    axes.set_xscale("log")
    axes.set_xlim(seconds[0] / 1.5, seconds[-1] * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%.2g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("seconds per reference case, one thread (logarithmic)")
    axes.set_ylabel("mean Dice, 95 % interval")
    hollow = "; hollow: not released (twins, seeds, ablations)" if report.get("compared") else ""
    title = f"{report['task']} {report['version']}: {cases_of(report, 'held-out case')}{hollow}"
    axes.set_title(title, fontsize="medium")
    axes.legend(frameon=False, loc="best")
    return _svg(figure)


def differences(title: str, by_size: dict[str, list[float]]) -> str:
    """Draw one dot per case and size: a paired difference, such as student - teacher in Dice."""
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
