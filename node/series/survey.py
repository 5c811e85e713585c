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

from node.errors import (
    PARTS_ADVICE,
    VERSIONS_ADVICE,
    Conflicting,
    EnhancedMultiFrame,
    FourDimensional,
    MissingSlice,
    NoFrameOfReference,
    TooFewSlices,
    UnevenSpacing,
)
from node.imaging import Grid
from node.series.contrast import refuse_mixed_contrasts
from node.series.directions import one_direction
from node.series.duplicates import without_copies
from node.series.header import Header, StudyAttributes
from node.series.kinds import kind_of
from node.series.meaning import (
    check_attributes,
    check_modality,
    check_pixel_format,
    check_units,
    named,
)
from node.series.parts import FRAMES, parts_of, several
from node.series.patients import differ, patient_of
from node.series.slices import (
    PICTURES,
    Dropped,
    refuse_coloured_slices,
    refuse_computed,
    refuse_slabs,
    select_slices,
)
from node.series.stack import stack

MOST_NAMED = 5  # stacks or parts whose sizes a message states
LEAST_SLICES = 2  # one slice has neither a slice direction nor a spacing

MOSAIC_TYPES = frozenset({"MOSAIC", "VFRAME"})  # Siemens, UIH: many slices tiled into one image


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
    images, not_slices = select_slices(once)
    check_attributes(images)
    _refuse_stacks(images)
    chosen, others = one_direction(images)
    if len(chosen) < LEAST_SLICES:
        message = f"the series has {len(chosen)} slice, and a volume needs {LEAST_SLICES} or more"
        raise TooFewSlices(message, advice="Send the whole series.")
    _refuse_other_frames(chosen, headers)
    reason = f"another size or direction than the other {len(chosen)}"
    strays = [Dropped(h.sop_instance_uid, reason, h.frame) for h in others]
    chosen, copies = without_copies(chosen)
    ordered, grid = _stacked(chosen, [*not_slices, *strays])
    refuse_mixed_contrasts(ordered)
    check_modality(ordered)
    check_pixel_format(ordered)
    check_units(ordered)
    refuse_computed(ordered)
    refuse_slabs(ordered, grid.spacing_mm[0])
    refuse_coloured_slices(ordered, once)
    _refuse_unplaced(ordered)  # last, because a problem of the slices themselves helps more
    duplicates = [_duplicate(image, first) for image, first in copies]
    return Survey(ordered, grid, (*dropped, *not_slices, *strays, *duplicates))


def _stacked(
    slices: Sequence[Header], left_out: Sequence[Dropped]
) -> tuple[tuple[Header, ...], Grid]:
    """Stack the slices; where some are missing, also name the images that were left out."""
    try:
        return stack(slices)
    except (MissingSlice, UnevenSpacing) as exc:
        if not left_out:
            raise
        counts = Counter(item.reason for item in left_out)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))
        message = f"{exc.message}; images that were left out: {reasons}"
        raise type(exc)(message, advice=exc.advice) from exc


def _duplicate(image: Header, first: Header) -> Dropped:
    which = first.frame if first.frame is not None else first.instance_number
    of = f" of image {which}" if which is not None else ""
    reason = f"duplicate{of} under another UID: same pixels and place"
    return Dropped(image.sop_instance_uid, reason, image.frame)


def _refuse_conflicts(headers: Sequence[Header]) -> None:
    """Refuse instances of several patients, studies or series, whether they are slices or not."""
    for identifier, count in several(headers).items():
        if identifier != FRAMES:
            message = f"the instances belong to {count} different {identifier}{_listed(headers)}"
            raise Conflicting(message, advice=PARTS_ADVICE)


def _without_repeats(headers: Sequence[Header]) -> tuple[list[Header], list[Dropped]]:
    """Keep each instance and frame once; copies must describe the same image."""
    unique: dict[tuple[str, int | None], Header] = {}
    dropped = []
    for header in sorted(headers, key=lambda h: (h.sop_instance_uid, h.frame or 0, str(h.path))):
        first = unique.setdefault((header.sop_instance_uid, header.frame), header)
        if first is header:
            continue
        are_two = differ(patient_of(header), patient_of(first))
        if are_two or _image_of(header) != _image_of(first):
            message = "two different images have one SOP Instance UID"
            raise Conflicting(message, advice=VERSIONS_ADVICE)
        if header.frame in (None, 1):  # listed once per instance, not once per frame
            dropped.append(Dropped(header.sop_instance_uid, "duplicate instance"))
    return list(unique.values()), dropped


def _image_of(header: Header) -> Header:
    """Return the header without the values that an archive may change in a copy."""
    return msgspec.structs.replace(
        header,
        path=Path(),
        source_ae="",
        transfer_syntax_uid="",
        manufacturer="",
        study_description="",
        series_description="",
        derivation_description="",
        protocol_name="",
        sequence_name="",
        contrast_agent="",
        station_name="",
        body_part="",
        patient_age_years=None,
        series_number=None,
        instance_number=None,
        expected_instances=None,
        patient_digest="",
        issuer_digest="",
        birth_digest="",
        study=StudyAttributes(),
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


def _refuse_stacks(headers: Sequence[Header]) -> None:
    """Refuse frames with several Stack IDs: their object declares them as several volumes."""
    stacks = Counter(header.stack_id for header in headers if header.stack_id)
    if len(stacks) > 1:
        sizes = ", ".join(str(count) for count in list(stacks.values())[:MOST_NAMED])
        message = f"the series holds several volumes: {len(stacks)} stacks, of {sizes} images"
        raise FourDimensional(message, advice="Send each stack of slices as its own series.")


def _refuse_unplaced(headers: Sequence[Header]) -> None:
    if any(header.frame_of_reference_uid is None for header in headers):
        message = "the images have no Frame of Reference UID"
        advice = "A segmentation cannot be placed on them. Send the original series."
        raise NoFrameOfReference(message, advice=advice)


def _refuse_other_frames(slices: Sequence[Header], headers: Sequence[Header]) -> None:
    """Refuse slices in several frames of reference: their places are unrelated."""
    count = several(slices).get(FRAMES, 0)
    if not count:
        return
    message = f"the slices belong to {count} different frames of reference"
    parts = parts_of(headers)
    if len(parts[0]) < LEAST_SLICES:
        advice = "Send the original series: an anonymiser may have replaced the UIDs."
        raise NoFrameOfReference(f"{message}, one per slice", advice=advice)
    raise Conflicting(message + _listed(headers), advice=PARTS_ADVICE)


def _listed(headers: Sequence[Header]) -> str:
    """Return the parts with the numbers of their images, in words."""
    parts = parts_of(headers)
    listed = [f"part {at} has {len(part)} images{named(part)}" for at, part in enumerate(parts, 1)]
    more = f"; {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else ""
    return ": " + "; ".join(listed[:MOST_NAMED]) + more if listed else ""
