"""Refuse slices that make one stack, but are parts of volumes with different contrasts.

A series of several echoes or b-values of which parts were lost may have one image at each place.
"""

from collections.abc import Callable, Sequence

from node.errors import FourDimensional
from node.series.header import Header

# how much a value may vary between the slices of one volume: share, and at least so much
TOLERANCE = 0.1
LEAST_ECHO_TIME_MS = 0.5
LEAST_B_VALUE = 50.0  # s/mm²; scanners state real and nominal values

_NUMBERS: dict[str, tuple[Callable[[Header], float | None], float, str]] = {
    "echo times": (lambda header: header.echo_time_ms or None, LEAST_ECHO_TIME_MS, "ms"),
    "b-values": (lambda header: header.b_value, LEAST_B_VALUE, "s/mm²"),
}
# values of Image Type by which Dixon images differ
DIXON = {
    "W": "water", "WATER": "water", "F": "fat", "FAT": "fat", "IP": "in phase",
    "IN_PHASE": "in phase", "OP": "opposed phase", "OPP_PHASE": "opposed phase",
    "OUT_PHASE": "opposed phase",
}  # fmt: skip
ADVICE = "Send one echo or contrast as its own series, with all of its slices."


def refuse_mixed_contrasts(headers: Sequence[Header]) -> None:
    """Check that the slices of an MR volume have one contrast; unknown values contradict none.

    Raises:
        FourDimensional: naming what differs.
    """
    for name, (value_of, least, unit) in _NUMBERS.items():
        values = [value for value in map(value_of, headers) if value is not None]
        if not values or max(values) - min(values) <= max(least, TOLERANCE * max(values)):
            continue
        message = f"the slices have different {name}, {min(values):g} to {max(values):g} {unit}"
        raise FourDimensional(f"{message}: they are parts of several volumes", advice=ADVICE)
    contrasts = {DIXON[v] for header in headers for v in header.image_type[2:] if v in DIXON}
    by_slice = {tuple(v for v in header.image_type[2:] if v in DIXON) for header in headers}
    if len(by_slice - {()}) > 1 and headers[0].modality == "MR":
        message = f"the slices have different contrasts, {' and '.join(sorted(contrasts))}"
        raise FourDimensional(f"{message}: they are parts of several volumes", advice=ADVICE)
