"""Decode the frames of a SEG with their places, independently of the encoder.

Follows the bit order of PS3.5 section 8.1.1 and the functional groups of PS3.3 C.7.6.16. Shares no
code with the encoder, so that one mistake cannot hide another.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID

from node.dicom.uids import LABELMAP_SEG_CLASS
from node.errors import VerificationFailed
from node.seg.groups import Group, Groups, of_item, per_frame

Pixels = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]

SourceReference = tuple[str, int | None]  # SOP Instance UID, frame number in a multi-frame image

NAMES = (
    "DerivationImageSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "SegmentIdentificationSequence",
)
NOTHING: Group = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a SEG: its voxels, its place, its segment, and the source images it names."""

    pixels: Pixels  # label numbers in a LABELMAP, else 0 or 1
    corners_mm: FloatArray  # first, last of the first row, first and last of the last row; LPS
    segment: int | None  # None in a LABELMAP
    sources: tuple[SourceReference, ...]
    is_preserved: bool  # "spatial locations preserved" of every source


def frames(dataset: Dataset) -> Iterator[Frame]:
    """Yield the frames in stored order.

    Raises:
        VerificationFailed: the numbers of frames, functional groups or pixels differ.
        ValueError, AttributeError, KeyError, IndexError: the object lacks a required attribute.
    """
    count, groups = int(dataset.NumberOfFrames), list(per_frame(dataset, NAMES))
    shared = of_item(dataset.SharedFunctionalGroupsSequence[0])
    is_labelmap = bool(dataset.SOPClassUID == LABELMAP_SEG_CLASS)
    if len(groups) != count:
        message = f"{count} frames have {len(groups)} functional groups"
        raise VerificationFailed(message)
    # frames share these groups; the groups outlive the loop, so their ids stay unique
    corners: dict[tuple[int, int, int], FloatArray] = {}
    shown: dict[int, tuple[tuple[SourceReference, ...], bool]] = {}
    for own, pixels in zip(groups, _unpacked(dataset, count), strict=True):
        derivations = _group(own, shared, "DerivationImageSequence")
        orientation = _group(own, shared, "PlaneOrientationSequence")[0]
        measures = _group(own, shared, "PixelMeasuresSequence")[0]
        place = _group(own, shared, "PlanePositionSequence")[0]
        at = (id(place), id(orientation), id(measures))
        if at not in corners:
            first = np.array([float(value) for value in place.ImagePositionPatient])
            corners[at] = first + _offsets(orientation, measures, pixels.shape)
        if id(derivations) not in shown:
            shown[id(derivations)] = _shown(derivations)
        sources, is_preserved = shown[id(derivations)]
        yield Frame(
            pixels,
            corners[at],
            None if is_labelmap else _number(own, shared),
            sources,
            is_preserved,
        )


def _shown(derivations: Group) -> tuple[tuple[SourceReference, ...], bool]:
    """Return the source images of a frame, and whether spatial locations are preserved."""
    images = [image for derivation in derivations for image in derivation.SourceImageSequence]
    is_preserved = all(image.get("SpatialLocationsPreserved") == "YES" for image in images)
    return tuple(_source(image) for image in images), is_preserved


def _source(image: Dataset) -> SourceReference:
    frame = image.get("ReferencedFrameNumber")
    return str(image.ReferencedSOPInstanceUID), None if frame is None else int(frame)


def _unpacked(dataset: Dataset, count: int) -> Iterator[Pixels]:
    """Yield frame after frame, because all frames at once may need a gigabyte."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if UID(dataset.file_meta.TransferSyntaxUID).is_encapsulated:
        yield from np.asarray(dataset.pixel_array, np.uint8).reshape(count, rows, columns)
        return
    raw = np.frombuffer(dataset.PixelData, np.uint8)
    bits = int(dataset.BitsAllocated)
    frame_bits = rows * columns * bits
    needed = -(-count * frame_bits // 8)
    if bits not in (1, 8) or not needed <= len(raw) <= needed + 1:
        message = f"Pixel Data has {len(raw)} bytes, expected {needed}"
        raise VerificationFailed(message)
    for at in range(count):
        first, last = at * frame_bits // 8, -(-(at + 1) * frame_bits // 8)
        pixels = raw[first:last]
        if bits == 1:
            # BINARY frames follow each other without padding, the first pixel in the lowest bit
            skipped = at * frame_bits - 8 * first
            flat = np.unpackbits(pixels, bitorder="little")
            pixels = flat[skipped : skipped + frame_bits]
        yield pixels.reshape(rows, columns)


def _group(own: Groups, shared: Groups, name: str) -> Group:
    """Return a functional group of a frame: the per-frame one, else the shared one."""
    return own.get(name) or shared.get(name) or NOTHING


def _number(own: Groups, shared: Groups) -> int:
    return int(_group(own, shared, "SegmentIdentificationSequence")[0].ReferencedSegmentNumber)


def _offsets(orientation: Dataset, measures: Dataset, shape: tuple[int, ...]) -> FloatArray:
    """Return the offset from the first voxel of a frame to each corner of `corners_mm`."""
    cosines, between = orientation.ImageOrientationPatient, measures.PixelSpacing
    across, down = np.array([float(value) for value in cosines]).reshape(2, 3)
    across = across / np.sqrt((across**2).sum())
    down = down - (down @ across) * across  # rounded cosines are not quite perpendicular
    down = down / np.sqrt((down**2).sum())
    to_last_row = down * float(between[0]) * (shape[0] - 1)
    to_last_column = across * float(between[1]) * (shape[1] - 1)
    return np.array([np.zeros(3), to_last_column, to_last_row, to_last_row + to_last_column])
