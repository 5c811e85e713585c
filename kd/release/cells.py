"""Cells, rows and phrases that the tables of a card and of validation.md share."""

from collections.abc import Sequence

from kd.evaluation.intervals import LEAST_SUBJECTS
from kd.records import Cases
from node.package.manifest import Interval


def row(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(cells: Sequence[str]) -> list[str]:
    """Return the first two lines of a Markdown table."""
    return [row(cells), "|" + "---|" * len(cells)]


def signed(interval: Interval) -> str:
    """Return a mean difference and its interval, if there is one."""
    return interval.words("+.4f")


def percent(interval: Interval | None) -> str:
    """Return a share and its interval, if there is one, in percent; nothing if not measured."""
    if interval is None:
        return ""
    low, high = (f"{100 * end:.1f}" for end in interval.ci)
    mean = f"{100 * interval.mean:.1f} %"
    return mean if interval.ci[0] == interval.ci[1] else f"{mean} ({low} to {high})"


def millilitres(value: float) -> str:
    """Return a signed volume to three significant digits."""
    return f"{value:+#.3g}".rstrip(".")


def percent_bias(value: float) -> str:
    """Return a signed bias in whole percent."""
    rounded = round(value)
    return f"{rounded:+d} %" if rounded else "0 %"


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cases_of(cases: Cases, noun: str = "case", subject_noun: str = "subject") -> str:
    """Return the number of cases, and of subjects where these are fewer."""
    of = f" of {count(cases.subjects, subject_noun)}" if cases.subjects < cases.cases else ""
    return count(cases.cases, noun) + of


def has_intervals(cases: Cases) -> bool:
    """Return whether there are enough subjects for intervals."""
    return cases.subjects >= LEAST_SUBJECTS


def statistics(cases: Cases) -> str:
    """Return a sentence that states what the numbers of a table are."""
    if not has_intervals(cases):
        return f"Means only: below {LEAST_SUBJECTS} subjects no confidence interval is reported."
    over = "subjects" if cases.subjects < cases.cases else "cases"
    return f"Means with 95 % bootstrap intervals over {over}."
