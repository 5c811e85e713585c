"""Times that should stay flat while something grows, and their plot."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from matplotlib import rcParams
from matplotlib.figure import Figure

TRIES = 30  # of each operation
COLOURS = ("#2471a3", "#c0392b", "#1e8449")


@dataclass
class Curve:
    """One measured quantity that should stay flat."""

    name: str
    unit: str
    at: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, at: int, value: float) -> None:
        """Add one point."""
        self.at.append(at)
        self.values.append(value)


def median_ms(act: Callable[[], object]) -> float:
    """Return the median of several tries."""
    taken = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        act()
        taken.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(taken)


def plot(curves: list[Curve], across: str, path: Path) -> None:
    """Plot each curve over a separate axis that starts at zero, so that flat looks flat."""
    rcParams.update({"svg.hashsalt": "segnode", "svg.fonttype": "none"})
    figure = Figure(figsize=(7.0, 1.6 * len(curves) + 0.4), layout="constrained")
    for place, (curve, colour) in enumerate(zip(curves, cycle(COLOURS), strict=False), 1):
        axes = figure.add_subplot(len(curves), 1, place)
        axes.plot(curve.at, curve.values, color=colour)
        axes.set_ylim(0, 1.3 * max(curve.values))
        axes.set_ylabel(curve.unit)
        axes.set_title(curve.name, fontsize="medium", loc="left")
    axes.set_xlabel(across)
    figure.savefig(path, metadata={"Date": None})
