"""What the facts of a data set mean: errors, warnings, and ranges without outliers.

An error stops a plan; a warning is for a person to read. Every finding names its cases.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from kd.planning.survey import CaseFacts, Survey
from node.package.manifest import Expected, Range

MOST_NAMED = 5  # cases in one finding; the table has all
MANY_DEVIATIONS = 6.0  # of the median absolute deviation, scaled to a standard deviation
NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
LEAST_FACTOR = 2.0  # from the median: nearer values are never outliers
PARTIAL_SHARE = 0.1  # of the training cases without a label, from which `partial` is proposed
LEAST_CASES = 10  # for a proposed range of volumes
MARGIN = 2.0  # of a proposed range of volumes, on both sides
AIR_HU = -200.0  # CT images have air or fat below it


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One observation about the data."""

    kind: Literal["error", "warning"]
    text: str
    cases: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The text with its first cases."""
        if not self.cases:
            return self.text
        named = ", ".join(self.cases[:MOST_NAMED])
        more = len(self.cases) - MOST_NAMED
        return f"{self.text}: {named}" + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Quantity:
    """A property of a case, for the search for outliers."""

    words: str
    value: float
    case: str


def findings(
    survey: Survey, modality: str, names: Mapping[int, str], train: str
) -> tuple[Finding, ...]:
    """Return the errors, then the warnings.

    Args:
        survey: all cases.
        modality: as typed: MR or CT.
        names: of the labels, as far as they are named.
        train: name of the training split.
    """
    errors = [Finding(kind="error", text=b.problem) for b in survey.bad]
    errors += _duplicates(survey.cases)
    constant = [c.name for c in survey.cases if c.intensities.least == c.intensities.largest]
    if constant:
        errors.append(_error("images with one intensity everywhere", constant))
    warnings = []
    if negative := [c.name for c in survey.cases if not c.volumes_ml]:
        text = "no voxel is labelled; these cases are planned as negatives, which show no structure"
        warnings.append(_warning(text, negative))
    warnings += [
        *_modality(survey.cases, modality),
        *_missing(survey.of(train), names),
        *_outliers(survey.cases, names),
    ]
    return (*errors, *warnings)


def label_findings(
    survey: Survey, train: str, names: Mapping[int, str], ignore: int | None
) -> tuple[Finding, ...]:
    """Compare the labels of the cases with those that dataset.json names, and with the training's.

    Args:
        survey: all cases.
        train: name of the training split.
        names: of the structures; empty: the data set names none.
        ignore: number of nnU-Net's label `ignore`, if there is one.
    """
    result = []
    for number in labels_of(survey.cases):
        having = [case.name for case in survey.cases if number in case.volumes_ml]
        if number == ignore:
            text = f"label {number} is nnU-Net's 'ignore', and kd trains on every voxel: "
            text += "remove these cases, or label these voxels"
            result.append(_error(text, having))
        elif names and number not in names:
            result.append(_error(f"label {number} is not named in dataset.json", having))
    anywhere = {number for number in labels_of(survey.cases) if number != ignore}
    for number in sorted((anywhere | names.keys()) - set(labels_of(survey.of(train)))):
        name = names.get(number, f"Structure {number}")
        having = [case.name for case in survey.cases if number in case.volumes_ml]
        result.append(_error(f"label {number} ({name}) is in no training case", having))
    return tuple(result)


def file_findings(left_out: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """Return a warning for each kind of file that belongs to no case."""
    return tuple(_warning(words, names) for words, names in left_out.items())


def labels_of(cases: Sequence[CaseFacts]) -> tuple[int, ...]:
    """Return every label of any case, sorted."""
    return tuple(sorted({number for case in cases for number in case.volumes_ml}))


def partial(cases: Sequence[CaseFacts]) -> tuple[int, ...]:
    """Return the labels that are missing in so many training cases that they may be unlabelled.

    Cases without any label are negatives and do not count.
    """
    cases = [case for case in cases if case.volumes_ml]
    missing = {n: sum(n not in case.volumes_ml for case in cases) for n in labels_of(cases)}
    return tuple(n for n, count in missing.items() if count >= max(1, PARTIAL_SHARE * len(cases)))


def expected(cases: Sequence[CaseFacts], names: Mapping[int, str]) -> tuple[Expected, ...]:
    """Propose a range of volumes for each label that every training case has.

    The range is twice as wide as what was observed, without outliers. Below ten cases there is
    none.
    """
    if len(cases) < LEAST_CASES:
        return ()
    proposals = []
    for number in labels_of(cases):
        volumes = [case.volumes_ml.get(number, 0.0) for case in cases]
        if min(volumes) == 0:
            continue
        plain = inliers(volumes)
        ml = Range(low=_rounded(min(plain) / MARGIN), high=_rounded(max(plain) * MARGIN))
        name = names.get(number, f"Structure {number}")[:64]
        proposals.append(Expected(what=name, segments=(number,), ml=ml))
    return tuple(proposals)


def inliers(values: Sequence[float]) -> list[float]:
    """Return positive values without those far from the median, on a logarithmic scale."""
    return [value for value, is_far in zip(values, _far(values), strict=True) if not is_far]


def _far(values: Sequence[float]) -> list[bool]:
    logs = np.log(np.maximum(np.asarray(values, float), np.finfo(float).tiny))
    distance = np.abs(logs - np.median(logs))
    deviation = NORMAL * float(np.median(distance))
    limit = max(MANY_DEVIATIONS * deviation, math.log(LEAST_FACTOR))
    return [bool(d > limit) for d in distance]


def _error(text: str, cases: Sequence[str]) -> Finding:
    return Finding(kind="error", text=text, cases=tuple(cases))


def _warning(text: str, cases: Sequence[str] = ()) -> Finding:
    return Finding(kind="warning", text=text, cases=tuple(cases))


def _duplicates(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Return images that are there twice: an error across splits, else a warning."""
    same: dict[str, list[CaseFacts]] = {}
    for case in cases:
        same.setdefault(case.content, []).append(case)
    result = []
    for group in (group for group in same.values() if len(group) > 1):
        names = [f"{case.name} ({case.split})" for case in group]
        if len({case.split for case in group}) > 1:
            result.append(_error("the same image is in two splits", names))
        else:
            result.append(_warning("the same image has several names", names))
    return sorted(result, key=lambda finding: finding.kind)


