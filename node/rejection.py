"""Write a rejection note: a Key Object Selection document that rejects results (IHE RAD TF, IOCM).

Guarantees: patient and study are those of the rejected objects; each of them is referenced.
"""

import datetime
from collections.abc import Sequence

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset

from node.dicom.key_objects import Title
from node.dicom.time_zones import in_zone_of
from node.dicom.uids import derive_uid
from node.seg import SegIdentity

UTF_8 = "ISO_IR 192"
SERIES_NUMBER = 9990  # behind the results, which have numbers of their source series


def encode_rejection(
    rejected: Sequence[Dataset],
    title: Title,
    because: str,
    *,
    created: datetime.datetime,
    identity: SegIdentity,
) -> Dataset:
    """Return the note that rejects `rejected`, objects of one study.

    Args:
        rejected: the objects, without their pixels if they are large.
        title: the reason as a document title.
        because: the reason in words, as Key Object Description (113012, DCM).
        created: the date and time of the note; another time gives another object.
        identity: the equipment that writes it.

    Raises:
        ValueError: `created` has no time zone, or nothing is rejected.
    """
    first = rejected[0]
    when = in_zone_of(first, created)
    uids = "\\".join(str(dataset.SOPInstanceUID) for dataset in rejected)
    parts = ("rejection", uids, title.code, created.isoformat())
    written = f"{when:%Y%m%d}", f"{when:%H%M%S}"
    concept = CodedConcept(title.code, "DCM", title.meaning)
    note = KeyObjectSelectionDocument(
        rejected,
        KeyObjectSelection(concept, rejected, description=because),
        derive_uid(identity.uid_root, "series", *parts),
        SERIES_NUMBER,
        derive_uid(identity.uid_root, "instance", *parts),
        1,
        manufacturer=identity.manufacturer,
        manufacturer_model_name=identity.model_name,
        software_versions=(identity.software_version,),
        device_serial_number=identity.serial,
        institution_name=identity.institution or None,
        series_description="Rejection of AI results",
        series_date=written[0],
        series_time=written[1],
        content_date=written[0],
        content_time=written[1],
        specific_character_set=UTF_8,
    )
    dated = {"InstanceCreationDate": written[0], "InstanceCreationTime": written[1]}
    zone = str(first.get("TimezoneOffsetFromUTC", ""))
    for keyword, value in (dated | ({"TimezoneOffsetFromUTC": zone} if zone else {})).items():
        setattr(note, keyword, value)
    return note
