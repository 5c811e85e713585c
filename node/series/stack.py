"""Sort parallel slices into a stack with an affine, or raise the reason why there is none.

Lengths are in mm, directions in LPS. `at_mm` is the place of a slice along the slice normal.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from node.errors import (
    DuplicatePositions,
    FourDimensional,
    GantryTilt,
    MissingSlice,
    TooFewSlices,
    UnevenSpacing,
)
from node.imaging import Grid
from node.series.header import Header

FloatArray = npt.NDArray[np.float64]

SAME_PLACE_MM = 0.01  # scanners round positions to this; no scanner makes slices this thin
PLACE_TOLERANCE = 0.05  # share of the slice distance that a slice may lie off the even grid
PLACE_TOLERANCE_MM = 0.051  # always accepted: some scanners round positions to 0.1 mm
SHIFT_TOLERANCE_MM = 0.2  # sideways over the whole stack: rounding, and far below a voxel
TILT_TOLERANCE_DEG = 0.1  # rounded direction cosines cause 0.006 degrees
GAP_RATIO = 1.5  # a distance this many times the usual one has room for another slice

DISCRIMINATORS = {
    "echo times": "echo_time_ms",
    "time points": "temporal_position",
    "complex components (such as magnitude and phase)": "complex_component",
    "b-values": "b_value",
    "acquisitions": "acquisition_number",
    "image types": "image_type",
}


def stack(headers: Sequence[Header]) -> tuple[tuple[Header, ...], Grid]:
    """Sort parallel slices along their normal and return their grid.

    Slices share directions and pixel spacing within tolerances. The grid takes both from the first
    slice of the result; its slice step is the mean step from the first position to the last.

    Raises:
        FourDimensional, DuplicatePositions, GantryTilt, MissingSlice, UnevenSpacing, TooFewSlices.
    """
    ordered = _along(headers, _directions(headers[0])[2])
    # the place decides which slice is first, so the order of arrival does not change the grid
    first = ordered[0]
    row, column, normal = _directions(first)
    positions = np.array([h.position_mm for h in ordered], float)
    at_mm = positions @ normal
    _refuse_doubles(ordered, at_mm)
    _refuse_tilt(positions - positions[0], normal)
    _refuse_gaps(at_mm, positions)
    assert first.rows is not None
    assert first.columns is not None
    assert first.pixel_spacing_mm is not None
    affine = np.eye(4)
    affine[:3, 0] = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine[:3, 1] = column * first.pixel_spacing_mm[0]  # the next row lies along the column
    affine[:3, 2] = row * first.pixel_spacing_mm[1]
    affine[:3, 3] = positions[0]
    return ordered, Grid((len(ordered), first.rows, first.columns), affine)


def _along(headers: Sequence[Header], normal: FloatArray) -> tuple[Header, ...]:
    """Sort by place along `normal`; UID and frame break ties, whatever the order of arrival."""
    places = [float(np.array(h.position_mm) @ normal) for h in headers]
    names = [(h.sop_instance_uid, h.frame or 0) for h in headers]
    return tuple(
        headers[i] for i in sorted(range(len(headers)), key=lambda i: (places[i], names[i]))
    )


def _directions(header: Header) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return unit vectors along a row, along a column, and along the slice normal."""
    cosines = np.array(header.orientation, float)
    row = cosines[:3] / np.linalg.norm(cosines[:3])
    normal = np.cross(row, cosines[3:])
    normal /= np.linalg.norm(normal)
    return row, np.cross(normal, row), normal


