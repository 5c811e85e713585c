"""Read the title and the references of a Key Object Selection document (PS3.3 C.17.6)."""

import msgspec
from pydicom.dataset import Dataset

from node.dicom.uids import is_dotted_uid
from node.series.values import items, text

KEY_OBJECT_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"
MOST_REFERENCES = 1000  # of one document that are read


class KeyObject(msgspec.Struct, frozen=True):
    """One document."""

    title: str  # code of its title, if the scheme is DCM; else empty
    references: tuple[str, ...]  # SOP Instance UIDs, in their order


def key_object_of(dataset: Dataset) -> KeyObject | None:
    """Return title and references; None if the data set is no Key Object Selection document."""
    if text(dataset, "SOPClassUID") != KEY_OBJECT_CLASS:
        return None
    names = items(dataset, "ConceptNameCodeSequence")
    is_dicom = bool(names) and text(names[0], "CodingSchemeDesignator") == "DCM"
    uids = [
        text(reference, "ReferencedSOPInstanceUID")
        for study in items(dataset, "CurrentRequestedProcedureEvidenceSequence")
        for series in items(study, "ReferencedSeriesSequence")
        for reference in items(series, "ReferencedSOPSequence")
    ]
    return KeyObject(
        title=text(names[0], "CodeValue")[:16] if is_dicom else "",
        references=tuple(uid for uid in uids if is_dotted_uid(uid))[:MOST_REFERENCES],
    )
