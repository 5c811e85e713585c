"""Separate slices that contradict each other, such as slices of several patients.

A person may choose one part; the node never does.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from node.series.header import Header
from node.series.patients import births
from node.series.slices import is_slice

ISSUERS = "issuers of the Patient ID"
BIRTHS = "patients by birth date"  # where images have no Patient ID
FRAMES = "frames of reference"

# what separates parts, in plural
IDENTIFIERS: dict[str, Callable[[Header], str]] = {
    "studies": lambda header: header.study_uid,
    "series": lambda header: header.series_uid,
    "patients": lambda header: header.patient_digest,
    ISSUERS: lambda header: header.issuer_digest,
    BIRTHS: lambda header: header.patient_digest or header.birth_digest,
    FRAMES: lambda header: header.frame_of_reference_uid or "",
}


def several(headers: Sequence[Header]) -> dict[str, int]:
    """Return the identifiers of which the headers have several, each with the number of values.

    An absent value is unknown, and no other value.
    """
    counts = {
        identifier: len({value_of(header) for header in headers} - {""})
        for identifier, value_of in IDENTIFIERS.items()
    }
    counts[BIRTHS] = len(births(headers))
    return {identifier: count for identifier, count in counts.items() if count > 1}


def parts_of(headers: Sequence[Header]) -> list[list[Header]]:
    """Group the slices by the identifiers of which there are several, the largest group first.

    Equal groups are ordered by their lowest instance number, so that the number of a part, counted
    from 1, does not depend on the order of arrival.
    """
    slices = [header for header in headers if is_slice(header)]
    separating = [IDENTIFIERS[identifier] for identifier in several(slices)]
    groups: dict[tuple[str, ...], list[Header]] = defaultdict(list)
    for header in slices:
        groups[tuple(value_of(header) for value_of in separating)].append(header)
    return sorted(groups.values(), key=_order)


def _order(part: Sequence[Header]) -> tuple[int, float, str]:
    numbers = [h.instance_number for h in part if h.instance_number is not None]
    first_uid = min(header.sop_instance_uid for header in part)
    return -len(part), min(numbers, default=float("inf")), first_uid
