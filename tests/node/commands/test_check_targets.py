"""`segnode check` of a target: it reports what the target answered, and what it would reject."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from node.dicom.uids import (
    BINARY_SEG_CLASS,
    LABELMAP_SEG_CLASS,
    REPORT_CLASS,
    RTSTRUCT_CLASS,
    SECONDARY_CAPTURE_CLASS,
)
from tests.support.commanding import Run, configure
from tests.support.committing import committing_target
from tests.support.targets import scripted_target


def checked(run: Run, tmp_path: Path, port: int, **target: Any) -> dict[str, Any]:
    """Return the finding about a target."""
    pacs = {"ae": "PEER", "host": "127.0.0.1", "port": port, **target}
    file = configure(tmp_path / "a.yaml", tmp_path, targets={"pacs": pacs}, rules=[])
    printed = run("check", "--config", file, "--json")[1]
    (finding,) = [one for one in json.loads(printed) if one["subject"] == "target pacs"]
    return dict(finding)


def test_a_target_that_answers_c_echo(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port)
    assert finding["ok"], finding
    assert "answered C-ECHO" in finding["message"]
    assert "takes binary, answers no queries" in finding["message"]


def test_a_target_without_c_echo(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,), echo=None) as peer:
        finding = checked(run, tmp_path, peer.port)
    assert finding["ok"], "results reach it all the same"
    assert "answered" not in finding["message"]
    assert "offers no C-ECHO" in finding["message"]


def test_a_refused_echo_fails(run: Run, tmp_path: Path) -> None:
    with scripted_target(echo=0x0122) as peer:
        finding = checked(run, tmp_path, peer.port)
    assert not finding["ok"]
    assert "answered C-ECHO with" in finding["message"]
    assert "0x0122" in finding["message"]
    assert finding["advice"]


def test_a_configured_report_is_negotiated(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port, report=True)
        assert not finding["ok"]
        assert "Comprehensive 3D SR" in finding["message"]
        assert "targets.pacs.report" in finding["advice"]
        assert checked(run, tmp_path, peer.port)["ok"], "nobody promised one"
    with scripted_target(contexts=(BINARY_SEG_CLASS, REPORT_CLASS)) as peer:
        finding = checked(run, tmp_path, peer.port, report=True)
    assert finding["ok"], finding
    assert "takes binary and the report" in finding["message"]


def test_a_configured_commitment_is_negotiated(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port, confirm="commitment")
    assert not finding["ok"]
    assert "targets.pacs.confirm" in finding["advice"]
    with committing_target() as target:
        finding = checked(run, tmp_path, target.port, confirm="commitment")
    assert finding["ok"], finding
    assert "commits to storage" in finding["message"]


def test_peers_that_reports_cannot_reach_are_a_warning(run: Run, tmp_path: Path) -> None:
    with committing_target() as target:
        pacs = {"ae": "PEER", "host": "127.0.0.1", "port": target.port, "confirm": "commitment"}
        callers = [{"ae": "CT01", "commitment": True}]
        sections: dict[str, Any] = {"targets": {"pacs": pacs}, "callers": callers, "rules": []}
        file = configure(tmp_path / "a.yaml", tmp_path, **sections)
        status, out, _ = run("check", "--config", file)
        assert status == 0
        assert "warn  caller CT01: commitment without port" in out
        assert "warn  target pacs, reports: no caller is named PEER" in out
        assert "add to callers: - {ae: PEER, host: 127.0.0.1}" in out
        callers[0]["port"] = 104
        callers.append({"ae": "PEER"})
        file = configure(tmp_path / "a.yaml", tmp_path, **sections)
        lines = run("check", "--config", file)[1].splitlines()
        assert not [line for line in lines if line.startswith("warn") and "[no-model]" not in line]


def test_the_configured_encoding_is_negotiated(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port, seg="labelmap")
    assert not finding["ok"]
    assert "labelmap" in finding["message"]
    assert "targets.pacs.seg" in finding["advice"]


@pytest.mark.parametrize(
    ("key", "sop_class", "name"),
    [
        ("rtstruct", RTSTRUCT_CLASS, "RT Structure Set"),
        ("picture", SECONDARY_CAPTURE_CLASS, "Secondary Capture"),
    ],
)
def test_configured_contours_and_pictures_are_negotiated(
    run: Run, tmp_path: Path, key: str, sop_class: str, name: str
) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port, **{key: True})
    assert not finding["ok"]
    assert name in finding["message"]
    assert f"set targets.pacs.{key} to false" in finding["advice"]
    with scripted_target(contexts=(BINARY_SEG_CLASS, sop_class)) as peer:
        finding = checked(run, tmp_path, peer.port, **{key: True})
    assert finding["ok"], finding
    assert f"takes binary and the {key}" in finding["message"]


def test_auto_negotiates_both_encodings(run: Run, tmp_path: Path) -> None:
    with scripted_target(contexts=(BINARY_SEG_CLASS,)) as peer:
        finding = checked(run, tmp_path, peer.port, seg="auto")
    assert not finding["ok"]
    assert "does not accept a labelmap segmentation" in finding["message"]
    with scripted_target(contexts=(BINARY_SEG_CLASS, LABELMAP_SEG_CLASS)) as peer:
        finding = checked(run, tmp_path, peer.port, seg="auto")
    assert finding["ok"], finding
    assert "takes binary and labelmap" in finding["message"]


def test_a_target_with_other_transfer_syntaxes(run: Run, tmp_path: Path) -> None:
    contexts = (BINARY_SEG_CLASS, REPORT_CLASS)
    with scripted_target(contexts=contexts, syntaxes=(ImplicitVRLittleEndian,)) as peer:
        finding = checked(run, tmp_path, peer.port, report=True)
    assert finding["ok"], finding
    assert "written in Implicit VR Little Endian" in finding["message"]
    with scripted_target(contexts=contexts, syntaxes=(JPEGBaseline8Bit,)) as peer:
        finding = checked(run, tmp_path, peer.port)
    assert not finding["ok"]
    assert "none of the transfer syntaxes" in finding["message"]
