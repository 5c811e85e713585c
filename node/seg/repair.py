"""Copy the header values that a result inherits from its source, and repair invalid ones.

Guarantees: the source datasets never change; identifiers are copied unchanged, because a result
that does not match its study is lost; each repair is listed in words, without the value.
"""

import copy
import datetime
import re
from collections.abc import Iterator, Sequence

from pydicom import config
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.valuerep import PersonName, validate_value

UTF_8 = "ISO_IR 192"
UNREADABLE = (
    ValueError, TypeError, AttributeError, LookupError, NotImplementedError, BytesLengthException,
)  # fmt: skip

PATIENT_GROUPS = (0x0010, 0x0012)  # patient, patient study, clinical trial
STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "ProcedureCodeSequence",
    "AdmissionID", "ServiceEpisodeID",
)  # fmt: skip
EQUIPMENT = (
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
    "InstitutionName", "BodyPartExamined", "TimezoneOffsetFromUTC", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod", "PositionReferenceIndicator",
)  # fmt: skip
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "StudyID", "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
# copied unchanged: an archive matches a result with its study by these
IDENTIFIERS = frozenset(
    {"StudyInstanceUID", "PatientName", "PatientID", "IssuerOfPatientID", "StudyID",
     "AccessionNumber", "ReferringPhysicianName"}
)  # fmt: skip
SINGLE_NAMES = frozenset({"PatientName", "ReferringPhysicianName"})
ALLOWED = {
    "PatientSex": frozenset({"", "M", "F", "O"}),
    "LossyImageCompression": frozenset({"", "00", "01"}),
}
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def inherited(source: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """Return the valid values that a result inherits from `source`, and the repairs."""
    repairs: list[str] = []
    result = Dataset()
    for element in _inherited_elements(source, repairs):
        name = element.keyword
        repaired = _repaired(element)
        if repaired is not None:
            if str(repaired.value or "") != str(element.value or ""):
                repairs.append(f"{name} was written in an old form, and was rewritten")
            result.add(repaired)
        elif name not in TYPE_2:
            repairs.append(f"{name} had a value that DICOM does not allow, and was left out")
        else:
            repairs.append(f"{name} had a value that DICOM does not allow, and was left empty")
            setattr(result, name, "")
    for name in TYPE_2:
        if name not in result:
            repairs.append(f"{name} was absent, and was written empty")
            setattr(result, name, "")
    repairs += _character_repairs(source, result)
    result.SpecificCharacterSet = UTF_8
    return result, tuple(repairs)


def _inherited_elements(source: Dataset, repairs: list[str]) -> Iterator[DataElement]:
    named = {*STUDY, *EQUIPMENT}
    for tag in sorted(source.keys()):
        name = keyword_for_tag(tag)
        if not name or not (tag.group in PATIENT_GROUPS or name in named):
            continue
        try:
            element = copy.deepcopy(source[tag])
            _to_unicode(element)
        except UNREADABLE:
            repairs.append(f"{name} could not be read, and was left out")
            continue
        yield element


def _to_unicode(element: DataElement) -> None:
    """Decode person names, which would otherwise keep the bytes of the source's character set."""
    if element.VR == "SQ":
        for item in element.value or ():
            item.pop("SpecificCharacterSet", None)
            for nested in item:
                _to_unicode(nested)
    elif element.VR == "PN":
        if element.VM > 1:
            element.value = [PersonName(str(name)) for name in element.value]
        else:
            element.value = PersonName(str(element.value or ""))


def _repaired(element: DataElement) -> DataElement | None:
    """Return the element in a valid form, or None if there is none."""
    if element.VR == "PN" and element.VM > 1 and element.keyword in SINGLE_NAMES:
        # a backslash in a name splits it; an archive matches by PatientID, so no part is dropped
        return DataElement(element.tag, "PN", " ".join(str(name) for name in element.value))
    if element.keyword in IDENTIFIERS:
        return element
    if dictionary_VR(element.tag) != element.VR:
        return None
    allowed = ALLOWED.get(element.keyword)
    if allowed is not None and str(element.value or "") not in allowed:
        return None
    if element.VR in ("DA", "TM") and element.VM <= 1:
        text = _repaired_time(element.VR, str(element.value or "").strip())
        return None if text is None else DataElement(element.tag, element.VR, text)
    return element if _is_valid(element) else None


def _repaired_time(vr: str, text: str) -> str | None:
    """Return a date or time in its DICOM form; ACR-NEMA wrote them with dots and colons."""
    digits = text.replace("." if vr == "DA" else ":", "")
    whole, _, fraction = digits.partition(".")
    if not digits:
        return ""
    if not re.fullmatch(r"\d+", whole) or (fraction and not re.fullmatch(r"\d{1,6}", fraction)):
        return None
    forms = {8: "%Y%m%d"} if vr == "DA" else {2: "%H", 4: "%H%M", 6: "%H%M%S"}
    form = forms.get(len(whole))
    try:
        datetime.datetime.strptime(whole, form or "").replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
    return digits if form else None


def _is_valid(element: DataElement) -> bool:
    if element.VR == "SQ":
        return all(_is_valid(nested) for item in element.value or () for nested in item)
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            if value not in (None, ""):
                text = value if element.VR in ("US", "UL", "SS", "SL", "FD", "FL") else str(value)
                validate_value(element.VR, text, config.RAISE)
    except UNREADABLE:
        return False
    return True


def _character_repairs(source: Dataset, result: Dataset) -> Sequence[str]:
    declared = source.get("SpecificCharacterSet") or ()
    names = [declared] if isinstance(declared, str) else list(declared)
    repairs = []
    if any(name and name not in python_encoding for name in names):
        repairs.append("SpecificCharacterSet is not a known character set; texts may look wrong")
    if any(REPLACEMENT in str(element.value) for element in result):
        repairs.append("a text had bytes outside its character set, and they were replaced")
    return repairs
