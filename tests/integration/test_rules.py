"""Conditions of rules through a running node: which series match, and what `explain` says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom.uid import generate_uid

from node.states import Ending
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.running import Node, needs_dcmtk, segnode, storescu
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]

# Body Part Examined -> whether `body_part: [HEAD, BRAIN]` matches
BODY_PARTS = {"HEAD": True, "BRAIN": True, "ABDOMEN": False, "KNEE": False, "FOREHEAD": False}
HEADS: dict[str, Any] = {"modality": "MR", "body_part": ["HEAD", "BRAIN"]}
RULES: list[dict[str, Any]] = [
    {"name": "heads", "when": HEADS, "use": "tiny-mr", "send_to": ["pacs"]},
    {"name": "rest", "use": "none"},
]
CHECKED: dict[str, dict[str, Any]] = {  # warning of `check` -> a rule that is surely not meant
    "unreachable-rule": {"name": "behind", "when": {"modality": "MR"}, "use": "none"},
    "impossible-deadline": {"size": "auto", "deadline": "1 ms"},
    "unmatched-caller": {"when": {"caller": "CT01"}},
    "unknown-caller": {"when": {"caller": "CT02"}},
    "exact-length": {"when": {"slice_spacing": "1 mm"}},
    "listed-twice": {"send_to": ["pacs", "pacs"]},
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, dict[str, str]]]:
    """Send one series of each body part; return the node and the study of each."""
    folder = tmp_path_factory.mktemp("rules")
    orthanc = Orthanc(folder / "orthanc")
    make_tiny_package(folder / "models")
    node = Node(folder / "node", orthanc.dicom_port, folder / "models")
    node.changes |= {"rules": RULES, "complete": {"settle": "200 ms", "quiet": "10 min"}}
    studies = {body_part: str(generate_uid()) for body_part in BODY_PARTS}
    with started(orthanc), node_started(node):
        for at, (body_part, study) in enumerate(studies.items()):
            tags = {"BodyPartExamined": body_part, "StudyInstanceUID": study}
            phantom = Phantom(seed=at, spacing_mm=(1, 1, 1), tags=tags)
            assert storescu(node.port, make(folder / body_part, phantom).paths) == 0
        node.wait_for_endings(len(studies))
        yield node, studies


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("body_part", "matches"), BODY_PARTS.items())
def test_a_list_matches_any_of_its_words(
    node: tuple[Node, dict[str, str]], body_part: str, matches: bool
) -> None:
    running, studies = node
    (series,) = running.json("explain", studies[body_part])["series"]
    assert series["ending"] == (Ending.DELIVERED if matches else Ending.NO_RULE)
    if not matches:  # the catch-all rule does not hide why the first one did not match
        printed = running.run("explain", studies[body_part]).stdout
        assert "rule rest uses no model" in printed
        assert "heads: body part does not match 'HEAD' or 'BRAIN'" in printed


@pytest.mark.parametrize("key", ["body_part", "caller", "modality", "slices", "description"])
def test_a_running_node_refuses_a_condition_without_a_value(
    node: tuple[Node, dict[str, str]], key: str
) -> None:
    running, _ = node
    text = running.config_file.read_text(encoding="utf-8")
    sections = yaml.safe_load(text)
    sections["rules"][0]["when"] = {key: None}
    running.config_file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    try:
        done = running.run("reload")
    finally:
        running.config_file.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert f"rules[0].when.{key}: " in done.stderr
    assert "found no value" in done.stderr
    assert "line " in done.stderr


@pytest.mark.parametrize("code", CHECKED)
def test_check_warns_about_what_is_surely_not_meant(
    node: tuple[Node, dict[str, str]], tmp_path: Path, code: str
) -> None:
    running, _ = node
    sections = yaml.safe_load(running.config_file.read_text(encoding="utf-8"))
    sections["callers"] = [{"ae": "CT01"}, {"ae": "MR01"}]
    sections["model"]["dir"] = str(running.models)
    changed = CHECKED[code]
    if "name" in changed:
        sections["rules"].append(changed)
    else:
        sections["rules"] = [sections["rules"][0] | changed]
    file = tmp_path / "node.yaml"
    file.write_text(yaml.safe_dump(sections), encoding="utf-8")
    done: subprocess.CompletedProcess[str] = segnode("check", "--config", str(file))
    assert code in done.stdout + done.stderr
