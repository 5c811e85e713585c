"""Warnings about a configuration that need its packages or the measurements of this machine."""

from collections.abc import Iterator, Sequence
from math import inf

from node import measured
from node.config import AUTO, Config, Rule, several
from node.config.units import Range
from node.config.warnings import Code, Warned
from node.conversion import KeyPath
from node.measured import Measurement
from node.package import Use, next_smaller
from node.package.manifest import Input


def package_warnings(config: Config, uses: Sequence[Use]) -> Iterator[Warned]:
    """Yield the warnings about rules that contradict their package or what was measured here."""
    measurements = measured.read(config.data, measured.this_host(config.limits.threads))
    by_rule = {use.rule: use for use in uses}
    for index, rule in enumerate(config.rules):
        use = by_rule.get(rule.name)
        if use is not None:
            yield from _contradictions(("rules", index, "when"), rule, use)
            yield from _deadline(index, rule, use, measurements)
            yield from _no_smaller_size(index, use)


def _contradictions(path: KeyPath, rule: Rule, use: Use) -> Iterator[Warned]:
    """Warn about conditions that only series match which the package does not accept."""
    accepted, when, name = use.package.manifest.input, rule.when, use.package.name
    advice = "Correct the condition, or name another package in `use`."
    modalities = several(when.modality)
    if modalities and accepted.modality not in modalities:
        message = f"{name} accepts {accepted.modality} only, not {' or '.join(modalities)}"
        yield Warned(Code.CONTRADICTS_PACKAGE, (*path, "modality"), message, advice)
    for key, low, high in _limits(accepted):
        limit: Range | None = getattr(when, key)
        if limit is not None and (limit.high < low or limit.low > high):
            bounds = f"{low:g} to {high:g}" if high < inf else f"at least {low:g}"
            message = f"{name} accepts {bounds}, and the rule takes {limit}"
            yield Warned(Code.CONTRADICTS_PACKAGE, (*path, key), message, advice)


def _limits(accepted: Input) -> Iterator[tuple[str, float, float]]:
    yield "slices", accepted.slices.low, accepted.slices.high
    for key in ("slice_spacing", "pixel_spacing"):
        yield key, accepted.spacing_mm.low, accepted.spacing_mm.high


def _deadline(
    index: int, rule: Rule, use: Use, measurements: Sequence[Measurement]
) -> Iterator[Warned]:
    own = [
        one.seconds for one in measurements if one.digest == use.package.digest and not one.problem
    ]
    if use.size == AUTO and own and use.deadline_s < min(own):
        has_own = rule.deadline is not None
        path: KeyPath = ("rules", index, "deadline") if has_own else ("model", "deadline")
        message = (
            f"no size of {use.package.name} meets {use.deadline_s:g} s on this machine: the "
            f"fastest takes {min(own):.2g} s for the reference case"
        )
        advice = "Write a longer time, or name a size: now the fastest is chosen."
        yield Warned(Code.IMPOSSIBLE_DEADLINE, path, message, advice)


def _no_smaller_size(index: int, use: Use) -> Iterator[Warned]:
    if use.step_down_above is None or use.size == AUTO:
        return
    if next_smaller(use.package.manifest, use.size) is None:
        message = f"{use.package.name} has no size below {use.size}"
        path = ("rules", index, "step_down_above")
        yield Warned(Code.NO_EFFECT, path, message, "Remove it, or choose a larger size.")
