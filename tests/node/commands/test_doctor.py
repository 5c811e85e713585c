"""`segnode doctor`: what a report needs, and nothing of a patient."""

import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml

from node import schema
from node.commands.doctor import without_secrets, without_uids
from node.config import load
from tests.support.commanding import Run
from tests.support.housekeeping import planned_phantom
from tests.support.phantoms import CANARY

SECRETS = ("hunter2", "hooks.example")
PLANTED = (CANARY, "CANARY-7", "ACC7", "Phantom study", "1931-02-03", *SECRETS)


@pytest.fixture
def sick(configured: Path, tmp_path: Path) -> Path:
    """Return the configuration of a node whose database and log hold values of a patient."""
    content = yaml.safe_load(configured.read_text())
    content["data"]["index"] = "plain"
    content["alerts"] = {"webhook": "https://hooks.example/hunter2"}
    configured.write_text(yaml.safe_dump(content))
    study = planned_phantom(configured, tmp_path).study_uid
    lines = [
        json.dumps({"at": "x", "level": "info", "message": f"planned {study}", "study": study}),
        json.dumps({"at": "x", "message": "stored", "patient": CANARY, "dose": "1931-02-03"}),
        f"Traceback: {CANARY} CANARY-7",
        json.dumps([CANARY]),
        "{broken",
    ]
    (tmp_path / "node.log").write_text("\n".join(lines))
    return configured


def bundle(run: Run, file: Path, out: Path, *options: str) -> tuple[str, dict[str, Any]]:
    status, printed, errors = run("doctor", out, *options, "--config", file)
    assert status == 0, errors
    assert str(out) in printed
    text = out.read_text()
    return text, json.loads(text)


def test_the_file_holds_what_a_report_needs_and_no_patient(
    run: Run, sick: Path, tmp_path: Path
) -> None:
    log = str(tmp_path / "node.log")
    text, report = bundle(run, sick, tmp_path / "doctor.json", "--log", log)
    assert [value for value in PLANTED if value.lower() in text.lower()] == []
    study = str(pydicom.dcmread(next((tmp_path / "head").iterdir())).StudyInstanceUID)
    assert study not in text
    assert report["config"]["data"]["index"] == "plain"
    assert report["config"]["alerts"]["webhook"] == "(removed)"
    assert report["versions"]["pydicom"]
    assert report["state"]["rows"]["studies"] == 1
    assert report["state"]["jobs"]["segment"]["queued"] == 1
    assert [one["code"] for one in report["state"]["conditions"]]
    assert {"configuration", "database"} <= {one["subject"] for one in report["check"]}
    first, second, last = report["log"]
    assert first["message"].startswith("planned uid-")
    assert first["message"].endswith(first["study"]), "equal UIDs stay equal"
    assert set(second) == {"at", "message"}
    assert last["message"].startswith("3 lines")
    status, _, errors = run("doctor", tmp_path / "doctor.json", "--config", sick)
    assert status == 78
    assert "exists" in errors


def test_a_node_that_cannot_start_is_reported_too(run: Run, sick: Path, tmp_path: Path) -> None:
    (load(sick).data.dir / schema.FILE_NAME).write_bytes(b"no database" * 1000)
    _, report = bundle(run, sick, tmp_path / "a.json", "--no-check")
    assert report["state"]["code"] in ("database-damaged", "misconfigured")
    sick.write_text("nodes: {}")
    _, report = bundle(run, sick, tmp_path / "b.json")
    assert report["config"]["code"] == "misconfigured"


def test_uids_are_replaced_and_addresses_stay() -> None:
    text = without_uids("10.1.2.3 3.11.2 1.2.840.10008.1.1 and 1.2.840.10008.1.1")
    assert text.startswith("10.1.2.3 3.11.2 uid-")
    assert "840" not in text
    assert len(set(text.split()[2::2])) == 1


def test_secrets_are_removed_at_any_depth() -> None:
    config = {"a": {"password": "x", "port": 1}, "list": [{"api_token": "y"}], "database": ""}
    assert without_secrets(config) == {
        "a": {"password": "(removed)", "port": 1},
        "list": [{"api_token": "(removed)"}],
        "database": "",
    }
