"""Select the images that may be slices of a volume, and refuse slices with computed values."""

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from node.errors import (
    ColourImage,
    Localizer,
    NotAnImage,
    ParametricMap,
    Projection,
    SecondaryCapture,
    Subtraction,
    ThickSlab,
)
from node.series.directions import is_parallel
from node.series.frames import SINGLE_FRAME_CLASSES
from node.series.header import Header
from node.series.kinds import Kind, derived_as, kind_of
from node.series.stack import SAME_PLACE_MM

UNIT_TOLERANCE = 1e-2  # how far orientation vectors may be from unit length and from perpendicular

# slice thickness as a multiple of the slice distance; from these on, images are slabs
ORIGINAL_OVERLAP = 4.5  # zero-filled MR reaches 4
STRICT_OVERLAP = 2.4  # of derived or thick slices; reconstructions of 1.5 mm at 0.7 mm reach 2.2
THICK_MM = 6.0  # thicker slices are acquired with half of their thickness as distance at least
THIN_MM = 2.0  # thinner slices blur less than a voxel of the models, however they overlap

SLICE_CLASSES = frozenset(
    {CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage, *SINGLE_FRAME_CLASSES}
)
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


def select_slices(headers: Sequence[Header]) -> tuple[list[Header], list[Dropped]]:
    """Return the possible slices, and the other images with their reasons.

    Raises:
        NotAnImage: no image is a slice; a subclass if all are of one kind.
    """
    slices, dropped = [], []
    kinds: set[type[NotAnImage]] = set()
    for header in headers:
        unwanted = _unwanted(header)
        if unwanted is None:
            slices.append(header)
        else:
            reason, error = unwanted
            kinds.add(error)
            dropped.append(Dropped(header.sop_instance_uid, reason, header.frame))
    if not slices:
        counts = Counter(item.reason for item in dropped)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in sorted(counts.items()))
        message = f"none of the {len(headers)} images is a slice of a volume: {reasons}"
        kind = kinds.pop() if len(kinds) == 1 else NotAnImage
        raise kind(message, advice="Send a series of CT or MR slices.")
    return slices, dropped


def is_slice(header: Header) -> bool:
    """Check that an image may be a slice of a volume: a CT, MR or PET image with a position."""
    return _unwanted(header) is None


def refuse_computed(headers: Sequence[Header]) -> None:
    """Refuse slices with computed values; leaving them out would leave gaps in the volume."""
    words_of: dict[Kind, list[str]] = {}
    for header in headers:
        kind, word = kind_of(header)
        if kind is not None:
            words_of.setdefault(kind, []).append(word)
    for kind, words in words_of.items():
        which = ", ".join(sorted(set(words)))
        message = f"{len(words)} of {len(headers)} images are of the kind {_words(kind)} ({which})"
        raise KIND_ERRORS[kind](message, advice="Send the series that was acquired.")


def refuse_slabs(headers: Sequence[Header], distance_mm: float) -> None:
    """Refuse thick slices that overlap more than those of any acquisition.

    Sliding projections and averages look like thin slices by their distance alone. Scanners
    make thin slices of up to four times their distance. Thick slices, and software that derives
    images, keep to twice, except for slabs.
    """
    stated = [h.slice_thickness_mm for h in headers if h.slice_thickness_mm]
    if not stated:
        return
    thickness_mm = float(np.median(stated))
    is_strict = derived_as(headers) or thickness_mm >= THICK_MM
    limit = STRICT_OVERLAP if is_strict else ORIGINAL_OVERLAP
    if thickness_mm <= THIN_MM or thickness_mm < limit * distance_mm:
        return
    message = (
        f"the images are slabs of {thickness_mm:.4g} mm at a distance of {distance_mm:.4g} mm, so "
        f"each overlaps {thickness_mm / distance_mm:.3g} slices"
    )
    raise ThickSlab(message, advice="Send the thin slices that they were made from.")


def refuse_coloured_slices(slices: Sequence[Header], headers: Sequence[Header]) -> None:
    """Refuse colour images between the slices: without them, the volume would lack slices."""
    first, last = np.array(slices[0].position_mm), np.array(slices[-1].position_mm)
    extent = float(np.linalg.norm(last - first))
    normal = (last - first) / extent
    places = np.array([np.array(header.position_mm) - first for header in slices]) @ normal
    between = []
    for header in headers:
        if not header.pixels.is_colour or _unplaced(header) or not is_parallel(slices[0], header):
            continue
        at = float((np.array(header.position_mm) - first) @ normal)
        if 0 < at < extent and np.abs(places - at).min() > SAME_PLACE_MM:
            between.append(header)
    if between:
        message = f"{len(between)} colour images lie between the {len(slices)} greyscale slices"
        raise ColourImage(message, advice="Send the greyscale series alone.")


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


def _words(kind: Kind) -> str:
    return kind.value.replace("-", " ")
