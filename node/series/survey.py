"""Decide which instances make one volume and where it lies, from headers without pixels.

Guarantees: the order of the headers does not matter; each image left out is listed with its reason;
a series that cannot be stacked raises a named error with the numbers.
`read` decodes the pixels; `node.arrival` compares modality, description and range of the model.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from node.dicom.uids import SECONDARY_CAPTURE_CLASS
from node.errors import (
    Conflicting,
    EnhancedMultiFrame,
    FourDimensional,
    MixedOrientation,
    NoFrameOfReference,
    NotAnImage,
    TooFewSlices,
)
from node.imaging import Grid
from node.series.frames import SINGLE_FRAME_CLASSES
from node.series.header import Header
from node.series.stack import stack

LEAST_SLICES = 2  # one slice has neither a slice direction nor a spacing

ORIENTATION_TOLERANCE = 1e-3  # of a direction cosine: 0.06 degrees, 0.2 mm at the edge of a head
SPACING_TOLERANCE = 1e-3  # share of the pixel spacing: half a pixel over 512
UNIT_TOLERANCE = 1e-2  # how far orientation vectors may be from unit length and from perpendicular
STRAY_SHARE = 0.1  # up to this share of stray images is left out; more means a mixed series
MOST_STRAYS = 3
MOST_KINDS = MOST_STRAYS + 2  # of size or direction: one more than a volume with strays has

SLICE_CLASSES = frozenset(
    {CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, *SINGLE_FRAME_CLASSES}
)
MOSAIC_TYPES = frozenset({"MOSAIC", "VFRAME"})  # Siemens, UIH: many slices tiled into one image
PICTURE_TYPES = (
    "LOCALIZER", "SCOUT", "SCREEN SAVE", "SCREENSAVE", "PROJECTION IMAGE",
    "MIP", "MAX_IP", "MIN_IP", "VOLUME_RENDER", "SURFACE_RENDER", "CURVED_MPR",
)  # fmt: skip


class Dropped(msgspec.Struct, frozen=True):
    """An instance or frame of the series that is not part of the volume."""

    sop_instance_uid: str
    reason: str
    frame: int | None = None


@dataclass(frozen=True, eq=False)
class Survey:
    """The slices of one volume in the order of the array, their grid, and the images left out."""

    headers: tuple[Header, ...]  # along the slice normal; the first defines the grid's directions
    grid: Grid
    dropped: tuple[Dropped, ...]


def survey(headers: Sequence[Header]) -> Survey:
    """Sort and check the slices of one series: instances, or their frames.

    Raises:
        Conflicting: several patients, studies, series or frames of reference, or two different
            images with one instance UID.
        NotAnImage, EnhancedMultiFrame, FourDimensional, DuplicatePositions, MixedOrientation,
        TooFewSlices, GantryTilt, MissingSlice, UnevenSpacing, NoFrameOfReference: see
            `node.errors`; the messages state the numbers.
    """
    _refuse_conflicts(headers)
    once, dropped = _without_repeats(headers)
    _refuse_other_storage(once)
    images, not_slices = _slices(once)
    _refuse_stacks(images)
    chosen, strays = _one_direction(images)
    if len(chosen) < LEAST_SLICES:
        message = f"the series has {len(chosen)} slice, and a volume needs {LEAST_SLICES} or more"
        raise TooFewSlices(message, advice="Send the whole series.")
    ordered, grid = stack(chosen)
    _refuse_unplaced(ordered)  # last, because a problem of the slices themselves helps more
    return Survey(ordered, grid, (*dropped, *not_slices, *strays))


def _refuse_conflicts(headers: Sequence[Header]) -> None:
    for what, values in (
        ("patients", {header.patient_digest for header in headers}),
        ("studies", {header.study_uid for header in headers}),
        ("series", {header.series_uid for header in headers}),
    ):
        if len(values) > 1:
            message = f"the instances belong to {len(values)} different {what}"
            advice = "Correct the identities at the source, then send the series again."
            raise Conflicting(message, advice=advice)


def _without_repeats(headers: Sequence[Header]) -> tuple[list[Header], list[Dropped]]:
    """Keep each instance and frame once; copies must have equal headers."""
    seen: dict[tuple[str, int | None], Header] = {}
    dropped = []
    for header in sorted(headers, key=lambda h: (h.sop_instance_uid, h.frame or 0, str(h.path))):
        first = seen.setdefault((header.sop_instance_uid, header.frame), header)
        if first is header:
            continue
        if msgspec.structs.replace(header, path=first.path, source_ae=first.source_ae) != first:
            message = "two different images have one SOP Instance UID"
            advice = "Find out which image is right, and send that one alone."
            raise Conflicting(message, advice=advice)
        if header.frame in (None, 1):  # listed once per instance, not once per frame
            dropped.append(Dropped(header.sop_instance_uid, "duplicate instance"))
    return list(seen.values()), dropped


def _refuse_other_storage(headers: Sequence[Header]) -> None:
    for header in headers:
        if _is_picture(header):
            continue
        if header.frames_problem:
            advice = "Export the series as classic single-frame images."
            raise EnhancedMultiFrame(header.frames_problem, advice=advice)
        if MOSAIC_TYPES & set(header.image_type):
            message = "each image is a mosaic of many slices, one image per time or direction"
            advice = "Functional and diffusion series cannot be segmented; send an anatomical one."
            raise FourDimensional(message, advice=advice)


def _slices(headers: Sequence[Header]) -> tuple[list[Header], list[Dropped]]:
    kept, dropped = [], []
    for header in headers:
        reason = _unwanted(header)
        if reason is None:
            kept.append(header)
        else:
            dropped.append(Dropped(header.sop_instance_uid, reason, header.frame))
    if not kept:
        counts = Counter(item.reason for item in dropped)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))
        message = f"none of the {len(headers)} images is a slice of a volume: {reasons}"
        raise NotAnImage(message, advice="Send a series of CT or MR slices.")
    return kept, dropped


def _refuse_stacks(headers: Sequence[Header]) -> None:
    """Refuse frames with several Stack IDs: their object declares them as several volumes."""
    stacks = Counter(header.stack_id for header in headers)
    if len(stacks) > 1:
        sizes = ", ".join(str(count) for count in list(stacks.values())[:MOST_KINDS])
        message = f"the series holds several volumes: {len(stacks)} stacks, of {sizes} images"
        raise FourDimensional(message, advice="Send each stack of slices as its own series.")


def is_slice(header: Header) -> bool:
    """Check that an image may be a slice of a volume: a CT, MR or PET image with a position."""
    return _unwanted(header) is None


def _is_picture(header: Header) -> bool:
    # the multi-frame variants of Secondary Capture are numbered below it
    is_capture = f"{header.sop_class_uid}.".startswith(f"{SECONDARY_CAPTURE_CLASS}.")
    return is_capture or any(kind in header.image_type for kind in PICTURE_TYPES)


def _unwanted(header: Header) -> str | None:
    """Return why this image is not a slice of a volume, or None if it may be one."""
    reason = None
    if not header.rows or not header.columns:
        reason = "no image"
    elif _is_picture(header):
        named = [kind for kind in PICTURE_TYPES if kind in header.image_type]
        reason = (named[0] if named else "secondary capture").lower()
    elif header.sop_class_uid not in SLICE_CLASSES:
        reason = "neither a CT, an MR nor a PET image"
    elif header.samples_per_pixel != 1:
        reason = "colour image"
    elif header.position_mm is None or header.orientation is None:
        reason = "no position in the patient"
    elif header.pixel_spacing_mm is None or min(header.pixel_spacing_mm) <= 0:
        reason = "no pixel spacing"
    elif not _is_perpendicular(header.orientation):
        reason = "row and column directions are not perpendicular"
    return reason


def _is_perpendicular(orientation: tuple[float, ...]) -> bool:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    misfits = (row @ row - 1, column @ column - 1, row @ column)
    return max(abs(float(misfit)) for misfit in misfits) <= UNIT_TOLERANCE


def _one_direction(headers: list[Header]) -> tuple[list[Header], list[Dropped]]:
    """Keep the images that share size, spacing and orientation; leave out a few stray images."""
    groups, more = _kinds(headers)
    chosen, others = groups[0], [header for group in groups[1:] for header in group]
    if more + len(others) > min(MOST_STRAYS, STRAY_SHARE * len(headers)):
        kinds = "; ".join(f"{len(group)} × {_described(group[0])}" for group in groups[:4])
        count = f"more than {len(groups)}" if more else str(len(groups))
        message = f"the images have {count} different sizes or directions: {kinds}"
        raise MixedOrientation(message, advice="Send each stack of slices as its own series.")
    reason = f"another size or direction than the other {len(chosen)}"
    return chosen, [Dropped(h.sop_instance_uid, reason, h.frame) for h in others]


def _kinds(headers: list[Header]) -> tuple[list[list[Header]], int]:
    """Group parallel images, the largest group first; also return the number of ungrouped images.

    At most `MOST_KINDS` groups are made, because a rotating projection has thousands of directions,
    and comparing each image with each would take minutes.
    """
    groups: list[list[Header]] = []
    more = 0
    for header in headers:
        group = next((group for group in groups if _is_parallel(group[0], header)), None)
        if group is not None:
            group.append(header)
        elif len(groups) < MOST_KINDS:
            groups.append([header])
        else:
            more += 1
    return sorted(groups, key=len, reverse=True), more


def _is_parallel(a: Header, b: Header) -> bool:
    if (a.rows, a.columns) != (b.rows, b.columns):
        return False
    spacing_a, spacing_b = np.array(a.pixel_spacing_mm), np.array(b.pixel_spacing_mm)
    turned = np.abs(np.array(a.orientation) - np.array(b.orientation)).max()
    scaled = np.abs(spacing_a / spacing_b - 1).max()
    return bool(turned <= ORIENTATION_TOLERANCE and scaled <= SPACING_TOLERANCE)


def _described(header: Header) -> str:
    assert header.orientation is not None
    assert header.pixel_spacing_mm is not None
    cosines = ", ".join(f"{value:.2f}" for value in header.orientation)
    spacing = " × ".join(f"{value:.3f}" for value in header.pixel_spacing_mm)
    return f"{header.rows} × {header.columns} pixels of {spacing} mm along ({cosines})"


def _refuse_unplaced(headers: Sequence[Header]) -> None:
    frames = {header.frame_of_reference_uid for header in headers}
    if None in frames:
        message = "the images have no Frame of Reference UID"
        advice = "A segmentation cannot be placed on them. Send the original series."
        raise NoFrameOfReference(message, advice=advice)
    if len(frames) > 1:
        message = f"the slices belong to {len(frames)} different frames of reference"
        raise Conflicting(message, advice="Send each acquisition as its own series.")
