"""Decide which model a series gets, or why it gets none.

Rules are read from the top and the first match wins. A property that is unknown because the
geometry is broken does not exclude a rule. The series is then unsuitable because of its geometry,
and that reason helps more than "no rule matched".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from node.config import Rule, When
from node.errors import Conflicting, ConflictingPatients, NodeError, NotAnImage, Unsuitable
from node.measured import Measurement, choose
from node.package import Package, Use, check_input
from node.series import Header, Survey, derived_as, is_slice, survey
from node.states import ArrivalOutcome

# Modalities of results and documents, ours and those of others: never the input of a model
NO_IMAGES = {
    "SEG",
    "SR",
    "PR",
    "KO",
    "DOC",
    "RTSTRUCT",
    "RTPLAN",
    "RTDOSE",
    "REG",
    "FID",
    "AU",
    "ECG",
}
HELD_ADVICE = (
    "Ask the sender which version is right, or let it send corrected images. Then "
    "`segnode jobs replan UID --use last` uses the last received version of each image, and "
    "`--use first` uses the first."
)
PLANE_COSINE = 0.95  # a normal within 18 degrees of an axis counts as that plane


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
    survey: Survey | None = None


def facts_of(headers: Sequence[Header], surveyed: Survey | None, caller: str) -> Facts:
    """Collect the properties that rules compare from the headers and from a sound geometry."""
    first = leading_header(headers, surveyed)
    plane = _plane(first.orientation) if first.orientation else None
    spacing = surveyed.grid.spacing_mm if surveyed else None
    pixel = first.pixel_spacing_mm
    return Facts(
        modality=first.modality,
        description=f"{first.series_description} {first.protocol_name}".strip(),
        body_part=first.body_part,
        caller=caller,
        plane=plane,
        pixel_spacing_mm=max(pixel) if pixel else None,
        slice_spacing_mm=spacing[0] if spacing else None,
        slices=surveyed.grid.shape[0] if surveyed else len(headers),
    )


def leading_header(headers: Sequence[Header], surveyed: Survey | None) -> Header:
    """Return the header that represents the series: of a slice, never of an image left out.

    If no instance is a slice, any header is returned.
    """
    slices = surveyed.headers if surveyed else (header for header in headers if is_slice(header))
    return next(iter(slices), headers[0])


def plan(
    headers: Sequence[Header],
    caller: str,
    rules: Sequence[Rule],
    uses: Mapping[str, Use],
    measured: Sequence[Measurement] = (),
    waiting: int = 0,
) -> Decision:
    """Decide about the series that `headers` describe.

    Args:
        headers: every instance of the series, in any order.
        caller: AE title of the sender.
        rules: of the configuration.
        uses: package and size of each rule with a model, by the name of the rule.
        measured: time and memory of sizes and engines on this machine.
        waiting: number of segmentations in the queue.
    """
    if all(header.modality in NO_IMAGES for header in headers):
        kind = headers[0].modality
        return Decision(
            ArrivalOutcome.NO_RULE, NotAnImage.code, f"{kind} objects are results, not images"
        )
    surveyed, problem = try_survey(headers)
    facts = facts_of(headers, surveyed, caller)
    mismatches = []
    for rule in rules:
        mismatch = _mismatch(rule.when, facts)
        if mismatch is None:
            decision = _apply(rule, facts, surveyed, problem, uses)
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


def try_survey(headers: Sequence[Header]) -> tuple[Survey | None, Unsuitable | None]:
    """Return the survey, or the reason why there is none."""
    try:
        return survey(headers), None
    except Unsuitable as exc:
        return None, exc


def _apply(
    rule: Rule,
    facts: Facts,
    surveyed: Survey | None,
    problem: NodeError | None,
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
    if problem is None and surveyed is not None:
        try:
            derived = derived_as(surveyed.headers)
            check_input(package.manifest.input, surveyed.grid, facts.modality, derived)
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
        survey=surveyed,
    )


def _chosen(
    decision: Decision,
    uses: Mapping[str, Use],
    measured: Sequence[Measurement],
    waiting: int,
) -> Decision:
    """Replace `auto` by a size and an engine: a job names both."""
    if decision.outcome is not ArrivalOutcome.PLANNED or decision.survey is None:
        return decision
    choice = choose(uses[decision.rule], decision.survey.grid, measured, waiting)
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


def _plane(orientation: Sequence[float]) -> str:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.abs(np.cross(row, column))
    axis = int(normal.argmax())
    if normal[axis] < PLANE_COSINE:
        return "oblique"
    return ("sagittal", "coronal", "axial")[axis]
