"""Decide which model a series gets, or why it gets none.

Rules are read from the top and the first match wins. `conditions` compares one rule with a series.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from node.arrival.conditions import Facts, Mismatch, facts_of, mismatch
from node.arrival.findings import SeriesFindings
from node.config import Rule
from node.errors import (
    Conflicting,
    Localizer,
    NodeError,
    NotAnImage,
    ParametricMap,
    Projection,
    SecondaryCapture,
    Subtraction,
    ThickSlab,
    Unsuitable,
)
from node.imaging import Grid
from node.measured import Measurement, choose
from node.package import Package, Use, check_input
from node.states import ArrivalOutcome

# computed images and pictures: part of most studies, and never the input of a model
COMPUTED = (Localizer, ParametricMap, Projection, SecondaryCapture, Subtraction, ThickSlab)


@dataclass(frozen=True)
class Decision:
    """The decision about one series: planned, held, unsuitable or no rule, with the reason."""

    outcome: ArrivalOutcome
    code: str = ""
    reason: str = ""
    advice: str = ""
    rule: str = ""
    package: Package | None = None
    size: str = ""
    engine: str = ""
    why: str = ""  # the reason for this size and this engine
    send_to: tuple[str, ...] = ()
    priority: int = 5
    grid: Grid | None = None
    earlier: tuple[Mismatch, ...] = ()  # the rules before the deciding one


def plan(
    findings: SeriesFindings,
    caller: str,
    rules: Sequence[Rule],
    uses: Mapping[str, Use],
    measured: Sequence[Measurement] = (),
    waiting: int = 0,
) -> Decision:
    """Decide about the series that `findings` describe.

    Args:
        findings: of every instance of the series.
        caller: AE title of the sender.
        rules: of the configuration.
        uses: package and size of each rule with a model, by the name of the rule.
        measured: time and memory of sizes and engines on this machine.
        waiting: number of segmentations in the queue.
    """
    if kind := findings.result_modality:
        return Decision(
            ArrivalOutcome.NO_RULE, NotAnImage.code, f"{kind} objects are results, not images"
        )
    problem = findings.problem.error if findings.problem else None
    if isinstance(problem, COMPUTED):
        text = f"no rule matches such images: {problem.message}"
        return Decision(ArrivalOutcome.NO_RULE, problem.code, text, problem.advice)
    facts = facts_of(findings, caller)
    earlier: list[Mismatch] = []
    for rule in rules:
        reason = mismatch(rule.when, facts)
        if reason is None:
            decision = _apply(rule, facts, findings, uses)
            return replace(_chosen(decision, uses, measured, waiting), earlier=tuple(earlier))
        earlier.append(Mismatch(rule.name, reason))
    reasons = in_words(earlier) or "there are no rules"
    advice = "Add or widen a rule in the configuration if this series should be segmented."
    return Decision(
        ArrivalOutcome.NO_RULE,
        "no-rule",
        f"no rule matched ({reasons})",
        advice,
        earlier=tuple(earlier),
    )


def in_words(earlier: Sequence[Mismatch]) -> str:
    """Return the rules that did not match, each with its reason."""
    return "; ".join(f"{one.rule}: {one.reason}" for one in earlier)


def decision_for(problem: NodeError) -> Decision:
    """Return the decision for `problem`: contradicting instances are held, others unsuitable."""
    is_held = isinstance(problem, Conflicting)
    outcome = ArrivalOutcome.HELD if is_held else ArrivalOutcome.UNSUITABLE
    return Decision(outcome, problem.code, problem.message, problem.advice)


def _apply(
    rule: Rule,
    facts: Facts,
    findings: SeriesFindings,
    uses: Mapping[str, Use],
) -> Decision:
    if rule.use == "none":
        return Decision(
            ArrivalOutcome.NO_RULE,
            "rule-says-none",
            f"rule {rule.name} uses no model",
            "",
            rule.name,
        )
    package = uses[rule.name].package
    problem = findings.problem.error if findings.problem else None
    grid = findings.grid
    if problem is None and grid is not None:
        try:
            check_input(package.manifest.input, grid, facts.modality, findings.derived)
        except Unsuitable as exc:
            problem = exc
    decision = Decision(ArrivalOutcome.PLANNED) if problem is None else decision_for(problem)
    return replace(
        decision,
        rule=rule.name,
        package=package,
        size=uses[rule.name].size,
        send_to=tuple(dict.fromkeys(rule.send_to)),  # a target that is listed twice gets one copy
        priority=rule.priority,
        grid=grid,
    )


def _chosen(
    decision: Decision,
    uses: Mapping[str, Use],
    measured: Sequence[Measurement],
    waiting: int,
) -> Decision:
    """Replace `auto` by a size and an engine: a job names both."""
    if decision.outcome is not ArrivalOutcome.PLANNED or decision.grid is None:
        return decision
    choice = choose(uses[decision.rule], decision.grid, measured, waiting)
    why = "; ".join(filter(None, (uses[decision.rule].size_why, choice.why)))
    return replace(decision, size=choice.size, engine=choice.engine, why=why)
