"""The messages of a history: those of PS3.15 A.5.3, and what its schema requires."""

import base64
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sqlalchemy as sa

from node import queue, schema
from node.audit.message import to_xml, utc
from node.audit.records import START, Facts, application, messages_of
from node.config import Config, DataConfig, Target
from node.config.units import Bytes
from node.errors import RefusedByTarget
from node.queue import Policy, StudyIndex
from node.states import Kind
from tests.support.rows import (
    SEGMENTED,
    SENT,
    T0,
    a_delivery,
    a_segment_job,
    an_arrival,
    claim,
)

EVENTS = {"110100", "110103", "110104", "110112", "110113"}  # PS3.16 CID 400
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def coded(element: ET.Element | None) -> str:
    """Return the code of an element, which PS3.15 A.5.1 requires with a scheme and a meaning."""
    assert element is not None
    assert {"csd-code", "codeSystemName", "originalText"} <= element.attrib.keys()
    return element.attrib["csd-code"]


def checked(xml: bytes) -> ET.Element:
    """Return a message that has everything that the schema of PS3.15 A.5.1 requires, in order."""
    root = ET.fromstring(xml)
    assert root.tag == "AuditMessage"
    names = [part.tag for part in root]
    order = ("EventIdentification", "ActiveParticipant", "AuditSourceIdentification",
             "ParticipantObjectIdentification")  # fmt: skip
    assert names == sorted(names, key=order.index)
    assert names.count("EventIdentification") == names.count("AuditSourceIdentification") == 1
    event = root[0]
    assert coded(event.find("EventID")) in EVENTS
    assert event.attrib["EventActionCode"] in "CRUDE"
    assert event.attrib["EventOutcomeIndicator"] in ("0", "4", "8", "12")
    assert DATE_TIME.fullmatch(event.attrib["EventDateTime"])
    participants = root.findall("ActiveParticipant")
    assert participants
    for one in participants:
        assert one.attrib["UserID"]
        assert one.attrib["UserIsRequestor"] in ("true", "false")
        points = [name for name in one.attrib if name.startswith("NetworkAccessPoint")]
        assert len(points) in (0, 2)
        assert all(coded(role) for role in one.findall("RoleIDCode"))
    source = root.find("AuditSourceIdentification")
    assert source is not None
    assert source.attrib["AuditSourceID"]
    for one in root.findall("ParticipantObjectIdentification"):
        assert one.attrib["ParticipantObjectID"]
        assert one.attrib["ParticipantObjectTypeCode"] in "1234"
        assert coded(one.find("ParticipantObjectIDTypeCode"))
        has_name = one.find("ParticipantObjectName") is not None
        assert has_name != (one.find("ParticipantObjectQuery") is not None)
        for detail in one.findall("ParticipantObjectDetail"):
            assert base64.b64decode(detail.attrib["value"], validate=True)
    return root


def ids(root: ET.Element) -> dict[str, str]:
    """Return the identifiers of a message by their type."""
    return {
        coded(one.find("ParticipantObjectIDTypeCode")): one.attrib["ParticipantObjectID"]
        for one in root.findall("ParticipantObjectIdentification")
    }


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        data=DataConfig(dir=tmp_path, index="plain", stop_accepting_below=Bytes(1)),
        targets={"pacs": Target(ae="PACS", host="10.1.2.3")},
    )


@pytest.fixture
def engine(config: Config) -> sa.Engine:
    """Return a history with a received series, a delivery and a retry by a person."""
    engine = schema.open_configured(config.data)
    index = StudyIndex(
        kept_as="plain", accession="A1", patient_id="P<1>", study_date="", description="", words=()
    )
    queue.record_arrival(engine, an_arrival(), a_segment_job(), T0, index=index)
    queue.finish_segment(engine, claim(engine, now=T0 + 1), SEGMENTED, [a_delivery()], T0 + 2)
    job = queue.claim(engine, Kind.DELIVER, "s", T0 + 3, 60.0, "pacs")
    assert job is not None
    refusal = RefusedByTarget("PACS said 0xA700", advice="")
    queue.settle(engine, job, refusal, T0 + 4, Policy(give_up_after_s=1.0))
    queue.requeue(engine, job.id, T0 + 5, "page:anna")
    job = queue.claim(engine, Kind.DELIVER, "s", T0 + 6, 60.0, "pacs")
    assert job is not None
    queue.finish_delivery(engine, job, SENT, T0 + 7)
    queue.add_note(engine, "rejected-association", "CT02 may not send \x1b[0m<b>", T0 + 8)
    return engine