def same_subjects(cases: Sequence[CaseFacts]) -> dict[str, str]:
    """Return the first name of each image that has several, by all of its names."""
    first: dict[str, str] = {}
    for case in cases:
        first.setdefault(case.content, case.name)
    counts = Counter(case.content for case in cases)
    return {case.name: first[case.content] for case in cases if counts[case.content] > 1}


def _modality(cases: Sequence[CaseFacts], modality: str) -> list[Finding]:
    """Compare the typed modality with the intensities: CT images have air, MR images do not."""
    if not cases:
        return []
    with_air = [case.name for case in cases if case.intensities.low < AIR_HU]
    if modality == "CT" and 2 * len(with_air) < len(cases):
        without = [case.name for case in cases if case.name not in with_air]
        return [_warning("planned as CT, but no air: are the values HU", without)]
    if modality == "MR" and 2 * len(with_air) > len(cases):
        return [_warning(f"planned as MR, but values below {AIR_HU:g} as in CT", with_air)]
    return []


def _missing(cases: Sequence[CaseFacts], names: Mapping[int, str]) -> list[Finding]:
    result = []
    cases = [case for case in cases if case.volumes_ml]
    for number in labels_of(cases):
        without = [case.name for case in cases if number not in case.volumes_ml]
        if without:
            label = names.get(number, f"Structure {number}")
            share = f"{len(without)} of {len(cases)}"
            result.append(
                _warning(f"label {number} ({label}) is missing in {share} cases", without)
            )
    return result


def _outliers(cases: Sequence[CaseFacts], names: Mapping[int, str]) -> list[Finding]:
    """Return the cases whose spacing, field of view, intensities or volumes are far from others."""
    quantities: dict[str, list[Quantity]] = {}

    def add(words: str, unit: str, value: float, case: CaseFacts) -> None:
        text = f"{words} of {value:.3g}{unit}"
        quantities.setdefault(words, []).append(Quantity(text, value, case.name))

    for case in cases:
        for axis, spacing, extent in zip(
            ("z", "y", "x"), case.spacing_mm_zyx, case.extent_mm_zyx, strict=True
        ):
            add(f"a spacing along {axis}", " mm", spacing, case)
            add(f"a field of view along {axis}", " mm", extent, case)
        add("an intensity range", "", case.intensities.high - case.intensities.low, case)
        for number, volume in case.volumes_ml.items():
            add(f"a volume of {names.get(number, f'label {number}')}", " ml", volume, case)
    result = []
    for values in quantities.values():
        numbers = [one.value for one in values]
        median = float(np.median(numbers))
        for one, is_far in zip(values, _far(numbers), strict=True):
            if is_far:
                text = f"{one.words}, far from the median of {median:.3g}"
                result.append(_warning(text, [one.case]))
    return result


def _rounded(value: float) -> float:
    """Round to two significant digits."""
    return float(f"{value:.2g}")
