"""Which audit messages an event of the history is (PS3.15 A.5.3)."""

import ipaddress
import socket
import struct
from dataclasses import dataclass

from node import queue
from node.audit.message import AuditMessage, Code, Involved, Outcome, Participant
from node.config import Config
from node.queue import Event, Job
from node.schema import NODE

START, STOP = Code("110120", "Application Start"), Code("110121", "Application Stop")
_APPLICATION = Code("110100", "Application Activity")
_ACCESSED = Code("110103", "DICOM Instances Accessed")
_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
_QUERY = Code("110112", "Query")
_ALERT = Code("110113", "Security Alert")
_NODE_AUTHENTICATION = Code("110126", "Node Authentication")
_SOFTWARE = Code("110131", "Software Configuration")
_RESTRICTED = Code("110132", "Use of Restricted Function")
_LAUNCHER, _APPLICATION_ROLE = Code("110151", "Application Launcher"), Code("110150", "Application")
_SOURCE, _DESTINATION = Code("110153", "Source Role ID"), Code("110152", "Destination Role ID")
_STUDY = Code("110180", "Study Instance UID")
_SOP_CLASS = Code("110181", "SOP Class UID")
_PATIENT = Code("2", "Patient Number", "RFC-3881")
_URI = Code("12", "URI", "RFC-3881")
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"

RECEIVED = {"received", "resent"}
ALERTS = {  # events about callers, and their kind of alert
    "rejected-association": _NODE_AUTHENTICATION,
    "failed-handshake": _NODE_AUTHENTICATION,
    "invalid-request": _RESTRICTED,
    "protocol-violation": _RESTRICTED,
}
DELIVERED, NOT_DELIVERED = "finish", {"fail", "exhaust"}
DELETED = {"retract"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the rows say about one event."""

    caller: str = ""  # AE title of the sender of the images
    patient_id: str = ""  # as `data.index` keeps it; empty: it is not kept
    job: Job | None = None


def application(config: Config, kind: Code, at: float) -> AuditMessage:
    """Return the message about a start or a stop of the node."""
    return AuditMessage(
        event=_APPLICATION,
        event_type=kind,
        action="E",
        at=at,
        participants=(
            _this_node(config, is_requestor=False, role=_APPLICATION_ROLE),
            Participant(user="segnode serve", is_requestor=True, role=_LAUNCHER, is_process=False),
        ),
    )


def messages_of(event: Event, facts: Facts, config: Config) -> list[AuditMessage]:
    """Return the messages of one event; most events are none."""
    if event.actor not in ("", NODE):
        return [_by_person(event, facts, config)]
    if event.event in ALERTS:
        return [_alert(event, ALERTS[event.event], config)]
    if event.event in RECEIVED:
        return [_received(event, facts, config)]
    if facts.job is not None and facts.job.target:
        return _of_delivery(event, facts, facts.job, config)
    return []


def _received(event: Event, facts: Facts, config: Config) -> AuditMessage:
    sender = Participant(user=facts.caller or "unknown", is_requestor=True, role=_SOURCE)
    return AuditMessage(
        event=_TRANSFERRED,
        action="C",
        at=event.at,
        participants=(sender, _this_node(config, is_requestor=False, role=_DESTINATION)),
        objects=_study_and_patient(event, facts),
    )


def _of_delivery(event: Event, facts: Facts, job: Job, config: Config) -> list[AuditMessage]:
    if event.event != DELIVERED and event.event not in NOT_DELIVERED:
        return []
    payload = queue.as_plain(job.payload)
    instances = (payload.get("sop_class_uid", ""), payload.get("sop_instance_uid", ""))
    here = _this_node(config, is_requestor=True, role=_SOURCE)
    there = _target(config, job.target)
    is_failed = event.event in NOT_DELIVERED
    sent = AuditMessage(
        event=_TRANSFERRED,
        action="R",
        at=event.at,
        outcome=Outcome.SERIOUS if is_failed else Outcome.SUCCESS,
        outcome_text=event.detail if is_failed else "",
        participants=(here, there),
        objects=_study_and_patient(event, facts, instances),
    )
    result = queue.as_plain(job.result)
    if is_failed or result.get("confirmed_by") != "query":
        return [sent]
    queried = Involved(
        identifier=STUDY_ROOT_FIND, identifier_type=_SOP_CLASS, object_type="2", role="3",
        query=_identifier(event.study_uid, payload.get("series_uid", ""), instances[1]),
        details=(("TransferSyntax", IMPLICIT_LITTLE_ENDIAN),),
    )  # fmt: skip
    query = AuditMessage(
        event=_QUERY, action="E", at=event.at, participants=(here, there), objects=(queried,)
    )
    return [sent, query]


def _alert(event: Event, kind: Code, config: Config) -> AuditMessage:
    subject = Involved(
        identifier=f"dicom://{config.node.ae_title}@{socket.gethostname()}:{config.node.port}",
        identifier_type=_URI, object_type="2", role="13",
        details=(("Alert Description", event.detail),),
    )  # fmt: skip
    return AuditMessage(
        event=_ALERT,
        event_type=kind,
        action="E",
        at=event.at,
        outcome=Outcome.MINOR,
        outcome_text=event.detail,
        participants=(_this_node(config, is_requestor=True),),
        objects=(subject,),
    )


def _by_person(event: Event, facts: Facts, config: Config) -> AuditMessage:
    """Return the message about an action of a person on the page or with a command."""
    person = Participant(user=event.actor, is_requestor=True, is_process=False)
    is_about_study = bool(event.study_uid)
    return AuditMessage(
        event=_ACCESSED if is_about_study else _ALERT,
        event_type=None if is_about_study else _SOFTWARE,
        action="E" if not is_about_study else "D" if event.event in DELETED else "U",
        at=event.at,
        outcome_text=f"{event.event}: {event.detail}".rstrip(": "),
        participants=(person, _this_node(config, is_requestor=False)),
        objects=_study_and_patient(event, facts) if is_about_study else (),
    )


def _study_and_patient(
    event: Event, facts: Facts, instances: tuple[str, str] | None = None
) -> tuple[Involved, ...]:
    study = Involved(
        identifier=event.study_uid, identifier_type=_STUDY, object_type="2", role="3",
        instances=instances if instances and all(instances) else None,
    )  # fmt: skip
    if not facts.patient_id:
        return (study,)
    patient = Involved(
        identifier=facts.patient_id, identifier_type=_PATIENT, object_type="1", role="1"
    )
    return (study, patient)


def _this_node(config: Config, *, is_requestor: bool, role: Code | None = None) -> Participant:
    return Participant(
        user=config.node.ae_title, is_requestor=is_requestor, role=role,
        address=socket.gethostname(),
    )  # fmt: skip


def _target(config: Config, name: str) -> Participant:
    target = config.targets.get(name)
    if target is None:  # it left the configuration
        return Participant(user=name, is_requestor=False, role=_DESTINATION)
    return Participant(
        user=target.ae, is_requestor=False, role=_DESTINATION, address=target.host,
        is_name=not _is_address(target.host),
    )  # fmt: skip


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _identifier(study: str, series: str, instance: str) -> bytes:
    """Return the query of a confirmation in Implicit VR Little Endian (PS3.5 7.1.3)."""
    elements = [(0x00080018, instance), (0x00080052, "IMAGE")]
    elements += [(0x0020000D, study), (0x0020000E, series)]
    encoded = b""
    for tag, text in elements:
        value = text.encode("ascii", "replace")
        if len(value) % 2:
            value += b" " if tag == 0x00080052 else b"\0"
        encoded += struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    return encoded
