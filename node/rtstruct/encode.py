"""Encode labels as an RT Structure Set (PS3.3 A.19): a closed contour per region and slice."""

import copy
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from node.colours import Colour, display_colours
from node.dicom.related import named, related
from node.dicom.uids import RTSTRUCT_CLASS, derive_uid
from node.imaging import Labels
from node.imaging.contours import outlines
from node.package import Code, Segment
from node.series import Header, Series

SERIES_STEP = 5  # the SEG and its report have 1 to 4 in the block of ten of their source series
LONGEST_LABEL = 16  # of a Short String
DETACHED_STUDY = "1.2.840.10008.3.1.2.3.1"  # the class that RT Referenced Study Sequence names
FloatArray = npt.NDArray[np.float64]


def encode(
    series: Series,
    labels: Labels,
    segments: Sequence[Segment],
    seg: Dataset,
    *,
    created: datetime.datetime,
    uid_root: str,
) -> Dataset:
    """Return the structure set of a result.

    Implicit VR, because a contour may be longer than the 64 KiB that an explicit DS can hold.

    Args:
        series: the segmented series.
        labels: the result on the same grid.
        segments: all of them become structures, detected or not.
        seg: a SEG of the result, whose patient, study and equipment the structure set has.
        created: the date and time of the object.
        uid_root: the root of its UIDs, which follow from those of the SEG.
    """
    dataset = related(seg, created, sop_class=RTSTRUCT_CLASS, syntax=ImplicitVRLittleEndian)
    series_uid = derive_uid(uid_root, "rtstruct", seg.SeriesInstanceUID)
    uid = derive_uid(uid_root, "rtstruct", seg.SOPInstanceUID)
    named(dataset, series_uid, uid, int(seg.SeriesNumber) // 10 * 10 + SERIES_STEP)
    dataset.Modality = "RTSTRUCT"
    dataset.OperatorsName = ""
    dataset.SeriesDescription = seg.SeriesDescription.replace("AI SEG", "AI RT", 1)
    dataset.StructureSetLabel = str(seg.ContentLabel)[:LONGEST_LABEL]
    dataset.StructureSetName = str(seg.ContentDescription)
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.ContentDate, dataset.ContentTime
    del dataset.ContentDate, dataset.ContentTime  # of no module of this object
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.FrameOfReferenceUID = seg.FrameOfReferenceUID
    dataset.PositionReferenceIndicator = seg.get("PositionReferenceIndicator", "")
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(series)]
    described = {int(item.SegmentNumber): item for item in seg.SegmentSequence}
    volumes_ml = labels.volumes_ml(tuple(segment.number for segment in segments))
    colours = display_colours(segments)
    dataset.StructureSetROISequence = [
        _structure(segment, described[segment.number], seg.FrameOfReferenceUID, volumes_ml)
        for segment in segments
    ]
    dataset.ROIContourSequence = [
        _contours(series, labels, segment, colours[segment.number]) for segment in segments
    ]
    dataset.RTROIObservationsSequence = [_observation(segment) for segment in segments]
    return dataset


def _referenced(series: Series) -> Dataset:
    """Return the frame of reference with all images of the volume."""
    first = series.survey.headers[0]
    classes = {header.sop_instance_uid: header.sop_class_uid for header in series.survey.headers}
    images = []
    for uid, sop_class in classes.items():
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop_class, uid
        images.append(image)
    referenced_series, study, frame = Dataset(), Dataset(), Dataset()
    referenced_series.SeriesInstanceUID = first.series_uid
    referenced_series.ContourImageSequence = images
    study.ReferencedSOPClassUID = DETACHED_STUDY
    study.ReferencedSOPInstanceUID = first.study_uid
    study.RTReferencedSeriesSequence = [referenced_series]
    frame.FrameOfReferenceUID = first.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _structure(
    segment: Segment,
    described: Dataset,
    frame_of_reference: str,
    volumes_ml: Mapping[int, float],
) -> Dataset:
    item = Dataset()
    item.ROINumber = segment.number
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    item.ROIName = segment.label
    item.ROIDescription = described.SegmentDescription
    item.ROIVolume = f"{volumes_ml[segment.number]:.6g}"  # in cubic centimetres
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIDerivationAlgorithmIdentificationSequence = copy.deepcopy(
        described.SegmentationAlgorithmIdentificationSequence
    )
    return item


def _contours(series: Series, labels: Labels, segment: Segment, colour: Colour) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(colour)
    item.ReferencedROINumber = segment.number
    contours: list[Dataset] = []
    is_inside = labels.array == segment.number
    for at in np.flatnonzero(is_inside.any(axis=(1, 2))):
        header = series.survey.headers[at]
        for outline in outlines(is_inside[at]):
            contours.append(_contour(outline, header, labels.grid.affine, len(contours) + 1))
    if contours:
        item.ContourSequence = contours
    return item


def _contour(outline: FloatArray, header: Header, affine: FloatArray, number: int) -> Dataset:
    """Return one contour in the plane of its image; LPS, in mm."""
    assert header.position_mm is not None  # of every slice of a volume
    places_mm = np.array(header.position_mm) + outline @ affine[:3, 1:3].T
    image = Dataset()
    image.ReferencedSOPClassUID = header.sop_class_uid
    image.ReferencedSOPInstanceUID = header.sop_instance_uid
    if header.frame is not None:
        image.ReferencedFrameNumber = header.frame
    item = Dataset()
    item.ContourImageSequence = [image]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(outline)
    item.ContourNumber = number
    item.ContourData = [f"{value:.3f}" for value in _values(places_mm)]
    return item


def _values(places_mm: FloatArray) -> Iterator[float]:
    """Yield coordinate after coordinate; adding 0 turns -0 into 0."""
    return iter((np.round(places_mm, 3) + 0.0).ravel().tolist())


def _observation(segment: Segment) -> Dataset:
    item = Dataset()
    item.ObservationNumber = item.ReferencedROINumber = segment.number
    item.ROIObservationLabel = segment.label[:LONGEST_LABEL]
    kind = _concept(segment.type)
    if segment.modifier is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [_concept(segment.modifier)]
    item.SegmentedPropertyCategoryCodeSequence = [_concept(segment.category)]
    item.RTROIIdentificationCodeSequence = [kind]
    item.RTROIInterpretedType = "ORGAN"
    item.ROIInterpreter = ""
    return item


def _concept(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = code.value, code.scheme
    item.CodeMeaning = code.meaning
    return item