def sent(engine: sa.Engine, config: Config, patient_id: str = "P<1>") -> list[ET.Element]:
    """Return the messages of the whole history."""
    messages = []
    for event in queue.events_after(engine, 0, 1000):
        job = queue.get(engine, event.job_id) if event.job_id is not None else None
        facts = Facts(caller="SCANNER", patient_id=patient_id, job=job)
        messages += messages_of(event, facts, config)
    return [checked(to_xml(one, "SEGNODE", "Hospital")) for one in messages]


def test_a_history_becomes_the_messages_of_the_standard(engine: sa.Engine, config: Config) -> None:
    messages = sent(engine, config)
    kinds = [
        (coded(one[0].find("EventID")), one[0].attrib["EventActionCode"],
         one[0].attrib["EventOutcomeIndicator"]) for one in messages
    ]  # fmt: skip
    assert kinds == [
        ("110104", "C", "0"),  # received
        ("110104", "R", "8"),  # refused by the target
        ("110103", "U", "0"),  # retried by a person
        ("110104", "R", "0"),  # sent
        ("110112", "E", "0"),  # confirmed by a query
        ("110113", "E", "4"),  # rejected caller
    ]
    assert all(ids(one)["110180"] == "1.2.3" for one in messages[:4])
    assert all(ids(one)["2"] == "P<1>" for one in messages[:4])


def test_the_participants_name_source_and_destination(engine: sa.Engine, config: Config) -> None:
    received, _, retried, delivered, *_ = sent(engine, config)
    for message, source, destination in ((received, "SCANNER", "SEGNODE"), (
        delivered, "SEGNODE", "PACS")):  # fmt: skip
        roles = {
            coded(one.find("RoleIDCode")): one.attrib["UserID"]
            for one in message.findall("ActiveParticipant")
        }
        assert roles == {"110153": source, "110152": destination}
    person = retried.findall("ActiveParticipant")[0]
    assert (person.attrib["UserID"], person.attrib["UserIsRequestor"]) == ("page:anna", "true")
    there = delivered.findall("ActiveParticipant")[1].attrib
    assert (there["NetworkAccessPointID"], there["NetworkAccessPointTypeCode"]) == ("10.1.2.3", "2")
    instance = delivered.find(".//SOPClass/Instance")
    assert instance is not None
    assert instance.attrib["UID"] == "1.2.3.9.1"


def test_a_query_holds_its_data_set(engine: sa.Engine, config: Config) -> None:
    query = sent(engine, config)[4].find(".//ParticipantObjectQuery")
    assert query is not None
    data_set = base64.b64decode(query.text or "")
    assert b"1.2.3.9.1" in data_set
    assert data_set[:4] == b"\x08\x00\x18\x00", "the first element is SOP Instance UID"
    assert b"\x08\x00\x52\x00\x06\x00\x00\x00IMAGE " in data_set


def test_a_peer_cannot_forge_an_element(engine: sa.Engine, config: Config) -> None:
    alert = sent(engine, config)[5]
    text = alert.findtext("EventIdentification/EventOutcomeDescription")
    assert text == "CT02 may not send ?[0m<b>"


def test_without_a_recorded_patient_id_there_is_no_patient(
    engine: sa.Engine, config: Config
) -> None:
    assert all("2" not in ids(one) for one in sent(engine, config, patient_id=""))


def test_a_start_is_an_application_activity(config: Config) -> None:
    root = checked(to_xml(application(config, START, T0), "SEGNODE"))
    assert coded(root[0].find("EventTypeCode")) == "110120"
    assert root[0].attrib["EventDateTime"] == utc(T0) == "2023-11-14T22:13:20.000Z"
    launcher = [
        one for one in root.findall("ActiveParticipant") if one.get("UserIsRequestor") == "true"
    ]
    assert [coded(one.find("RoleIDCode")) for one in launcher] == ["110151"]
