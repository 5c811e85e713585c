"""Write a notice that a series was not segmented: a Basic Text SR (PS3.3 A.35.1).

Guarantees: patient and study are those of the source; the same inputs give the same bytes; it is
UNVERIFIED and says that nothing was assessed. All notices of one task in a study are one series.
"""

import datetime
from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom.build import coded, new_dataset, set_elements
from node.dicom.uids import NOTICE_CLASS, derive_uid
from node.related import named, related
from node.seg import SegIdentity, inherited

SERIES_NUMBER = 9991  # behind the results, beside rejection notes
LONGEST_TEXT = 64  # of a Long String
DISCLAIMER = (
    "No image was assessed, so this says nothing about the patient. AI notice for research use "
    "only, not for diagnosis."
)
TITLE = ("18748-4", "LN", "Diagnostic imaging report")  # CID 7000
NO_RESULT = ("111245", "DCM", "No algorithms succeeded; without findings")  # CID 6047
SUMMARY = ("111017", "DCM", "CAD Processing and Findings Summary")
FINDINGS, FINDING = ("121070", "DCM", "Findings"), ("121071", "DCM", "Finding")
COMMENT = ("121106", "DCM", "Comment")
SERIES = ("112002", "DCM", "Series Instance UID")
Code = tuple[str, str, str]  # value, scheme, meaning


def encode_notice(
    source: Dataset,
    package: str,
    reason: str,
    *,
    inputs_digest: str,
    created: datetime.datetime,
    identity: SegIdentity,
) -> Dataset:
    """Return the notice for one series.

    Args:
        source: any image of the series, without its pixels.
        package: task/version of the package that cannot segment it.
        reason: in words, as the history has it.
        inputs_digest: of all images of the series; other images give another notice.
        created: the date and time of the notice.
        identity: the equipment that writes it.

    Raises:
        ValueError: `created` has no time zone.
    """
    task = package.partition("/")[0]
    shared, _ = inherited(source)
    dataset = related(shared, created, sop_class=NOTICE_CLASS, syntax=ExplicitVRLittleEndian)
    dataset.pop("BodyPartExamined", None)  # of an image, not of a document about it
    study, series = str(source.StudyInstanceUID), str(source.SeriesInstanceUID)
    device = derive_uid(identity.uid_root, "device", identity.model_name, identity.serial)
    named(
        dataset,
        derive_uid(identity.uid_root, "notice", study, task),
        derive_uid(identity.uid_root, "notice", series, package, inputs_digest, reason),
        SERIES_NUMBER,
    )
    set_elements(
        dataset,
        Modality="SR",
        SeriesDescription=f"AI notice {task}: not segmented"[:LONGEST_TEXT],
        ReferencedPerformedProcedureStepSequence=[],
        Manufacturer=identity.manufacturer,
        ManufacturerModelName=identity.model_name,
        DeviceSerialNumber=identity.serial,
        SoftwareVersions=identity.software_version,
        CompletionFlag="COMPLETE",
        VerificationFlag="UNVERIFIED",
        PerformedProcedureCodeSequence=[],
        ValueType="CONTAINER",
        ConceptNameCodeSequence=[coded(*TITLE)],
        ContinuityOfContent="SEPARATE",
        ContentTemplateSequence=[new_dataset(MappingResource="DCMR", TemplateIdentifier="2000")],
        ContentSequence=[
            *_context(identity, device),
            _section(f"Not segmented by {package}: {_name(source)}. {_sentence(reason)}", series),
        ],
    )
    if identity.institution:  # else that of the source stays
        set_elements(dataset, InstitutionName=identity.institution)
    return dataset


def _name(source: Dataset) -> str:
    """Return number and description of the source series, as a worklist shows them."""
    number = source.get("SeriesNumber")
    description = " ".join(str(source.get("SeriesDescription") or "").split())
    return " ".join(part for part in (f"series {number or ''}".rstrip(), description) if part)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _context(identity: SegIdentity, device: str) -> Iterator[Dataset]:
    """Yield the language, and the device that observed (TID 1204, 1001, 1004)."""
    yield _item(
        "HAS CONCEPT MOD", "CODE", ("121049", "DCM", "Language of Content Item and Descendants"),
        ConceptCodeSequence=[coded("en-US", "RFC5646", "English (United States)")],
    )  # fmt: skip
    yield _item(
        "HAS OBS CONTEXT", "CODE", ("121005", "DCM", "Observer Type"),
        ConceptCodeSequence=[coded("121007", "DCM", "Device")],
    )  # fmt: skip
    yield _item(
        "HAS OBS CONTEXT", "UIDREF", ("121012", "DCM", "Device Observer UID"), UID=device
    )  # fmt: skip
    texts = (
        ("121013", "Device Observer Name", identity.model_name),
        ("121014", "Device Observer Manufacturer", identity.manufacturer),
        ("121016", "Device Observer Serial Number", identity.serial),
    )
    for value, meaning, text in texts:
        yield _item("HAS OBS CONTEXT", "TEXT", (value, "DCM", meaning), TextValue=text)


def _section(text: str, series: str) -> Dataset:
    """Return the findings: that no algorithm succeeded, why, for which series, and a disclaimer."""
    items = [
        _item("CONTAINS", "CODE", SUMMARY, ConceptCodeSequence=[coded(*NO_RESULT)]),
        _item("CONTAINS", "TEXT", FINDING, TextValue=text),
        _item("CONTAINS", "UIDREF", SERIES, UID=series),
        _item("CONTAINS", "TEXT", COMMENT, TextValue=DISCLAIMER),
    ]
    return _item(
        "CONTAINS", "CONTAINER", FINDINGS, ContinuityOfContent="SEPARATE", ContentSequence=items
    )


def _item(relationship: str, kind: str, name: Code, **values: object) -> Dataset:
    return new_dataset(
        RelationshipType=relationship,
        ValueType=kind,
        ConceptNameCodeSequence=[coded(*name)],
        **values,
    )
