"""Encode labels as an RT Structure Set (PS3.3 A.19): a closed contour per region and slice."""

import copy
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from node.colours import Colour, display_colours
from node.dicom.build import coded, new_dataset, set_elements
from node.dicom.uids import RTSTRUCT_CLASS, derive_uid
from node.imaging import Labels
from node.imaging.contours import outlines
from node.package import Code, Segment
from node.related import named, related
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
    when = (str(dataset.ContentDate), str(dataset.ContentTime))
    del dataset.ContentDate, dataset.ContentTime  # of no module of this object
    described = {int(item.SegmentNumber): item for item in seg.SegmentSequence}
    volumes_ml = labels.volumes_ml(tuple(segment.number for segment in segments))
    colours, frame = display_colours(segments), str(seg.FrameOfReferenceUID)
    set_elements(
        dataset,
        Modality="RTSTRUCT",
        OperatorsName="",
        SeriesDescription=str(seg.SeriesDescription).replace("AI SEG", "AI RT", 1),
        StructureSetLabel=str(seg.ContentLabel)[:LONGEST_LABEL],
        StructureSetName=str(seg.ContentDescription),
        StructureSetDate=when[0],
        StructureSetTime=when[1],
        ApprovalStatus="UNAPPROVED",
        FrameOfReferenceUID=frame,
        PositionReferenceIndicator=seg.get("PositionReferenceIndicator", ""),
        ReferencedFrameOfReferenceSequence=[_referenced(series)],
        StructureSetROISequence=[
            _structure(segment, described[segment.number], volumes_ml, frame)
            for segment in segments
        ],
        ROIContourSequence=[
            _contours(series, labels, segment, colours[segment.number]) for segment in segments
        ],
        RTROIObservationsSequence=[_observation(segment) for segment in segments],
    )
    return dataset


def _referenced(series: Series) -> Dataset:
    """Return the frame of reference with all images of the volume."""
    first = series.survey.headers[0]
    classes = {header.sop_instance_uid: header.sop_class_uid for header in series.survey.headers}
    images = [_image(uid, sop_class) for uid, sop_class in classes.items()]
    of_series = new_dataset(SeriesInstanceUID=first.series_uid, ContourImageSequence=images)
    study = new_dataset(
        ReferencedSOPClassUID=DETACHED_STUDY,
        ReferencedSOPInstanceUID=first.study_uid,
        RTReferencedSeriesSequence=[of_series],
    )
    return new_dataset(
        FrameOfReferenceUID=first.frame_of_reference_uid, RTReferencedStudySequence=[study]
    )


def _image(uid: str, sop_class: str) -> Dataset:
    return new_dataset(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=uid)


def _structure(
    segment: Segment, described: Dataset, volumes_ml: Mapping[int, float], frame: str
) -> Dataset:
    algorithm = copy.deepcopy(described.SegmentationAlgorithmIdentificationSequence)
    return new_dataset(
        ROINumber=segment.number,
        ReferencedFrameOfReferenceUID=frame,
        ROIName=segment.label,
        ROIDescription=described.SegmentDescription,
        ROIVolume=f"{volumes_ml[segment.number]:.6g}",  # in cubic centimetres
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIDerivationAlgorithmIdentificationSequence=algorithm,
    )


def _contours(series: Series, labels: Labels, segment: Segment, colour: Colour) -> Dataset:
    item = new_dataset(ROIDisplayColor=list(colour), ReferencedROINumber=segment.number)
    contours: list[Dataset] = []
    is_inside = labels.array == segment.number
    for at in np.flatnonzero(is_inside.any(axis=(1, 2))):
        header = series.survey.headers[at]
        for outline in outlines(is_inside[at]):
            contours.append(_contour(outline, header, labels.grid.affine, len(contours) + 1))
    if contours:
        set_elements(item, ContourSequence=contours)
    return item


def _contour(outline: FloatArray, header: Header, affine: FloatArray, number: int) -> Dataset:
    """Return one contour in the plane of its image; LPS, in mm."""
    assert header.position_mm is not None  # of every slice of a volume
    places_mm = np.array(header.position_mm) + outline @ affine[:3, 1:3].T
    image = _image(header.sop_instance_uid, header.sop_class_uid)
    if header.frame is not None:
        set_elements(image, ReferencedFrameNumber=header.frame)
    return new_dataset(
        ContourImageSequence=[image],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(outline),
        ContourNumber=number,
        ContourData=[f"{value:.3f}" for value in _values(places_mm)],
    )


def _values(places_mm: FloatArray) -> Iterator[float]:
    """Yield coordinate after coordinate; adding 0 turns -0 into 0."""
    return iter((np.round(places_mm, 3) + 0.0).ravel().tolist())


def _observation(segment: Segment) -> Dataset:
    kind = _concept(segment.type)
    if segment.modifier is not None:
        modifier = [_concept(segment.modifier)]
        set_elements(kind, SegmentedPropertyTypeModifierCodeSequence=modifier)
    return new_dataset(
        ObservationNumber=segment.number,
        ReferencedROINumber=segment.number,
        ROIObservationLabel=segment.label[:LONGEST_LABEL],
        SegmentedPropertyCategoryCodeSequence=[_concept(segment.category)],
        RTROIIdentificationCodeSequence=[kind],
        RTROIInterpretedType="ORGAN",
        ROIInterpreter="",
    )


def _concept(code: Code) -> Dataset:
    return coded(code.value, code.scheme, code.meaning)
