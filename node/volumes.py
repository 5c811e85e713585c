"""Volumes as a reader compares them: left beside right, and sums where they are usual.

All volumes are in millilitres. Numbers for people have three significant digits.
"""

import math
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from node.package import Segment
from node.package.manifest import Expected

LEFT, RIGHT = "Left ", "Right "  # as labels of paired structures begin
HEAD = ("structure", "ml", "left", "right", "left - right")


@dataclass(frozen=True)
class PairedVolumes:
    """The volumes of both sides of one structure."""

    name: str  # as in labels, after the side
    left_ml: float
    right_ml: float

    @property
    def structure(self) -> str:
        """Return the name with a capital letter."""
        return _capital(self.name)

    @property
    def labels(self) -> tuple[str, str]:
        """Return the labels of the left and the right side."""
        return (LEFT + self.name, RIGHT + self.name)

    @property
    def sum_ml(self) -> float:
        """Return the volume of both sides."""
        return self.left_ml + self.right_ml

    def marked(self, cut: Container[str], unit: str = "") -> tuple[str, str, str]:
        """Return the volumes of both sides, left and right, marked if their labels are in `cut`."""
        is_cut = [label in cut for label in self.labels]
        return (
            marked(self.sum_ml, is_cut=any(is_cut), unit=unit),
            marked(self.left_ml, is_cut=is_cut[0], unit=unit),
            marked(self.right_ml, is_cut=is_cut[1], unit=unit),
        )

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


def marked(volume_ml: float, *, is_cut: bool, unit: str = "") -> str:
    """Return a volume, marked if the field of view cuts its structure."""
    return f"{rounded(volume_ml)}{unit}{' (cut)' if is_cut else ''}"


def cut_structures(caveats: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return which labels and sums of a recorded result the field of view cuts.

    Args:
        caveats: as recorded; results of earlier versions name no structures.
    """
    return frozenset(name for one in caveats for name in one.get("structures", ()))


def pairs_of(volumes_ml: Mapping[str, float]) -> list[PairedVolumes]:
    """Return the structures of which both sides are segmented; `volumes_ml` is by label."""
    return [
        PairedVolumes(name, volumes_ml[LEFT + name], volumes_ml[RIGHT + name])
        for name in _paired_names(volumes_ml)
    ]


def sums_of(
    segments: Sequence[Segment], expected: Sequence[Expected], volumes_ml: Mapping[int, float]
) -> dict[str, float]:
    """Return the volumes of `summed`; `volumes_ml` is by segment number."""
    return {
        name: sum(volumes_ml[number] for number in numbers)
        for name, numbers in summed(segments, expected).items()
    }


def summed(segments: Sequence[Segment], expected: Sequence[Expected]) -> dict[str, list[int]]:
    """Return the segment numbers of each sum that is reported, by its name.

    They are the parts of one structure, and the structures that a package bounds together.

    Args:
        segments: of the package; parts of a structure share the coded type, and have no side.
        expected: the package's limits for some segments together.
    """
    parts: dict[str, list[int]] = defaultdict(list)
    for segment in segments:
        if not segment.label.startswith((LEFT, RIGHT)):
            parts[segment.type.meaning].append(segment.number)
    for one in expected:
        parts[_capital(one.what)] = list(one.segments)
    return {name: numbers for name, numbers in parts.items() if len(numbers) > 1}


def table(
    volumes_ml: Mapping[str, float], sums_ml: Mapping[str, float], cut: Container[str] = ()
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of a table with each volume once; without pairs it has two columns.

    Args:
        volumes_ml: by label.
        sums_ml: by name.
        cut: labels and names whose volumes the field of view cuts; they are marked.
    """
    pairs = {pair.structure: pair for pair in pairs_of(volumes_ml)}
    rows: dict[str, tuple[str, ...]] = {}
    for label, volume_ml in volumes_ml.items():
        name = _capital(label.removeprefix(LEFT).removeprefix(RIGHT))
        if name in pairs:
            rows[name] = (name, *pairs[name].marked(cut), pairs[name].difference)
        else:
            rows[label] = (label, marked(volume_ml, is_cut=label in cut), "", "", "")
    for name, sum_ml in sums_ml.items():
        rows[f"{name}, sum"] = (f"{name}, sum", marked(sum_ml, is_cut=name in cut), "", "", "")
    if pairs:
        return HEAD, list(rows.values())
    return HEAD[:2], [row[:2] for row in rows.values()]


def _paired_names(volumes_ml: Mapping[str, float]) -> list[str]:
    sides = [label.removeprefix(LEFT).removeprefix(RIGHT) for label in volumes_ml]
    return [n for n in dict.fromkeys(sides) if {LEFT + n, RIGHT + n} <= volumes_ml.keys()]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
