"""Fill the contours of a structure set again, and compare them with the labels.

Guarantees: a structure set that passes names the right patient, study and images, and each contour
lies on its image; filled by the even-odd rule, the contours give the labels voxel by voxel.
Places come from the headers of the images, not from the grid that the encoder used.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from node.dicom.uids import RTSTRUCT_CLASS
from node.errors import VerificationFailed
from node.imaging import Labels
from node.package import Segment
from node.rtstruct.fill import Mask, filled
from node.series import Header, Series

OFF_PLANE_MM = 0.01  # coordinates are written to 0.001 mm
MALFORMED = (
    InvalidDicomError,
    ValueError,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    OSError,
)
Reference = tuple[str, int | None]  # SOP Instance UID, frame number in a multi-frame image


def verify(path: Path, series: Series, labels: Labels, segments: Sequence[Segment]) -> None:
    """Read the structure set and compare it with its source series and its labels.

    Raises:
        VerificationFailed: with the first difference.
    """
    try:
        dataset = pydicom.dcmread(path)
        _check_identity(dataset, series)
        _check_structures(dataset, series, segments)
        contours = {int(item.ReferencedROINumber): item for item in dataset.ROIContourSequence}
        _same("structures with contours", sorted(contours), [s.number for s in segments])
        for segment in segments:
            _check_voxels(contours[segment.number], segment, series, labels)
    except MALFORMED as exc:
        # not the text: libraries quote values in it, and this may be logged
        message = f"the structure set cannot be read back ({type(exc).__name__})"
        raise VerificationFailed(message) from exc


def _check_identity(dataset: Dataset, series: Series) -> None:
    first = series.survey.headers[0]
    _same("SOP Class UID", dataset.SOPClassUID, RTSTRUCT_CLASS)
    _same("Modality", dataset.Modality, "RTSTRUCT")
    _same("Study Instance UID", dataset.StudyInstanceUID, first.study_uid)
    _same("Approval Status", dataset.ApprovalStatus, "UNAPPROVED")
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    _same("Frame of Reference UID", frame.FrameOfReferenceUID, first.frame_of_reference_uid)
    (referenced,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    _same("referenced series", referenced.SeriesInstanceUID, first.series_uid)
    images = [item.ReferencedSOPInstanceUID for item in referenced.ContourImageSequence]
    known = {header.sop_instance_uid for header in series.survey.headers}
    _same("referenced images", sorted(images), sorted(known))
    if str(dataset.get("PatientID") or "") != str(series.identifying.get("PatientID") or ""):
        message = "RTSTRUCT check failed: PatientID differs from the source"
        raise VerificationFailed(message)


def _check_structures(dataset: Dataset, series: Series, segments: Sequence[Segment]) -> None:
    first = series.survey.headers[0]
    names = [(int(item.ROINumber), item.ROIName) for item in dataset.StructureSetROISequence]
    _same("structures", names, [(segment.number, segment.label) for segment in segments])
    for item in dataset.StructureSetROISequence:
        frame = item.ReferencedFrameOfReferenceUID
        _same("frame of reference of a structure", frame, first.frame_of_reference_uid)
    observed = [
        (int(item.ReferencedROINumber), item.RTROIIdentificationCodeSequence[0].CodeValue)
        for item in dataset.RTROIObservationsSequence
    ]
    _same("observations", observed, [(s.number, s.type.value) for s in segments])


def _check_voxels(item: Dataset, segment: Segment, series: Series, labels: Labels) -> None:
    headers = series.survey.headers
    slices: dict[Reference, int] = {
        (header.sop_instance_uid, header.frame): at for at, header in enumerate(headers)
    }
    _, rows, columns = labels.grid.shape
    voxels = np.zeros(labels.grid.shape, bool)
    for contour in item.get("ContourSequence", ()):
        _same("type of a contour", contour.ContourGeometricType, "CLOSED_PLANAR")
        (image,) = contour.ContourImageSequence
        frame = image.get("ReferencedFrameNumber")
        at = slices[str(image.ReferencedSOPInstanceUID), None if frame is None else int(frame)]
        mask = _filled(contour, headers[at], headers[0], (rows, columns))
        if (voxels[at] & mask).any():
            message = f"RTSTRUCT check failed: contours of {segment.label} overlap at slice {at}"
            raise VerificationFailed(message)
        voxels[at] |= mask
    differing = int((voxels != (labels.array == segment.number)).sum())
    if differing:
        message = f"RTSTRUCT check failed: {differing} voxels of {segment.label} differ"
        raise VerificationFailed(message)


def _filled(contour: Dataset, header: Header, first: Header, shape: tuple[int, int]) -> Mask:
    """Return the pixels of an image inside a contour; orientation and spacing as in a SEG."""
    assert header.position_mm is not None
    assert first.orientation is not None
    assert first.pixel_spacing_mm is not None
    points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    _same("points of a contour", len(points), int(contour.NumberOfContourPoints))
    across, down = np.array(first.orientation, float).reshape(2, 3)
    offsets = points - np.array(header.position_mm)
    off_mm = float(np.abs(offsets @ np.cross(across, down)).max())
    if off_mm > OFF_PLANE_MM:
        message = f"RTSTRUCT check failed: a contour lies {off_mm:.3f} mm off its image"
        raise VerificationFailed(message)
    between_rows, between_columns = first.pixel_spacing_mm
    rows: npt.NDArray[np.float64] = offsets @ down / between_rows
    return filled(np.column_stack([rows, offsets @ across / between_columns]), shape)


def _same(name: str, actual: object, expected: object) -> None:
    if actual != expected:
        message = f"RTSTRUCT check failed: {name} is {actual!r}, expected {expected!r}"
        raise VerificationFailed(message)
