"""`segnode send-test`: what a target keeps of a test result, with real and scripted targets."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet

from node import queue, schema
from node.commands.send_test import PATIENT_ID
from node.config import load
from node.dicom.uids import BINARY_SEG_CLASS
from tests.support.commanding import Run, configure
from tests.support.committing import all_kept, committing_target
from tests.support.orthanc import Orthanc, free_port, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.targets import scripted_target


@pytest.fixture
def models(tmp_path: Path) -> Path:
    make_tiny_package(tmp_path / "models")
    return tmp_path / "models"


def configured(folder: Path, models: Path, **target: Any) -> Path:
    targets = {"pacs": {"ae": "PEER", "host": "127.0.0.1", **target}}
    return configure(folder / "node.yaml", models, targets=targets)


def objects(run: Run, file: Path, *options: str) -> tuple[int, dict[str, Any]]:
    status, out, err = run("send-test", "pacs", "--config", file, "--json", *options)
    assert out, err
    return status, json.loads(out)


@pytest.mark.orthanc
@needs_orthanc
def test_orthanc_keeps_segmentation_report_and_images(
    tmp_path: Path, models: Path, run: Run
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    file = configured(tmp_path, models, ae="ORTHANC", port=orthanc.dicom_port, report=True)
    allowed = {"node": {"AET": "SEGNODE", "Host": "127.0.0.1", "Port": 1, "AllowGet": True}}
    with started(orthanc, DicomModalities=allowed):
        status, shown = objects(run, file, "--with-images")
        assert status == 0, shown
        (patient,) = [orthanc.get(f"/patients/{key}") for key in orthanc.get("/patients")]
        modalities = {
            orthanc.get(f"/series/{key}")["MainDicomTags"]["Modality"]
            for key in orthanc.get("/series")
        }
    assert patient["MainDicomTags"]["PatientID"] == PATIENT_ID
    assert modalities == {"MR", "SEG", "SR"}
    assert [one["object"] for one in shown["objects"]] == ["segmentation", "report"]
    for one in shown["objects"]:
        assert (one["status"], one["confirmed_by"]) == ("SUCCESS (0x0000)", "query")
        assert (one["retrieved"], one["changed"], one["problem"]) == (True, [], "")
    engine = schema.open_configured(load(file).data)
    assert not queue.list_jobs(engine)
    assert not queue.histories(engine)
    engine.dispose()


@contextmanager
def coercing_target() -> Iterator[int]:
    """Run a target that changes the Patient ID of what it stores, and returns it by C-GET."""
    ae, port, kept = AE(ae_title="PEER"), free_port(), []
    ae.add_supported_context(
        BINARY_SEG_CLASS, [ExplicitVRLittleEndian], scu_role=True, scp_role=True
    )
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)

    def on_store(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        dataset.PatientID, dataset.RequestedProcedureID = "OTHER", "1"
        del dataset.SeriesDescription
        kept.append(dataset)
        return 0xB000

    def on_get(event: Any) -> Iterator[Any]:
        del event
        yield len(kept)
        for dataset in kept:
            yield 0xFF00, dataset

    handlers: list[Any] = [(evt.EVT_C_STORE, on_store), (evt.EVT_C_GET, on_get)]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        yield port
    finally:
        server.shutdown()


def test_changed_and_added_elements_are_named(tmp_path: Path, models: Path, run: Run) -> None:
    with coercing_target() as port:
        file = configured(tmp_path, models, port=port)
        status, shown = objects(run, file)
        (one,) = shown["objects"]
        assert status == 1
        assert one["status"] == "COERCED (0xB000)"
        assert sorted(one["changed"]) == ["PatientID", "SeriesDescription"]
        assert one["added"] == ["RequestedProcedureID"]
        status, out, _ = run("send-test", "pacs", "--config", file)
    assert status == 1
    assert "changed or removed by the target: SeriesDescription, PatientID" in out
    assert "patient SEGNODE^TEST, ID SEGNODE-TEST, study " in out


def test_a_refusal_and_a_loss_fail(tmp_path: Path, models: Path, run: Run) -> None:
    with scripted_target(store=0xC000) as refusing:
        status, shown = objects(run, configured(tmp_path, models, port=refusing.port))
    assert (status, shown["objects"][0]["status"]) == (1, "")
    assert "CANNOT_UNDERSTAND" in shown["objects"][0]["problem"]
    with scripted_target(finds=False) as losing:
        status, shown = objects(run, configured(tmp_path, models, port=losing.port))
    assert status == 1
    assert "a query does not find the object" in shown["objects"][0]["problem"]


def test_a_storage_commitment_on_the_same_association_confirms(
    tmp_path: Path, models: Path, run: Run
) -> None:
    with committing_target(all_kept) as target:
        file = configured(tmp_path, models, port=target.port, confirm="commitment")
        status, shown = objects(run, file)
    (one,) = shown["objects"]
    assert (status, one["confirmed_by"]) == (0, "commitment")


def test_an_absent_target_is_transient_and_an_unknown_one_is_named(
    tmp_path: Path, models: Path, run: Run
) -> None:
    file = configured(tmp_path, models, port=free_port())
    status, _, err = run("send-test", "pacs", "--config", file)
    assert (status, "no association could be opened" in err) == (75, True)
    status, _, err = run("send-test", "nowhere", "--config", file)
    assert (status, "Targets in" in err and "pacs" in err) == (78, True)
