"""Drift: the newest results of a rule are unlike those that this node made before.

A rule is compared with its own history only: same package, same size, same machine. The medians of
the newest results are set against the middle 80 % of the earlier ones. Without a change a median of
20 leaves that range in one of 100,000 comparisons (binomial distribution); a step of a scanner, a
protocol, a population or a machine moves it.
"""

from collections.abc import Iterator, Sequence
from statistics import median, quantiles

from node.conditions.condition import Condition, ConditionCode
from node.queue import RuleRuns, Run
from node.status import Snapshot

NEWEST = 20  # results that are compared with those before
LEAST_BEFORE = 50  # results that are a history
LEAST_CHANGE = 0.1  # of a median volume; smaller shifts change no report
LEAST_CHANGE_ML = 0.1
SLOWER = 1.5  # times the median time before
LEAST_REFUSED = 0.4  # of the series more than before
MOST_NAMED = 3  # volumes in the text


def drifting(snapshot: Snapshot) -> Iterator[Condition]:
    """Yield the rules whose newest results are unlike those before."""
    for of_rule in snapshot.facts.runs:
        newest, before = of_rule.runs[-NEWEST:], of_rule.runs[:-NEWEST]
        if len(newest) < NEWEST or len(before) < LEAST_BEFORE:
            continue
        changes = [*_refusals(newest, before), *_times(newest, before), *_volumes(newest, before)]
        if changes:
            yield _condition(of_rule, newest, len(before), changes)


def _condition(
    of_rule: RuleRuns, newest: Sequence[Run], before: int, changes: Sequence[str]
) -> Condition:
    return Condition(
        code=ConditionCode.DRIFT,
        subject=of_rule.rule,
        since=newest[0].at,
        text=f"The {NEWEST} newest series of rule {of_rule.rule} ({of_rule.package}, size "
        f"{of_rule.size}) are unlike the {before} before: {'; '.join(changes)}.",
        advice="Did a scanner, a protocol, the patients or this machine change? Look at some of "
        f"these results in the viewer; `segnode rules pause {of_rule.rule}` holds new series.",
    )


def _refusals(newest: Sequence[Run], before: Sequence[Run]) -> Iterator[str]:
    now, earlier = _refused(newest), _refused(before)
    if now - earlier >= LEAST_REFUSED:
        yield f"{now:.0%} are unsuitable instead of {earlier:.0%}"


def _refused(runs: Sequence[Run]) -> float:
    return sum(run.seconds is None for run in runs) / len(runs)


def _times(newest: Sequence[Run], before: Sequence[Run]) -> Iterator[str]:
    now = [run.seconds for run in newest if run.seconds is not None]
    earlier = [run.seconds for run in before if run.seconds is not None]
    if _has_moved(now, earlier) and median(now) > SLOWER * median(earlier):
        yield f"a segmentation takes {median(now):.1f} s instead of {median(earlier):.1f}"


def _volumes(newest: Sequence[Run], before: Sequence[Run]) -> list[str]:
    """Return the segments whose median volume moved, the largest changes first."""
    shifts: list[tuple[float, str]] = []
    for label in dict.fromkeys(label for run in newest for label in run.volumes_ml):
        now = [run.volumes_ml[label] for run in newest if label in run.volumes_ml]
        earlier = [run.volumes_ml[label] for run in before if label in run.volumes_ml]
        if not _has_moved(now, earlier):
            continue
        new, old = median(now), median(earlier)
        if abs(new - old) >= max(LEAST_CHANGE * old, LEAST_CHANGE_ML):
            change = abs(new - old) / max(old, LEAST_CHANGE_ML)
            shifts.append((-change, f"{label} {new:.3g} ml instead of {old:.3g}"))
    texts = [text for _, text in sorted(shifts)]
    others = len(texts) - MOST_NAMED
    return [*texts[:MOST_NAMED], *([f"{others} other volumes"] if others > 0 else [])]


def _has_moved(newest: Sequence[float], before: Sequence[float]) -> bool:
    """Return whether the median of the newest values is outside the middle 80 % of those before."""
    if len(newest) < NEWEST // 2 or len(before) < LEAST_BEFORE // 2:
        return False
    lowest, *_, highest = quantiles(before, n=10, method="inclusive")
    return not lowest <= median(newest) <= highest
