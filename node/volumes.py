"""Volumes as a reader compares them: left beside right, and sums where they are usual.

All volumes are in millilitres. Numbers for people have three significant digits.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.package import Segment
from node.package.manifest import Expected

LEFT, RIGHT = "Left ", "Right "  # as labels of paired structures begin
HEAD = ("structure", "ml", "left", "right", "left - right")


@dataclass(frozen=True)
class PairedVolumes:
    """The volumes of both sides of one structure."""

    structure: str
    left_ml: float
    right_ml: float

    @property
    def sum_ml(self) -> float:
        """Return the volume of both sides."""
        return self.left_ml + self.right_ml

    @property
    def difference(self) -> str:
        """Return left minus right, and its share of the mean of both sides."""
        difference_ml = self.left_ml - self.right_ml
        if not self.sum_ml:
            return "0"
        share = abs(difference_ml) / (self.sum_ml / 2)
        return f"{'+' if difference_ml > 0 else ''}{rounded(difference_ml)} ({share:.0%})"


def rounded(value: float) -> str:
    """Return a quantity with three significant digits and no exponent; exact values are in JSON."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def pairs_of(volumes_ml: Mapping[str, float]) -> list[PairedVolumes]:
    """Return the structures of which both sides are segmented; `volumes_ml` is by label."""
    return [
        PairedVolumes(_capital(name), volumes_ml[LEFT + name], volumes_ml[RIGHT + name])
        for name in _paired_names(volumes_ml)
    ]


def sums_of(
    segments: Sequence[Segment], expected: Sequence[Expected], volumes_ml: Mapping[int, float]
) -> dict[str, float]:
    """Return the sums of parts of one structure, and of the structures that a package bounds.

    Args:
        segments: of the package; parts of a structure share the coded type, and have no side.
        expected: the package's limits for some segments together.
        volumes_ml: by segment number.
    """
    parts: dict[str, list[int]] = defaultdict(list)
    for segment in segments:
        if not segment.label.startswith((LEFT, RIGHT)):
            parts[segment.type.meaning].append(segment.number)
    for one in expected:
        parts[_capital(one.what)] = list(one.segments)
    return {
        name: sum(volumes_ml[number] for number in numbers)
        for name, numbers in parts.items()
        if len(numbers) > 1
    }


def table(
    volumes_ml: Mapping[str, float], sums_ml: Mapping[str, float]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of a table with each volume once; without pairs it has two columns."""
    pairs = {pair.structure: pair for pair in pairs_of(volumes_ml)}
    rows: dict[str, tuple[str, ...]] = {}
    for label, volume_ml in volumes_ml.items():
        name = _capital(label.removeprefix(LEFT).removeprefix(RIGHT))
        if name in pairs:
            pair = pairs[name]
            sides = (rounded(pair.left_ml), rounded(pair.right_ml), pair.difference)
            rows[name] = (name, rounded(pair.sum_ml), *sides)
        else:
            rows[label] = (label, rounded(volume_ml), "", "", "")
    for name, sum_ml in sums_ml.items():
        rows[f"{name}, sum"] = (f"{name}, sum", rounded(sum_ml), "", "", "")
    if pairs:
        return HEAD, list(rows.values())
    return HEAD[:2], [row[:2] for row in rows.values()]


def _paired_names(volumes_ml: Mapping[str, float]) -> list[str]:
    sides = [label.removeprefix(LEFT).removeprefix(RIGHT) for label in volumes_ml]
    return [n for n in dict.fromkeys(sides) if {LEFT + n, RIGHT + n} <= volumes_ml.keys()]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
