"""What must hold before a package is released: the recipe's demands against the measured report."""

from collections.abc import Mapping
from typing import Any

from kd.evaluation.intervals import LEAST_SUBJECTS
from kd.recipe.choices import Gates
from node.package.manifest import SizeName


def failures(gates: Gates, report: dict[str, Any]) -> list[str]:
    """Return every demand that does not hold, in words; an empty list opens the gate.

    A demand on a size, or on a comparison, that was not measured does not hold.
    """
    sizes, found = report["sizes"], []
    for size, least in gates.dice.items():
        found += _least(sizes, size, ("dice", "mean"), least, "mean Dice")
    for size, least in gates.retention.items():
        found += _least(sizes, size, ("retention", "mean"), least, "retention")
    for size in gates.non_inferior:
        if report["subjects"] < LEAST_SUBJECTS:  # there is no interval to look at
            wanted = f"{LEAST_SUBJECTS} subjects, there are {report['subjects']}"
            found.append(f"{size}: to tell that it is not inferior takes {wanted}")
            continue
        for key, margin, what in (
            ("dice_difference", gates.margin_dice, "lower bound of the Dice difference"),
            ("nsd_difference", gates.margin_nsd, "lower bound of the surface Dice difference"),
        ):
            found += _least(sizes, size, (key, "ci", 0), -margin, what)
        found += _most(sizes, size, ("hd95_mm_difference", "ci", 1), gates.margin_hd95_mm)
    for source, demands in gates.external.items():
        found += _elsewhere(source, demands, report)
    return found


def _elsewhere(source: str, demands: Mapping[SizeName, float], report: dict[str, Any]) -> list[str]:
    """Return the demands on one other source that do not hold."""
    there = [one for one in report.get("elsewhere", []) if one["name"] == source]
    if not there:
        return [f"{source} was not measured: give --external, the folder that holds its images"]
    return [
        sentence
        for size, least in demands.items()
        for sentence in _least(
            there[0]["sizes"], size, ("retention", "mean"), least, f"retention on {source}"
        )
    ]


def _least(
    sizes: dict[str, Any], size: str, path: tuple[str | int, ...], least: float, what: str
) -> list[str]:
    value = _number(sizes.get(size), path)
    if value is None:
        return [f"{size}: {what} was not measured"]
    return [] if value >= least else [f"{size}: {what} is {value:.4f}, less than {least:g}"]


def _most(sizes: dict[str, Any], size: str, path: tuple[str | int, ...], most: float) -> list[str]:
    what = "upper bound of the HD95 difference"
    value = _number(sizes.get(size), path)
    if value is None:
        return [f"{size}: {what} was not measured"]
    return [] if value <= most else [f"{size}: {what} is {value:.3f} mm, more than {most:g} mm"]


def _number(found: Any, path: tuple[str | int, ...]) -> float | None:
    for key in path:
        try:
            found = found[key]
        except (KeyError, TypeError):
            return None
    return float(found)
