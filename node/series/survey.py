"""Decide which instances make one volume and where it lies, from headers without pixels.

Guarantees: the order of the headers does not matter; each image left out is listed with its reason;
a series that cannot be stacked raises a named error with the numbers.
`read` decodes the pixels; `node.arrival` compares modality, description and range of the model.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from node.errors import (
    ColourImage,
    Conflicting,
    EnhancedMultiFrame,
    FourDimensional,
    Localizer,
    MixedOrientation,
    NoFrameOfReference,
    NotAnImage,
    ParametricMap,
    Projection,
    SecondaryCapture,
    Subtraction,
    ThickSlab,
    TooFewSlices,
)
from node.imaging import Grid
from node.series.duplicates import without_copies
from node.series.frames import SINGLE_FRAME_CLASSES
from node.series.header import Header
from node.series.kinds import Kind, kind_of
from node.series.meaning import check_attributes, check_pixel_format, check_units
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
# kinds that are left out of a series of slices; a slice of another kind makes it unsuitable
PICTURES = frozenset({Kind.SECONDARY_CAPTURE, Kind.LOCALIZER, Kind.PROJECTION})
KIND_ERRORS: dict[Kind, type[NotAnImage]] = {
    Kind.SECONDARY_CAPTURE: SecondaryCapture,
    Kind.LOCALIZER: Localizer,
    Kind.PROJECTION: Projection,
    Kind.SUBTRACTION: Subtraction,
    Kind.PARAMETRIC_MAP: ParametricMap,
    Kind.THICK_SLAB: ThickSlab,
}


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
    check_attributes(images)
    _refuse_stacks(images)
    chosen, strays = _one_direction(images)
    if len(chosen) < LEAST_SLICES:
        message = f"the series has {len(chosen)} slice, and a volume needs {LEAST_SLICES} or more"
        raise TooFewSlices(message, advice="Send the whole series.")
    chosen, copies = without_copies(chosen)
    ordered, grid = stack(chosen)
    _refuse_computed(ordered)
    check_pixel_format(ordered)
    check_units(ordered)
    _refuse_unplaced(ordered)  # last, because a problem of the slices themselves helps more
    duplicates = [_duplicate(image, first) for image, first in copies]
    return Survey(ordered, grid, (*dropped, *not_slices, *strays, *duplicates))


def _duplicate(image: Header, first: Header) -> Dropped:
    which = first.frame if first.frame is not None else first.instance_number
    of = f" of image {which}" if which is not None else ""
    reason = f"duplicate{of} under another UID: same pixels and place"
    return Dropped(image.sop_instance_uid, reason, image.frame)


def _refuse_conflicts(headers: Sequence[Header]) -> None:
    for what, values in (
        ("patients", {header.patient_digest for header in headers}),
        # an absent issuer is unknown: it contradicts no other
        ("issuers of the Patient ID", {header.issuer_digest for header in headers} - {""}),
        ("studies", {header.study_uid for header in headers}),
        ("series", {header.series_uid for header in headers}),
    ):
        if len(values) > 1:
            message = f"the instances belong to {len(values)} different {what}"
            advice = "Correct the identities at the source, then send the series again."
            raise Conflicting(message, advice=advice)


def _without_repeats(headers: Sequence[Header]) -> tuple[list[Header], list[Dropped]]:
    """Keep each instance and frame once; copies must describe the same image."""
    seen: dict[tuple[str, int | None], Header] = {}
    dropped = []
    for header in sorted(headers, key=lambda h: (h.sop_instance_uid, h.frame or 0, str(h.path))):
        first = seen.setdefault((header.sop_instance_uid, header.frame), header)
        if first is header:
            continue
        if _image_of(header) != _image_of(first):
            message = "two different images have one SOP Instance UID"
            advice = "Find out which image is right, and send that one alone."
            raise Conflicting(message, advice=advice)
        if header.frame in (None, 1):  # listed once per instance, not once per frame
            dropped.append(Dropped(header.sop_instance_uid, "duplicate instance"))
    return list(seen.values()), dropped


def _image_of(header: Header) -> Header:
    """Return the header without the values that an archive may change in a copy."""
    return msgspec.structs.replace(
        header,
        path=Path(),
        source_ae="",
        transfer_syntax_uid="",
        manufacturer="",
        series_description="",
        protocol_name="",
        body_part="",
        series_number=None,
        instance_number=None,
        expected_instances=None,
        issuer_digest="",
    )


def _refuse_other_storage(headers: Sequence[Header]) -> None:
    for header in headers:
        if kind_of(header)[0] in PICTURES:
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
    found: set[type[NotAnImage]] = set()
    for header in headers:
        unwanted = _unwanted(header)
        if unwanted is None:
            kept.append(header)
        else:
            reason, error = unwanted
            found.add(error)
            dropped.append(Dropped(header.sop_instance_uid, reason, header.frame))
    if not kept:
        counts = Counter(item.reason for item in dropped)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))
        message = f"none of the {len(headers)} images is a slice of a volume: {reasons}"
        kind = found.pop() if len(found) == 1 else NotAnImage
        raise kind(message, advice="Send a series of CT or MR slices.")
    return kept, dropped


def _refuse_computed(headers: Sequence[Header]) -> None:
    """Refuse slices with computed values: one is enough, for it was not meant to be left out."""
    found: dict[Kind, list[str]] = {}
    for header in headers:
        kind, word = kind_of(header)
        if kind is not None:
            found.setdefault(kind, []).append(word)
    for kind, words in found.items():
        which = ", ".join(sorted(set(words)))
        message = f"{len(words)} of {len(headers)} images are of the kind {_words(kind)} ({which})"
        raise KIND_ERRORS[kind](message, advice="Send the series that was acquired.")


def _words(kind: Kind) -> str:
    return kind.value.replace("-", " ")


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


def _unwanted(header: Header) -> tuple[str, type[NotAnImage]] | None:
    """Return why this image is not a slice of a volume, with its error; None for a slice."""
    if (not header.rows or not header.columns) and header.sop_class_uid not in SLICE_CLASSES:
        return "no image", NotAnImage
    kind, word = kind_of(header)
    if kind in PICTURES:
        return f"{_words(kind)} ({word})", KIND_ERRORS[kind]
    if header.sop_class_uid not in SLICE_CLASSES:
        return "neither a CT, an MR nor a PET image", NotAnImage
    if header.pixels.is_colour:
        return f"colour image ({header.pixels.photometric or 'unknown'})", ColourImage
    reason = _unplaced(header)
    return (reason, NotAnImage) if reason else None


def _unplaced(header: Header) -> str:
    """Return why the place of this image in the patient is unknown; empty if it is known."""
    if header.position_mm is None or header.orientation is None:
        return "no position in the patient (ImagePositionPatient, ImageOrientationPatient)"
    if header.pixel_spacing_mm is None or min(header.pixel_spacing_mm) <= 0:
        return "no pixel spacing (PixelSpacing)"
    if not _is_perpendicular(header.orientation):
        return "row and column directions are not perpendicular"
    return ""


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
