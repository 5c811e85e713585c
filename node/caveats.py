"""The caveats of a result: one list for the history, the report and the picture.

Guarantee: one caveat per code, in the order of `CaveatCode`; no text holds patient data.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from node.imaging import Labels
from node.package import Segment
from node.package.manifest import Input


class CaveatCode(StrEnum):
    """What a caveat is about, the most important first."""

    NOTHING_DETECTED = "nothing-detected"
    CUT = "cut"  # by the field of view
    AGE = "age"  # outside those of the package; a child, if it states none
    DERIVED = "derived"  # the source images are not original
    LOSSY = "lossy"  # the source images were compressed with loss
    BITS = "bits"  # bits outside Bits Stored were cleared
    PADDING = "padding"  # the padding value occurs inside the body
    LEFT_OUT = "left-out"  # images of the series that are no part of the volume
    REPAIRED = "repaired"  # values of the header that the result inherits


class Caveat(msgspec.Struct, frozen=True):
    """One fact that limits a result, as a sentence without a full stop."""

    code: CaveatCode
    text: str
    # labels of the segments whose volumes it limits, and names of sums with a part of these; empty:
    # it limits the whole result
    structures: tuple[str, ...] = ()


NOTHING_DETECTED = Caveat(CaveatCode.NOTHING_DETECTED, "Nothing detected")
ADULT_YEARS = 18
CHILD = Caveat(
    CaveatCode.AGE, "Patient under 18 years: the package does not state that it is for children"
)


def age_caveats(accepted: Input, age_years: float | None) -> tuple[Caveat, ...]:
    """Return the caveat about an age for which the package was not made.

    It is a caveat and no refusal: a rule excludes patients by `patient_age`.

    Args:
        accepted: the limits of the package; without a range of ages, children get a caveat.
        age_years: of the patient; None or 0 if unknown, because anonymisers write 0.
    """
    if not age_years:
        return ()
    ages = accepted.age_years
    if ages is None:
        return (CHILD,) if age_years < ADULT_YEARS else ()
    if ages.low <= age_years <= ages.high:
        return ()
    text = f"Age of the patient outside {ages.low:g} to {ages.high:g} years, those of the package"
    return (Caveat(CaveatCode.AGE, text),)


def caveats_of(
    source: Iterable[Caveat],
    labels: Labels,
    segments: Sequence[Segment],
    sums: Mapping[str, Collection[int]],
    left_out: Iterable[str] = (),
    repairs: Sequence[str] = (),
) -> tuple[Caveat, ...]:
    """Return all caveats of a result.

    Args:
        source: caveats of the source images.
        labels: the result.
        segments: the segments of the package.
        sums: the segment numbers of each sum of volumes that is reported, by its name.
        left_out: for each image that was left out, the reason.
        repairs: repairs of the header that the result inherits.
    """
    caveats = [*source]
    if not labels.array.any():
        caveats.append(NOTHING_DETECTED)
    at_edge = labels.at_edge()
    if cut := [segment.label for segment in segments if segment.number in at_edge]:
        volumes = "volume" if len(cut) == 1 else "volumes"
        text = f"Cut by the field of view, {volumes} may be incomplete: {', '.join(cut)}"
        cut_sums = (name for name, parts in sums.items() if not at_edge.isdisjoint(parts))
        caveats.append(Caveat(CaveatCode.CUT, text, (*cut, *cut_sums)))
    if reasons := Counter(left_out):
        listed = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
        caveats.append(Caveat(CaveatCode.LEFT_OUT, f"Images left out: {listed}"))
    if repairs:
        caveats.append(Caveat(CaveatCode.REPAIRED, f"Header repaired: {'; '.join(repairs)}"))
    order = list(CaveatCode)
    return tuple(sorted(caveats, key=lambda caveat: order.index(caveat.code)))
