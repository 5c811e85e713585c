"""What stands in one cell, or one row, of a card's tables."""

from collections.abc import Sequence
from typing import Any

from kd.evaluation.intervals import LEAST_SUBJECTS
from node.package.manifest import Interval


def row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def interval(found: dict[str, Any]) -> str:
    """Say a mean and its interval, if there is one."""
    return Interval(mean=found["mean"], ci=found["ci"]).words()


def signed(found: dict[str, Any]) -> str:
    """Say a mean difference and its interval, if there is one."""
    return Interval(mean=found["mean"], ci=found["ci"]).words("+.4f")


def count(number: int, what: str) -> str:
    """Say how many there are."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def cases_of(found: dict[str, Any], what: str = "case", whose: str = "subject") -> str:
    """Say on how many cases a part of a report rests, and of how many subjects."""
    of = f" of {count(found['subjects'], whose)}" if found["subjects"] < found["cases"] else ""
    return count(found["cases"], what) + of


def has_intervals(found: dict[str, Any]) -> bool:
    """Tell whether there were enough subjects for intervals."""
    return bool(found["subjects"] >= LEAST_SUBJECTS)


def means(found: dict[str, Any]) -> str:
    """Say what the numbers of a part of a report are."""
    if not has_intervals(found):
        return f"means; an interval takes {LEAST_SUBJECTS} subjects, so there is none"
    over = "subjects" if found["subjects"] < found["cases"] else "cases"
    return f"means with 95 % bootstrap intervals over {over}"
