"""`segnode retract`: a rejection note for a delivered result, and one that comes back."""

from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from node import queue
from node.series.compose import Labelling, compose
from node.states import Ending
from tests.integration.test_seg_readers import errors_of
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package, phantom
from tests.support.running import Node, needs_dcmtk, storescu, wait_until
from tests.support.running import started as node_started

pytestmark = [pytest.mark.slow, pytest.mark.orthanc, needs_orthanc, needs_dcmtk]


def test_a_retraction_rejects_the_result_at_the_target_and_comes_back(tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    make_tiny_package(tmp_path / "models")
    pacs = {"ae": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port, "report": True}
    node = Node(tmp_path / "node", 0, tmp_path / "models", changes={"targets": {"pacs": pacs}})
    at = datetime(2026, 1, 2, tzinfo=UTC)
    sent = compose(phantom(), tmp_path / "series", Labelling(), at)
    with started(orthanc, DicomModalities=modality(node.port)), node_started(node):
        assert storescu(node.port, list(sent.files)) == 0
        (history,) = node.wait_for_endings(1)
        delivery = history.deliveries[0]
        early = node.run("retract", "999", "--because", "nothing")
        assert (early.returncode, "there is no job 999" in early.stderr) == (1, True)
        done = node.run("retract", str(delivery.id), "--because", "wrong side")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: bool(orthanc.series("KO")), describe=lambda: str(node.histories()))
        (series,) = orthanc.series("KO")
        (file,) = orthanc.files_of(series, tmp_path / "note")
        check_note(file, [job.deliver_payload().sop_instance_uid for job in history.deliveries])
        wait_until(
            lambda: node.histories()[0].ending is Ending.RETRACTED,
            describe=lambda: str(node.histories()),
        )
        # the archive sends the note back, as it does after a rejection by a radiologist
        orthanc.post("/modalities/node/store", series)
        wait_until(lambda: bool(events(node, "result-rejected")), describe=lambda: shown(node))
        (rejected,) = events(node, "result-rejected")
        assert rejected.detail == "Rejected for Quality Reasons (113001, DCM), from ORTHANC"
        (event,) = events(node, "retract")
        assert event.actor.startswith("os:")
        assert event.detail == "Rejected for Quality Reasons: wrong side (to pacs)"
        assert {one.ending for one in node.histories()} == {Ending.RETRACTED, Ending.NO_RULE}
        # only on demand
        again = node.run("retract", str(delivery.id), "--because", "once more")
        assert (again.returncode, "is retracted already" in again.stderr) == (1, True)
        refused = node.run("jobs", "resend", str(delivery.id))
        assert (refused.returncode, "--retracted" in refused.stderr) == (1, True)
        assert node.run("jobs", "resend", str(delivery.id), "--retracted").returncode == 0
        wait_until(
            lambda: node.histories()[0].ending is Ending.DELIVERED,
            describe=lambda: str(node.histories()),
        )


def modality(port: int) -> dict[str, object]:
    return {"node": {"AET": "SEGNODE", "Host": "127.0.0.1", "Port": port}}


def events(node: Node, name: str) -> list[queue.Event]:
    engine = node.engine
    try:
        return [one for one in queue.history_between(engine) if one.event == name]
    finally:
        engine.dispose()


def shown(node: Node) -> str:
    engine = node.engine
    try:
        return str([(one.event, one.detail) for one in queue.history_between(engine)])
    finally:
        engine.dispose()


def check_note(file: Path, uids: list[str]) -> None:
    note = pydicom.dcmread(file)
    title = note.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113001", "DCM")
    (study,) = note.CurrentRequestedProcedureEvidenceSequence
    referenced = [
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert sorted(referenced) == sorted(uids)
    texts = [item for item in note.ContentSequence if item.ValueType == "TEXT"]
    assert [item.TextValue for item in texts] == ["wrong side"]
    assert note.PatientID == "SEGNODE-DEMO"
    assert errors_of(file) == []
