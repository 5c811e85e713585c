"""Compare the conditions of a rule with the properties of a series.

An attribute that is absent matches no condition on it. A property of the geometry that is unknown
because the geometry is broken excludes no rule: the series is then unsuitable because of its
geometry, and that reason helps more than "no rule matched". A text of a header may name a patient,
so no reason repeats one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from node.arrival.findings import SeriesFindings
from node.config import When, several
from node.config.units import Ages, Texts


@dataclass(frozen=True)
class Facts:
    """The properties of a series that rules compare; None or empty if a property is unknown."""

    modality: str
    caller: str
    texts: dict[str, tuple[str, ...]]  # values by the key of the condition
    patient_age_years: float | None
    plane: str | None
    pixel_spacing_mm: float | None
    slice_spacing_mm: float | None
    slices: int


class Mismatch(NamedTuple):
    """A rule that does not match a series, and the first reason."""

    rule: str
    reason: str


def facts_of(findings: SeriesFindings, caller: str) -> Facts:
    """Return the properties that rules compare."""
    grid = findings.grid
    texts = {
        "body_part": (findings.body_part,),
        "description": (findings.series_description, findings.protocol_name),
        "study_description": (findings.study_description,),
        "series_description": (findings.series_description,),
        "protocol_name": (findings.protocol_name,),
        "sequence_name": (findings.sequence_name,),
        "image_type": tuple(findings.image_type.split("\\")),
        "contrast_agent": (findings.contrast_agent,),
        "manufacturer": (findings.manufacturer,),
        "station_name": (findings.station_name,),
    }
    return Facts(
        modality=findings.modality,
        caller=caller,
        texts={key: tuple(filter(None, values)) for key, values in texts.items()},
        patient_age_years=findings.patient_age_years,
        plane=findings.plane,
        pixel_spacing_mm=findings.pixel_spacing_mm,
        slice_spacing_mm=grid.spacing_mm[0] if grid else None,
        slices=grid.shape[0] if grid else findings.headers,
    )


def mismatch(when: When, facts: Facts) -> str | None:
    """Return why a series does not match, or None if it matches."""
    return next(_mismatches(when, facts), None)


def _mismatches(when: When, facts: Facts) -> Iterator[str]:
    yield from _another("modality is", facts.modality, several(when.modality))
    yield from _another("sent by", facts.caller or "an unknown sender", several(when.caller))
    for key, values in facts.texts.items():
        yield from _unlike(key.replace("_", " "), values, getattr(when, key))
    yield from _another_age(facts.patient_age_years, when.patient_age)
    if facts.plane is not None:
        yield from _another("plane is", facts.plane, several(when.plane))
    yield from _outside(when, facts)


def _another(attribute: str, value: str, expected: Sequence[str]) -> Iterator[str]:
    if expected and value not in expected:
        yield f"{attribute} {value or 'absent'}, not {' or '.join(expected)}"


def _unlike(attribute: str, values: Sequence[str], expected: Texts | None) -> Iterator[str]:
    if expected is not None and not values:
        yield f"{attribute} is absent"
    elif expected is not None and not expected.matches(values):
        yield f"{attribute} does not match {expected}"


def _another_age(value: float | None, expected: Ages | None) -> Iterator[str]:
    if expected is None:
        return
    if value is None:
        yield "patient age is absent"
    elif value not in expected:
        yield f"patient age is not {expected}"


def _outside(when: When, facts: Facts) -> Iterator[str]:
    for quantity, limit, value in (
        ("slice spacing", when.slice_spacing, facts.slice_spacing_mm),
        ("pixel spacing", when.pixel_spacing, facts.pixel_spacing_mm),
        ("number of slices", when.slices, facts.slices),
    ):
        if limit is not None and value is not None and value not in limit:
            yield f"{quantity} is {value:.4g}, not {limit}"
