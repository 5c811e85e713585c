"""Write the volumes of a SEG as a TID 1500 measurement report (Comprehensive 3D SR).

Guarantees: patient, study and equipment are those of the SEG; the report has one group per segment,
detected or not, because 0 ml is a result; it is UNVERIFIED, because no person has reviewed it.
"""

import copy
import datetime
from collections import Counter
from collections.abc import Sequence

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from node.dicom.time_zones import in_zone_of
from node.dicom.uids import UUID_ROOT, derive_uid
from node.imaging import Labels
from node.imaging.volume import NOTHING_DETECTED
from node.package import Code, Package, Segment
from node.series import Series

UTF_8 = "ISO_IR 192"
MILLILITRE = hd.sr.CodedConcept("mL", "UCUM", "milliliter")
# SNOMED CT codes of Anatomical Structure, in CID 7150 and in older files; a type of this category
# is a finding site
ANATOMY = frozenset({"91723000", "123037004"})
DIGITS_ML = 6  # a nanolitre; a decimal string has no room for more digits

PROCEDURES = {  # CID 100
    "MR": hd.sr.CodedConcept("113091000", "SCT", "Magnetic resonance imaging"),
    "CT": hd.sr.CodedConcept("77477000", "SCT", "Computed tomography"),
}
NOT_DETECTED = hd.sr.QualitativeEvaluation(
    name=hd.sr.CodedConcept("705057003", "SCT", "Presence"),
    value=hd.sr.CodedConcept("260415000", "SCT", "Not detected"),
)
ANY_PROCEDURE = hd.sr.CodedConcept("363679005", "SCT", "Imaging procedure")


def encode_report(  # noqa: PLR0913 – a report depends on all of these
    series: Series,
    seg_dataset: Dataset,
    labels: Labels,
    package: Package,
    *,
    created: datetime.datetime,
    uid_root: str = UUID_ROOT,
    repairs: Sequence[str] = (),
) -> Dataset:
    """Return the report on the volumes of `seg_dataset`, the SEG of `labels`.

    Args:
        series: the segmented series.
        seg_dataset: the SEG, whose patient, study and equipment the report has.
        labels: the result.
        package: the model.
        created: the date and time of the report.
        uid_root: the root of its UIDs.
        repairs: repairs of the headers that the SEG inherited.

    Raises:
        ValueError: `created` has no time zone.
    """
    when = in_zone_of(seg_dataset, created)
    series_uid = derive_uid(uid_root, "report", seg_dataset.SeriesInstanceUID)
    device_uid = derive_uid(
        uid_root,
        "device",
        str(seg_dataset.ManufacturerModelName),
        str(seg_dataset.DeviceSerialNumber),
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[seg_dataset],
        content=_content(series, seg_dataset, labels, package, device_uid, repairs)[0],
        series_instance_uid=series_uid,
        series_number=int(seg_dataset.SeriesNumber) + 1,
        sop_instance_uid=derive_uid(uid_root, "report", seg_dataset.SOPInstanceUID),
        instance_number=1,
        manufacturer=seg_dataset.Manufacturer,
        is_complete=True,
        institution_name=seg_dataset.get("InstitutionName"),
        manufacturer_model_name=seg_dataset.ManufacturerModelName,
        software_versions=tuple(seg_dataset.SoftwareVersions),
        device_serial_number=seg_dataset.DeviceSerialNumber,
        series_description=seg_dataset.SeriesDescription.replace("AI SEG", "AI volumes", 1)[:64],
        series_date=when.date(),
        series_time=when.time(),
        content_date=when.date(),
        content_time=when.time(),
        specific_character_set=UTF_8,
    )
    report.InstanceCreationDate, report.InstanceCreationTime = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    if "TimezoneOffsetFromUTC" in seg_dataset:
        report.TimezoneOffsetFromUTC = seg_dataset.TimezoneOffsetFromUTC
    # highdicom lists the SEG as an acquired image, and writes the current time into its own item
    report.ContributingEquipmentSequence = copy.deepcopy(seg_dataset.ContributingEquipmentSequence)
    return report


def _content(
    series: Series,
    seg: Dataset,
    labels: Labels,
    package: Package,
    device_uid: str,
    repairs: Sequence[str],
) -> hd.sr.MeasurementReport:
    report = _measurements(series, seg, labels, package, device_uid)
    for note in result_notes(series, labels, package, repairs):
        comment = hd.sr.TextContentItem(
            name=codes.DCM.Comment,
            value=note,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
        report[0].ContentSequence.append(comment)
    return report


def result_notes(
    series: Series, labels: Labels, package: Package, repairs: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return what a reader of the result must know, as the history of the series has it."""
    notes = [] if labels.array.any() else [NOTHING_DETECTED]
    notes += series.notes
    at_edge = labels.at_edge()
    for segment in package.manifest.segments:
        if segment.number in at_edge:
            notes.append(f"{segment.label} reaches the edge of the images")
    reasons = Counter(dropped.reason for dropped in series.survey.dropped)
    notes += [f"left out: {count} × {reason}" for reason, count in sorted(reasons.items())]
    notes += [f"header repaired: {repair}" for repair in repairs]
    return tuple(note[:1].upper() + note[1:] for note in notes)


def _measurements(
    series: Series, seg: Dataset, labels: Labels, package: Package, device_uid: str
) -> hd.sr.MeasurementReport:
    volumes_ml = labels.volumes_ml(package.manifest.numbers)
    described = {int(item.SegmentNumber): item for item in seg.SegmentSequence}
    groups = [
        _group(series, seg, segment, described[segment.number], volumes_ml[segment.number])
        for segment in package.manifest.segments
    ]
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid,
        name=seg.ManufacturerModelName,
        manufacturer_name=seg.Manufacturer,
        model_name=seg.ManufacturerModelName,
        serial_number=seg.DeviceSerialNumber,
    )
    context = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    modality = series.survey.headers[0].modality
    return hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=context),
        procedure_reported=PROCEDURES.get(modality, ANY_PROCEDURE),
        imaging_measurements=groups,
    )


def _group(
    series: Series, seg: Dataset, segment: Segment, described: Dataset, volume_ml: float
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    algorithm = described.SegmentationAlgorithmIdentificationSequence[0]
    kind = _concept(segment.type)
    site = hd.sr.FindingSite(
        anatomic_location=kind,
        laterality=None if segment.modifier is None else _concept(segment.modifier),
    )
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=described.TrackingUID, identifier=segment.label
        ),
        # `ReferencedSegment.from_segmentation` fails for one segment and for LABELMAP
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=segment.number,
            source_series=hd.sr.SourceSeriesForSegmentation(series.survey.headers[0].series_uid),
        ),
        finding_category=_concept(segment.category),
        finding_type=kind,
        finding_sites=[site] if segment.category.value in ANATOMY else None,
        qualitative_evaluations=None if volume_ml else [NOT_DETECTED],
        algorithm_id=hd.sr.AlgorithmIdentification(
            name=algorithm.AlgorithmName, version=algorithm.AlgorithmVersion
        ),
        measurements=[
            hd.sr.Measurement(
                name=codes.SCT.Volume,
                value=round(volume_ml, DIGITS_ML),
                unit=MILLILITRE,
                method=codes.DCM.SumOfSegmentedVoxelMethodForVolume,
            )
        ],
    )


def _concept(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
