"""Choose size and engine for a series. Pure: the same measurements give the same choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from node.config import AUTO
from node.engines import ONNXRUNTIME
from node.imaging import Grid
from node.measured.cost import MIB, SEG_MB, Cost, estimate, largest_grid, workload
from node.measured.store import Measurement
from node.package import SIZE_NAMES, Package, Use, next_smaller, smallest


@dataclass(frozen=True)
class Choice:
    """The chosen size and engine, and the reason in one sentence."""

    size: str
    engine: str
    why: str


def choose(use: Use, grid: Grid, measured: Sequence[Measurement], waiting: int = 0) -> Choice:
    """Choose for a series on `grid`; one size smaller while too many segmentations are queued.

    Args:
        use: package, size, engine and limits of the rule; size and engine may be `auto`.
        grid: of the series, in any axis order.
        measured: measurements of this machine, see `measured.read`.
        waiting: number of queued segmentations.
    """
    usual = _without_backlog(use, grid, measured)
    if use.step_down_above is None or waiting <= use.step_down_above:
        return usual
    smaller = next_smaller(use.package.manifest, usual.size)
    if smaller is None:
        return usual
    choice = _without_backlog(replace(use, size=smaller), grid, measured)
    why = (
        f"{waiting} queued, more than {use.step_down_above}: {choice.size} instead of {usual.size}"
    )
    return replace(choice, why=f"{why}; {choice.why}")


def _without_backlog(use: Use, grid: Grid, measured: Sequence[Measurement]) -> Choice:
    """Choose as if no segmentation was queued."""
    sizes = offered(use.package) if use.size == AUTO else [use.size]
    work = workload(use.package, grid)
    own = [
        one
        for one in measured
        if one.digest == use.package.digest
        and one.size in sizes
        and use.engine in (AUTO, one.engine)
    ]
    costs = [(one, estimate(one, work)) for one in own if not one.problem]
    if not costs:
        return _not_measured(use, has_failed=bool(own))
    if use.size != AUTO:
        best, cost = min(costs, key=lambda pair: pair[1].seconds)
        return Choice(best.size, best.engine, f"{_engine(use, best, len(costs))}: {cost}")
    return _fitting(use, sizes, costs)


def offered(package: Package) -> list[str]:
    """Return the sizes of a package, most accurate first: by Dice, where it is known."""
    metrics = package.manifest.metrics
    dice: dict[str, float] = {size: one.dice.mean for size, one in metrics.items()}
    sizes = [size for size in SIZE_NAMES if size in package.manifest.sizes]
    return sorted(sizes, key=lambda size: -dice.get(size, 0.0))  # stable: SIZE_NAMES breaks ties


def fastest(measured: Sequence[Measurement]) -> Measurement | None:
    """Return the fastest engine for one size of one package, on its reference case."""
    good = [one for one in measured if not one.problem]
    return min(good, key=lambda one: one.seconds, default=None)


def largest_mb(use: Use, measured: Sequence[Measurement]) -> dict[str, float]:
    """Return the memory of each size for the largest accepted series, in MiB.

    A size without a measurement on this machine takes the manifest's value; a size without either
    is left out.
    """
    work = workload(use.package, largest_grid(use.package))
    declared: dict[str, float | None] = {
        size: network.peak_mb for size, network in use.package.manifest.sizes.items()
    }
    needs: dict[str, float] = {}
    for size in offered(use.package) if use.size == AUTO else [use.size]:
        own = [one for one in measured if (one.digest, one.size) == (use.package.digest, size)]
        best = fastest([one for one in own if use.engine in (AUTO, one.engine)])
        peak_mb = declared.get(size)
        if best is not None:
            needs[size] = estimate(best, work).peak_mb
        elif peak_mb is not None:
            needs[size] = peak_mb + work.arrays_mb + SEG_MB
    return needs


def _fitting(use: Use, sizes: list[str], costs: list[tuple[Measurement, Cost]]) -> Choice:
    """Choose the most accurate size that fits; without one, the fastest."""
    both = ((use.deadline_s, f"{use.deadline_s:g} s"),
            (use.memory_bytes, f"{use.memory_bytes / MIB:.0f} MiB"))  # fmt: skip
    limits = " and ".join(text for limit, text in both if isfinite(limit))
    fits = [
        (one, cost)
        for one, cost in costs
        if cost.seconds <= use.deadline_s and cost.peak_mb <= use.memory_bytes / MIB
    ]
    if fits:
        best, cost = min(fits, key=lambda pair: (sizes.index(pair[0].size), pair[1].seconds))
        fitting = f"that fits {limits}" if limits else "there is"
        why = f"the most accurate size {fitting}: {cost} with {best.engine}"
        return Choice(best.size, best.engine, why)
    best, cost = min(costs, key=lambda pair: pair[1].seconds)
    why = f"no size fits {limits}, so the fastest runs: {cost} with {best.engine}"
    return Choice(best.size, best.engine, why)


def _not_measured(use: Use, *, has_failed: bool) -> Choice:
    """Choose the size that was verified at the start: the configured one, else the smallest."""
    engine = ONNXRUNTIME if use.engine == AUTO else use.engine
    known = "nothing is measured on this machine yet"
    if has_failed:
        known = "no measurement on this machine succeeded"
    if use.size == AUTO:
        why = f"{known}, so the smallest size runs, with {engine}"
        return Choice(smallest(use.package.manifest), engine, why)
    how = "as configured" if use.engine != AUTO else f"because {known}"
    return Choice(use.size, engine, f"{engine}, {how}")


def _engine(use: Use, best: Measurement, among: int) -> str:
    if use.engine != AUTO:
        return f"{best.engine} as configured"
    if among == 1:
        return f"{best.engine}, the only engine that reproduced the reference case here"
    return f"{best.engine}, the fastest engine that reproduced the reference case here"
