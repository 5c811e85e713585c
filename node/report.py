"""Write the volumes of a SEG as a TID 1500 measurement report (Comprehensive 3D SR).

Guarantees: patient, study and equipment are those of the SEG; the report has one group per segment,
detected or not, because 0 ml is a result; it is UNVERIFIED, because no person has reviewed it.
"""

import copy
import datetime
from collections.abc import Iterator
from dataclasses import dataclass

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from node.caveats import Caveat
from node.dicom.time_zones import in_zone_of
from node.dicom.uids import UUID_ROOT, derive_uid
from node.imaging import Labels
from node.package import Code, Package, Segment
from node.series import Series
from node.volumes import marked, pairs_of, rounded, sums_of

UTF_8 = "ISO_IR 192"
MILLILITRE = hd.sr.CodedConcept("mL", "UCUM", "milliliter")
# SNOMED CT codes of Anatomical Structure, in CID 7150 and in older files; a type of this category
# is a finding site
ANATOMY = frozenset({"91723000", "123037004"})

PROCEDURES = {  # CID 100
    "MR": hd.sr.CodedConcept("113091000", "SCT", "Magnetic resonance imaging"),
    "CT": hd.sr.CodedConcept("77477000", "SCT", "Computed tomography"),
}
NOT_DETECTED = hd.sr.QualitativeEvaluation(
    name=hd.sr.CodedConcept("705057003", "SCT", "Presence"),
    value=hd.sr.CodedConcept("260415000", "SCT", "Not detected"),
)
ANY_PROCEDURE = hd.sr.CodedConcept("363679005", "SCT", "Imaging procedure")


@dataclass(frozen=True, eq=False)
class ReportedResult:
    """The result for one series, and how it was made."""

    series: Series
    labels: Labels
    package: Package
    size: str
    engine: str = ""
    why: str = ""  # the reason for size and engine
    caveats: tuple[Caveat, ...] = ()


def encode_report(
    result: ReportedResult,
    seg_dataset: Dataset,
    *,
    created: datetime.datetime,
    uid_root: str = UUID_ROOT,
) -> Dataset:
    """Return the report on a result.

    Args:
        result: the volumes, caveats and circumstances to report.
        seg_dataset: the SEG of the result, whose patient, study and equipment the report has.
        created: the date and time of the report.
        uid_root: the root of its UIDs.

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
        content=_content(result, seg_dataset, device_uid)[0],
        series_instance_uid=series_uid,
        series_number=int(seg_dataset.SeriesNumber) + 1,
        sop_instance_uid=derive_uid(
            uid_root, "report", seg_dataset.SOPInstanceUID, result.engine, result.why
        ),
        instance_number=1,
        manufacturer=seg_dataset.Manufacturer,
        is_complete=True,
        institution_name=seg_dataset.get("InstitutionName"),
        manufacturer_model_name=seg_dataset.ManufacturerModelName,
        software_versions=tuple(seg_dataset.SoftwareVersions),
        device_serial_number=seg_dataset.DeviceSerialNumber,
        series_description=seg_dataset.SeriesDescription.replace("AI SEG", "AI volumes", 1),
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


def _content(result: ReportedResult, seg: Dataset, device_uid: str) -> hd.sr.MeasurementReport:
    report = _measurements(result, seg, device_uid)
    caveats = [caveat.text for caveat in result.caveats]
    for text in (*caveats, *_comparisons(result), *_model(result)):
        comment = hd.sr.TextContentItem(
            name=codes.DCM.Comment,
            value=text,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
        report[0].ContentSequence.append(comment)
    return report


def _comparisons(result: ReportedResult) -> Iterator[str]:
    """Yield both sides of each paired structure, and the usual sums, in words."""
    manifest = result.package.manifest
    volumes_ml = result.labels.volumes_ml(manifest.numbers)
    cut = {name for caveat in result.caveats for name in caveat.structures}
    for pair in pairs_of({s.label: volumes_ml[s.number] for s in manifest.segments}):
        both, left, right = pair.marked(cut, " ml")
        difference = f"left - right {pair.difference}"
        yield f"{pair.structure}: left {left}, right {right}, sum {both}, {difference}"
    for name, sum_ml in sums_of(manifest.segments, manifest.expect, volumes_ml).items():
        yield f"{name}, sum: {marked(sum_ml, is_cut=name in cut, unit=' ml')}"


def _model(result: ReportedResult) -> Iterator[str]:
    """Yield what made the result and why, how accurate that was measured, and its purpose."""
    engine = f", engine {result.engine}" if result.engine else ""
    why = f" ({result.why})" if result.why else ""
    yield f"Segmented by {result.package.name}, size {result.size}{engine}{why}"
    by_size = result.package.manifest.metrics
    metrics = next((one for size, one in by_size.items() if size == result.size), None)
    if metrics is None:
        yield "Accuracy of this size: not measured yet"
    else:
        dice = metrics.dice.words(".2f")
        yield f"Measured accuracy: Dice {dice} on {metrics.cases} held-out cases"
    yield "For research use only, not for diagnosis"


def _measurements(result: ReportedResult, seg: Dataset, device_uid: str) -> hd.sr.MeasurementReport:
    series, package = result.series, result.package
    volumes_ml = result.labels.volumes_ml(package.manifest.numbers)
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
                value=float(rounded(volume_ml)),
                unit=MILLILITRE,
                method=codes.DCM.SumOfSegmentedVoxelMethodForVolume,
            )
        ],
    )


def _concept(code: Code) -> hd.sr.CodedConcept:
    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)
