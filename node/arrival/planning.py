"""Decide which model a series gets, or why it gets none.

Rules are read from the top and the first match wins. A property that is unknown because the
geometry is broken does not exclude a rule. The series is then unsuitable because of its geometry,
and that reason helps more than "no rule matched".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from node.arrival.findings import SeriesFindings
from node.config import Rule, When
from node.errors import Conflicting, ConflictingPatients, NodeError, NotAnImage, Unsuitable
from node.imaging import Grid
from node.measured import Measurement, choose
from node.package import Package, Use, check_input
from node.states import ArrivalOutcome

HELD_ADVICE = (
    "Ask the sender which version is right, or let it send corrected images. Then "
    "`segnode jobs replan UID --use last` uses the last received version of each image, and "
    "`--use first` uses the first."
)


@dataclass(frozen=True)
class Facts:
    """The properties of a series that rules compare; None if a property is unknown."""

    modality: str
    description: str
    body_part: str
    caller: str
    plane: str | None
    pixel_spacing_mm: float | None
    slice_spacing_mm: float | None
    slices: int


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


def facts_of(findings: SeriesFindings, caller: str) -> Facts:
    """Return the properties that rules compare."""
    grid = findings.grid
    return Facts(
        modality=findings.modality,
        description=findings.description,
        body_part=findings.body_part,
        caller=caller,
        plane=findings.plane,
        pixel_spacing_mm=findings.pixel_spacing_mm,
        slice_spacing_mm=grid.spacing_mm[0] if grid else None,
        slices=grid.shape[0] if grid else findings.headers,
    )


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
    facts = facts_of(findings, caller)
    mismatches = []
    for rule in rules:
        mismatch = _mismatch(rule.when, facts)
        if mismatch is None:
            decision = _apply(rule, facts, findings, uses)
            return _chosen(decision, uses, measured, waiting)
        mismatches.append(f"{rule.name}: {mismatch}")
    reason = "; ".join(mismatches) or "there are no rules"
    advice = "Add or widen a rule in the configuration if this series should be segmented."
    return Decision(ArrivalOutcome.NO_RULE, "no-rule", f"no rule matched ({reason})", advice)


def decision_for(problem: NodeError) -> Decision:
    """Return the decision for `problem`: contradicting instances are held, others unsuitable."""
    if isinstance(problem, ConflictingPatients):
        return Decision(ArrivalOutcome.HELD, problem.code, problem.message, problem.advice)
    if not isinstance(problem, Conflicting):
        return Decision(ArrivalOutcome.UNSUITABLE, problem.code, problem.message, problem.advice)
    advice = " ".join(part for part in (problem.advice, HELD_ADVICE) if part)
    return Decision(ArrivalOutcome.HELD, problem.code, problem.message, advice)


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
        send_to=rule.send_to,
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
    return replace(decision, size=choice.size, engine=choice.engine, why=choice.why)


def _mismatch(when: When, facts: Facts) -> str | None:
    """Return why the rule does not match, or None if it matches."""
    if when.modality and facts.modality != when.modality:
        return f"modality is {facts.modality or 'absent'}, not {when.modality}"
    if when.caller and facts.caller != when.caller:
        return f"sent by {facts.caller}, not {when.caller}"
    # a description may name a patient, so the reason does not repeat it
    if when.description and not when.description.matches(facts.description):
        return f"description does not match /{when.description.text}/"
    if when.body_part and not when.body_part.matches(facts.body_part):
        return f"body part does not match /{when.body_part.text}/"
    if when.plane and facts.plane not in (None, when.plane):
        return f"plane is {facts.plane}, not {when.plane}"
    return _outside(when, facts)


def _outside(when: When, facts: Facts) -> str | None:
    for what, limit, value in (
        ("slice spacing", when.slice_spacing, facts.slice_spacing_mm),
        ("pixel spacing", when.pixel_spacing, facts.pixel_spacing_mm),
        ("number of slices", when.slices, facts.slices),
    ):
        if limit is not None and value is not None and value not in limit:
            return f"{what} is {value:.4g}, not {limit}"
    return None
