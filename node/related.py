"""The start of an object beside a SEG, or instead of one: patient, study, equipment, time zone."""

import copy
import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from node.dicom.build import set_elements
from node.dicom.time_zones import in_zone_of

PATIENT_GROUPS = (0x0010, 0x0012)
INHERITED = (
    "SpecificCharacterSet", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "StudyDescription", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "ProcedureCodeSequence", "AdmissionID", "ServiceEpisodeID",
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
    "InstitutionName", "BodyPartExamined", "TimezoneOffsetFromUTC", "ContributingEquipmentSequence",
)  # fmt: skip


def related(seg: Dataset, created: datetime.datetime, *, sop_class: UID, syntax: UID) -> Dataset:
    """Return a dataset with what an object shares with a SEG of the same result.

    Args:
        seg: the SEG, whose header is already repaired; or what a SEG would inherit.
        created: the date and time of the object, written in the zone of the SEG.
        sop_class: of the object; the caller sets its UIDs with `named`.
        syntax: the transfer syntax in which the object is written.

    Raises:
        ValueError: `created` has no time zone.
    """
    dataset = Dataset()
    for element in seg:
        if element.tag.group in PATIENT_GROUPS or element.keyword in INHERITED:
            dataset.add(copy.deepcopy(element))
    when = in_zone_of(seg, created)
    day, time = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    set_elements(
        dataset,
        InstanceCreationDate=day,
        InstanceCreationTime=time,
        SeriesDate=day,
        SeriesTime=time,
        ContentDate=day,
        ContentTime=time,
        SOPClassUID=sop_class,
        InstanceNumber="1",
    )
    dataset.file_meta = FileMetaDataset()
    set_elements(dataset.file_meta, MediaStorageSOPClassUID=sop_class, TransferSyntaxUID=syntax)
    return dataset


def named(dataset: Dataset, series_uid: str, instance_uid: str, series_number: int) -> None:
    """Set the UIDs and the series number of an object."""
    set_elements(
        dataset,
        SeriesInstanceUID=series_uid,
        SOPInstanceUID=instance_uid,
        SeriesNumber=series_number,
    )
    set_elements(dataset.file_meta, MediaStorageSOPInstanceUID=instance_uid)
