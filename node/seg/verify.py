"""Compare a finished SEG with its labels, in patient space, before it may be sent.

Guarantees: a SEG that passes names the right patient, study and images, describes every segment,
and has every voxel at the place of its label. Frames are read by `node.seg.decode` only.
"""

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

from node.dicom.uids import BINARY_SEG_CLASS, LABELMAP_SEG_CLASS
from node.errors import VerificationFailed
from node.imaging import Grid, Labels
from node.package import Code, Segment
from node.seg.decode import Frame, frames
from node.series import Series

CLASSES = (BINARY_SEG_CLASS, LABELMAP_SEG_CLASS)
PLACE_TOLERANCE_MM = 0.01  # decimal strings of 16 characters are far more exact
MALFORMED = (
    InvalidDicomError, ValueError, AttributeError, KeyError, IndexError, TypeError, OSError,
    NotImplementedError, RuntimeError, struct.error, BytesLengthException,
)  # fmt: skip


def verify(
    source: Path | bytes,
    series: Series,
    labels: Labels,
    segments: Sequence[Segment] | None = None,
) -> None:
    """Read the SEG and compare it with its source series and its labels.

    Args:
        source: the object as it would be sent.
        series: the expected source images.
        labels: the expected voxels.
        segments: the expected descriptions; without them, each segment must have any description.

    Raises:
        VerificationFailed: with the first difference.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
        _check_identity(dataset, series)
        _check_references(dataset, series)
        _check_segments(dataset, labels, segments)
        _check_voxels(frames(dataset), dataset, series, labels)
    except MALFORMED as exc:
        # not the text: libraries quote values in it, and this may be logged
        message = f"the SEG cannot be read back ({type(exc).__name__})"
        raise VerificationFailed(message) from exc


def read_labels(source: Path | bytes, series: Series) -> Labels:
    """Return the labels of a SEG on the slices of `series`.

    Raises:
        VerificationFailed: the SEG cannot be read, or does not lie on these images.
    """
    try:
        dataset = pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source)
        return Labels(_placed(frames(dataset), series), series.survey.grid)
    except MALFORMED as exc:
        # not the text: libraries quote values in it, and this may be logged
        message = f"the SEG cannot be read back ({type(exc).__name__})"
        raise VerificationFailed(message) from exc


def _check_identity(dataset: Dataset, series: Series) -> None:
    first, image = series.survey.headers[0], series.identifying
    _same("SOP class is a segmentation", dataset.SOPClassUID in CLASSES, expected=True)
    _same("Modality", dataset.Modality, "SEG")
    _same("Study Instance UID", dataset.StudyInstanceUID, first.study_uid)
    _same("Frame of Reference UID", dataset.FrameOfReferenceUID, first.frame_of_reference_uid)
    _same("Rows and Columns", (dataset.Rows, dataset.Columns), series.survey.grid.shape[1:])
    _same("file meta", dataset.file_meta.MediaStorageSOPInstanceUID, dataset.SOPInstanceUID)
    for keyword in ("PatientID", "PatientName", "AccessionNumber", "StudyID"):
        # the message may be logged, so it never shows the values
        if str(dataset.get(keyword) or "") != _inherited(image, keyword):
            message = f"SEG check failed: {keyword} differs from the source"
            raise VerificationFailed(message)


def _inherited(image: Dataset, keyword: str) -> str:
    """Return the value of the source; an unreadable value was left empty in the SEG."""
    try:
        value = image.get(keyword) or ""
        if keyword == "PatientName" and isinstance(value, MultiValue):
            return " ".join(str(part) for part in value)
        return str(value)
    except MALFORMED:
        return ""


def _check_references(dataset: Dataset, series: Series) -> None:
    first = series.survey.headers[0]
    named = [str(item.SeriesInstanceUID) for item in dataset.ReferencedSeriesSequence]
    _same("referenced series", named, [first.series_uid])
    instances = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    referenced = {str(item.ReferencedSOPInstanceUID) for item in instances}
    known = {header.sop_instance_uid for header in series.survey.headers}
    _same("referenced images outside the series", len(referenced - known), 0)
    if dataset.SeriesInstanceUID == first.series_uid:
        message = "SEG check failed: Series Instance UID is that of the source series"
        raise VerificationFailed(message)


def _check_segments(dataset: Dataset, labels: Labels, segments: Sequence[Segment] | None) -> None:
    described = list(dataset.SegmentSequence)
    if described and int(described[-1].SegmentNumber) == 0:
        del described[-1]  # the background of a label map; before the others, it would shift them
    numbers = [int(item.SegmentNumber) for item in described]
    _same("segment numbers", numbers, list(range(1, len(numbers) + 1)))
    if int(labels.array.max(initial=0)) > len(numbers):
        message = f"SEG check failed: {len(numbers)} segments are described, the labels have more"
        raise VerificationFailed(message)
    if segments is not None:
        _same("segment numbers", numbers, [segment.number for segment in segments])
    for at, item in enumerate(described):
        name = f"segment {numbers[at]}"
        _same(f"{name}: algorithm type", item.SegmentAlgorithmType, "AUTOMATIC")
        _same(f"{name}: values of its colour", len(item.RecommendedDisplayCIELabValue), 3)
        if not item.SegmentLabel or not item.SegmentAlgorithmName or not item.TrackingUID:
            message = f"SEG check failed: {name} lacks its label, algorithm or tracking UID"
            raise VerificationFailed(message)
        category = item.SegmentedPropertyCategoryCodeSequence[0]
        kind = item.SegmentedPropertyTypeCodeSequence[0]
        modifier = kind.get("SegmentedPropertyTypeModifierCodeSequence") or [None]
        if segments is not None:
            expected = segments[at]
            _same(f"{name}: label", item.SegmentLabel, expected.label)
            _same(f"{name}: category", _code(category), _expected_code(expected.category))
            _same(f"{name}: type", _code(kind), _expected_code(expected.type))
            _same(f"{name}: modifier", _code(modifier[0]), _expected_code(expected.modifier))


def _check_voxels(
    decoded: Iterable[Frame], dataset: Dataset, series: Series, labels: Labels
) -> None:
    if not labels.grid.is_close(series.survey.grid, PLACE_TOLERANCE_MM):
        message = "SEG check failed: the labels do not lie on the grid of the series"
        raise VerificationFailed(message)
    _compare(_placed(decoded, series), labels)
    is_known = dataset.SegmentationType in ("BINARY", "LABELMAP")
    _same("Segmentation Type is BINARY or LABELMAP", is_known, expected=True)


def _placed(decoded: Iterable[Frame], series: Series) -> npt.NDArray[np.uint8]:
    """Return the voxels of all frames, each on the slice at its place in the patient."""
    positions = np.array([header.position_mm for header in series.survey.headers], float)
    voxels = np.zeros(series.survey.grid.shape, np.uint8)
    filled: set[tuple[int | None, int]] = set()
    slices: dict[int, tuple[int, Frame]] = {}  # frames of one place share their corners
    for frame in decoded:
        if id(frame.corners_mm) not in slices:
            slices[id(frame.corners_mm)] = (_slice_of(frame, positions, series.survey.grid), frame)
        at, _ = slices[id(frame.corners_mm)]
        header = series.survey.headers[at]
        source = (header.sop_instance_uid, header.frame)
        _same(f"slice {at} names its source image", frame.sources == (source,), expected=True)
        _same(f"slice {at} preserves spatial locations", frame.is_preserved, expected=True)
        if (frame.segment, at) in filled:
            message = f"SEG check failed: two frames show segment {frame.segment} at slice {at}"
            raise VerificationFailed(message)
        filled.add((frame.segment, at))
        _add(voxels[at], frame, at)
    return voxels


def _slice_of(frame: Frame, positions: npt.NDArray[np.float64], grid: Grid) -> int:
    """Find the slice on which all four corners of a frame lie."""
    at = int(np.linalg.norm(positions - frame.corners_mm[0], axis=1).argmin())
    last_row = grid.affine[:3, 1] * (grid.shape[1] - 1)
    last_column = grid.affine[:3, 2] * (grid.shape[2] - 1)
    offsets = np.array([np.zeros(3), last_column, last_row, last_row + last_column])
    off = float(np.linalg.norm(frame.corners_mm - (positions[at] + offsets), axis=1).max())
    if off > PLACE_TOLERANCE_MM:
        message = f"SEG check failed: a frame lies {off:.3f} mm off the nearest slice ({at})"
        raise VerificationFailed(message)
    return at


def _add(voxels: npt.NDArray[np.uint8], frame: Frame, at: int) -> None:
    shown = frame.pixels if frame.segment is None else frame.pixels * np.uint8(frame.segment)
    if np.logical_and(voxels, shown).any():
        message = f"SEG check failed: segments overlap at slice {at}"
        raise VerificationFailed(message)
    np.maximum(voxels, shown, out=voxels)


def _compare(voxels: npt.NDArray[np.uint8], labels: Labels) -> None:
    counts = [np.count_nonzero(a != b) for a, b in zip(voxels, labels.array, strict=True)]
    if any(counts):
        slices = np.flatnonzero(counts)
        message = (
            f"SEG check failed: {sum(counts)} voxels differ from the labels, in "
            f"{len(slices)} slices from {slices[0]} to {slices[-1]}"
        )
        raise VerificationFailed(message)


def _code(item: Dataset | None) -> tuple[str, str] | None:
    return None if item is None else (str(item.CodeValue), str(item.CodingSchemeDesignator))


def _expected_code(code: Code | None) -> tuple[str, str] | None:
    return None if code is None else (code.value, code.scheme)


def _same(attribute: str, actual: object, expected: object) -> None:
    if actual != expected:
        message = f"SEG check failed: {attribute} is {actual!r}, expected {expected!r}"
        raise VerificationFailed(message)
