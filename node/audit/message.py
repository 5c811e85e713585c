"""One audit message as XML (PS3.15 A.5.1)."""

import base64
import datetime
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from enum import IntEnum

APPLICATION_SERVER = "4"  # AuditSourceTypeCode


@dataclass(frozen=True)
class Code:
    """A coded value."""

    value: str
    meaning: str
    system: str = "DCM"


class Outcome(IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR = 4
    SERIOUS = 8


@dataclass(frozen=True, kw_only=True)
class Participant:
    """A person or a process that took part (ActiveParticipant)."""

    user: str  # a person, or an AE title
    is_requestor: bool
    role: Code | None = None
    is_process: bool = True
    address: str = ""
    is_name: bool = True  # of a machine; False: an IP address


@dataclass(frozen=True, kw_only=True)
class Involved:
    """What the event is about (ParticipantObjectIdentification)."""

    identifier: str
    identifier_type: Code
    object_type: str  # 1 person, 2 system object
    role: str  # 1 patient, 3 report, 13 security resource
    query: bytes = b""  # a DICOM data set
    details: tuple[tuple[str, str], ...] = ()
    instances: tuple[str, str] | None = None  # SOP class, SOP instance


@dataclass(frozen=True, kw_only=True)
class AuditMessage:
    """One message; `at` is in Unix seconds."""

    event: Code
    action: str  # C create, R read, U update, D delete, E execute
    at: float
    outcome: Outcome = Outcome.SUCCESS
    outcome_text: str = ""
    event_type: Code | None = None
    participants: tuple[Participant, ...]
    objects: tuple[Involved, ...] = ()


def to_xml(message: AuditMessage, source: str, site: str = "") -> bytes:
    """Return the XML in UTF-8; `source` names the node, `site` the institution."""
    root = ET.Element("AuditMessage")
    attributes = {
        "EventActionCode": message.action,
        "EventDateTime": utc(message.at),
        "EventOutcomeIndicator": str(int(message.outcome)),
    }
    event = ET.SubElement(root, "EventIdentification", attributes)
    _coded(event, "EventID", message.event)
    if message.event_type is not None:
        _coded(event, "EventTypeCode", message.event_type)
    if message.outcome_text:
        ET.SubElement(event, "EventOutcomeDescription").text = _clean(message.outcome_text)
    for participant in message.participants:
        _add_participant(root, participant)
    where = {"AuditSourceID": _clean(source)}
    if site:
        where["AuditEnterpriseSiteID"] = _clean(site)
    audit_source = ET.SubElement(root, "AuditSourceIdentification", where)
    ET.SubElement(audit_source, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})
    for one in message.objects:
        _add_object(root, one)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def utc(at: float) -> str:
    """Return Unix seconds as RFC 3339 with milliseconds."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _add_participant(root: ET.Element, one: Participant) -> None:
    attributes = {"UserID": _clean(one.user), "UserIsRequestor": str(one.is_requestor).lower()}
    if one.is_process:
        attributes["AlternativeUserID"] = f"AETITLES={_clean(one.user)}"
    if one.address:
        attributes["NetworkAccessPointID"] = _clean(one.address)
        attributes["NetworkAccessPointTypeCode"] = "1" if one.is_name else "2"
    element = ET.SubElement(root, "ActiveParticipant", attributes)
    if one.role is not None:
        _coded(element, "RoleIDCode", one.role)


def _add_object(root: ET.Element, one: Involved) -> None:
    attributes = {
        "ParticipantObjectID": _clean(one.identifier),
        "ParticipantObjectTypeCode": one.object_type,
        "ParticipantObjectTypeCodeRole": one.role,
    }
    element = ET.SubElement(root, "ParticipantObjectIdentification", attributes)
    _coded(element, "ParticipantObjectIDTypeCode", one.identifier_type)
    if one.query:
        ET.SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(one.query).decode()
    else:  # the schema requires a name or a query; the name of a patient is never kept
        ET.SubElement(element, "ParticipantObjectName").text = one.identifier_type.meaning
    for kind, value in one.details:
        encoded = base64.b64encode(_clean(value).encode()).decode()
        ET.SubElement(element, "ParticipantObjectDetail", {"type": kind, "value": encoded})
    if one.instances is not None:
        sop_class, instance = one.instances
        facts = {"UID": sop_class, "NumberOfInstances": "1"}
        listed = ET.SubElement(element, "SOPClass", facts)
        ET.SubElement(listed, "Instance", {"UID": instance})


def _coded(parent: ET.Element, name: str, code: Code) -> None:
    attributes = {
        "csd-code": code.value,
        "codeSystemName": code.system,
        "originalText": code.meaning,
    }
    ET.SubElement(parent, name, attributes)


def _clean(text: str) -> str:
    """Replace control characters: XML 1.0 has none, and peers wrote some texts."""
    return "".join(char if char.isprintable() else "?" for char in text)