def _refuse_doubles(ordered: Sequence[Header], at_mm: FloatArray) -> None:
    """Refuse two slices at one place, and distinguish several volumes from repeated slices."""
    new = np.concatenate([[True], np.diff(at_mm) > SAME_PLACE_MM])
    if new.all():
        return
    place = np.cumsum(new) - 1
    counts = np.bincount(place)
    doubled = [ordered[i] for i in np.flatnonzero(counts[place] > 1).tolist()]
    differing = [
        name
        for name, field in DISCRIMINATORS.items()
        if len({getattr(header, field) for header in doubled}) > 1
    ]
    every = bool((counts == counts[0]).all())
    if every or (differing and (counts > 1).mean() >= 0.5):
        several = f", which differ in {', '.join(differing)}" if differing else ""
        message = (
            f"the series holds several volumes: {len(ordered)} images at {len(counts)} places, up "
            f"to {counts.max()} at one{several}"
        )
        advice = "Send one time point, echo or direction as its own series."
        raise FourDimensional(message, advice=advice)
    taken = []
    for at in np.flatnonzero(counts > 1)[:5].tolist():
        images = [ordered[i] for i in np.flatnonzero(place == at).tolist()]
        taken.append(f"{_names(images)} at {at_mm[new][at]:.2f} mm")
    number = int((counts > 1).sum())
    are_taken = "positions are" if number > 1 else "position is"
    message = f"{number} slice {are_taken} taken twice, by different images: {'; '.join(taken)}"
    if differing:
        message += f"; they differ in {', '.join(differing)}"
    raise DuplicatePositions(message, advice="Send one image per position.")


def _names(headers: Sequence[Header]) -> str:
    """Name images by their instance numbers, or by UIDs if numbers are absent or repeated."""
    numbers = [h.instance_number if h.frame is None else h.frame for h in headers]
    if None in numbers or len(set(numbers)) < len(numbers):
        return "images " + " and ".join(header.sop_instance_uid for header in headers)
    noun = "images" if headers[0].frame is None else "frames"
    return f"{noun} " + " and ".join(str(number) for number in numbers)


def _refuse_tilt(offsets: FloatArray, normal: FloatArray) -> None:
    along = offsets @ normal
    sideways = np.linalg.norm(offsets - along[:, None] * normal, axis=1)
    extent = float(along[-1])
    allowed = max(SHIFT_TOLERANCE_MM, extent * np.tan(np.deg2rad(TILT_TOLERANCE_DEG)))
    shift = float(sideways.max())
    if shift > allowed:
        at = int(sideways.argmax())
        degrees = float(np.rad2deg(np.arctan2(shift, along[at])))
        message = (
            f"the slices are shifted sideways by up to {shift:.1f} mm along {extent:.1f} mm, a "
            f"gantry tilt of {degrees:.1f} degrees"
        )
        raise GantryTilt(message, advice="Send a reconstruction without tilt.")


def _refuse_gaps(at_mm: FloatArray, positions: FloatArray) -> None:
    steps = np.diff(at_mm)
    if len(steps) == 0:
        message = "one slice is not a volume"
        raise TooFewSlices(message)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # the lower median: gaps are never usual
    allowed = max(PLACE_TOLERANCE * usual, PLACE_TOLERANCE_MM)
    even = np.linspace(at_mm[0], at_mm[-1], len(at_mm))
    if np.abs(at_mm - even).max() <= allowed and np.abs(steps - usual).max() <= 2 * allowed:
        return
    wide = np.flatnonzero(steps >= GAP_RATIO * usual)
    missing = np.rint(steps / usual) - 1
    is_whole = np.abs(steps - (missing + 1) * usual) <= 2 * allowed
    if len(wide) and is_whole.all():
        low, high = positions[wide[0]], positions[wide[0] + 1]
        count = int(missing.sum())
        message = (
            f"{count} {'slices are' if count > 1 else 'slice is'} missing: the neighbours at "
            f"{_point(low)} and {_point(high)} are {steps[wide[0]]:.2f} mm apart, "
            f"instead of {usual:.2f} mm"
        )
        raise MissingSlice(message, advice="Send the missing images; the job then starts anew.")
    worst = int(np.abs(steps - usual).argmax())
    message = (
        f"the distance between slices varies from {steps.min():.2f} to {steps.max():.2f} mm; "
        f"usual are {usual:.2f} mm, but {steps[worst]:.2f} mm after {_point(positions[worst])}"
    )
    raise UnevenSpacing(message, advice="Send a reconstruction with even slice distances.")


def _point(position: FloatArray) -> str:
    return "(" + ", ".join(f"{value:.1f}" for value in position) + ") mm"
