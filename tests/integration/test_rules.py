"""Conditions of rules through a running node: which series match, and what `explain` says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from pydicom.uid import generate_uid

from node.states import Ending
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.running import Node, needs_dcmtk, storescu
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]

# Body Part Examined -> whether `body_part: [HEAD, BRAIN]` matches
BODY_PARTS = {"HEAD": True, "BRAIN": True, "ABDOMEN": False, "KNEE": False, "FOREHEAD": False}
HEADS: dict[str, Any] = {"modality": "MR", "body_part": ["HEAD", "BRAIN"]}
RULES: list[dict[str, Any]] = [
    {"name": "heads", "when": HEADS, "use": "tiny-mr", "send_to": ["pacs", "pacs"]},
    {"name": "rest", "use": "none"},
]
CALLERS = [{"ae": "MODALITY"}, {"ae": "MR01"}, {"ae": "TEST"}]  # TEST sends the first echo


def rule(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "use": "tiny-mr", "send_to": ["pacs"]} | keys


# what is legal and surely not meant: each warning with the key it names
NOT_MEANT: list[tuple[str, str]] = [
    ("listed-twice", "rules[0].send_to"),
    ("exact-length", "rules[0].when.slice_spacing"),
    ("unknown-caller", "rules[1].when.caller"),
    ("impossible-deadline", "rules[2].deadline"),
    ("unreachable-rule", "rules[4]"),
    ("own-target", "targets.own-address.host"),
    ("own-target", "targets.own-title.ae"),
    ("repeated-target", "targets.repeated"),
    ("short-time", "complete.quiet"),
    ("short-time", "data.keep.sources"),
    ("short-time", "data.keep.results"),
    ("short-time", "data.keep.failed"),
]
ODD_RULES = [
    rule("twice", when={"slice_spacing": "1 mm"}, send_to=["pacs", "pacs"]),
    rule("nobody", when={"caller": "CT02"}),
    rule("at-once", when={"body_part": "HEAD"}, size="auto", deadline="1 ms"),
    {"name": "rest", "use": "none"},
    rule("behind", when={"modality": "MR"}),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, dict[str, str]]]:
    """Send one series of each body part; return the node and the study of each."""
    folder = tmp_path_factory.mktemp("rules")
    orthanc = Orthanc(folder / "orthanc")
    make_tiny_package(folder / "models")
    node = Node(folder / "node", orthanc.dicom_port, folder / "models")
    node.changes |= {"rules": RULES, "complete": {"settle": "200 ms", "quiet": "10 min"}}
    node.changes["callers"] = CALLERS
    studies = {body_part: str(generate_uid()) for body_part in BODY_PARTS}
    with started(orthanc), node_started(node):
        for at, (body_part, study) in enumerate(studies.items()):
            tags = {"BodyPartExamined": body_part, "StudyInstanceUID": study}
            phantom = Phantom(seed=at, spacing_mm=(1, 1, 1), tags=tags)
            assert storescu(node.port, make(folder / body_part, phantom).paths) == 0
        node.wait_for_endings(len(studies))
        yield node, studies


@contextmanager
def changed(node: Node, **sections: object) -> Iterator[None]:
    """Change sections of the file of a running node, and restore it afterwards."""
    text = node.config_file.read_text(encoding="utf-8")
    node.config_file.write_text(yaml.safe_dump(yaml.safe_load(text) | sections), encoding="utf-8")
    try:
        yield
    finally:
        node.config_file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def warned(node: tuple[Node, dict[str, str]]) -> str:
    """Return what `check` prints about everything that is surely not meant."""
    running, _ = node
    sections = yaml.safe_load(running.config_file.read_text(encoding="utf-8"))
    pacs = sections["targets"]["pacs"]
    targets = {
        "pacs": pacs,
        "repeated": pacs | {"host": "localhost"},
        "own-address": pacs | {"ae": "OTHER", "port": running.port},
        "own-title": pacs | {"ae": "SEGNODE", "port": 104},
    }
    times = {"settle": "0 s", "quiet": "0 s"}
    data = sections["data"] | {"keep": {"sources": "0 s", "results": "0 s", "failed": "0 s"}}
    with changed(running, rules=ODD_RULES, targets=targets, complete=times, data=data):
        return running.run("check").stdout


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
    with changed(running, rules=[RULES[0] | {"when": {key: None}}]):
        done = running.run("reload")
    assert done.returncode != 0
    assert f"rules[0].when.{key}: " in done.stderr
    assert "found no value" in done.stderr
    assert "line " in done.stderr


@pytest.mark.parametrize(
    ("condition", "problem"),
    [
        ({"body_part": []}, "empty list"),
        ({"body_part": ["HEAD", None]}, "no text"),
        ({"body_part": 5}, "no text"),
        ({"body_part": True}, "no text"),
        ({"body_part": {"any": "HEAD"}}, "no text"),
        ({"caller": ["MODALITY", 5]}, "expected text"),
        ({"modality": "PET"}, "not allowed"),
        ({"slices": [16, 300]}, "not a range"),
        ({"bodypart": "HEAD"}, "unknown key"),
    ],
    ids=str,
)
def test_a_running_node_refuses_a_condition_of_another_type(
    node: tuple[Node, dict[str, str]], condition: dict[str, Any], problem: str
) -> None:
    running, _ = node
    with changed(running, rules=[RULES[0] | {"when": condition}]):
        done = running.run("reload")
    assert done.returncode != 0
    (key,) = condition
    assert re.search(rf"line \d+: rules\[0\]\.when\.{key}", done.stderr)
    assert problem in done.stderr


def test_a_target_that_is_listed_twice_gets_one_copy(node: tuple[Node, dict[str, str]]) -> None:
    running, studies = node
    (series,) = running.json("explain", studies["HEAD"])["series"]
    assert [one["target"] for one in series["deliveries"]] == ["pacs"]


@pytest.mark.parametrize(("code", "key"), NOT_MEANT)
def test_check_warns_about_what_is_surely_not_meant(warned: str, code: str, key: str) -> None:
    assert re.search(rf"(?m)^warn  {re.escape(key)} \(line \d+\): .*\[{code}\]$", warned)


def test_a_reload_warns_too(node: tuple[Node, dict[str, str]]) -> None:
    running, _ = node
    with changed(running, complete={"settle": "200 ms", "quiet": "0 s"}):
        done = running.run("reload")
    assert running.run("reload").returncode == 0
    assert done.returncode == 0
    assert "warn  complete.quiet (line " in done.stdout
    assert "[short-time]" in done.stdout
