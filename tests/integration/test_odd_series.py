"""Odd but real headers through a running node: the decision about each series, and its result.

Each case is sent as its own study; only what a person at the node can see is checked.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from node.states import Ending
from tests.support.commanding import Run
from tests.support.odd_series import CASES, Case, images_of
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import make_tiny_package
from tests.support.running import Node, needs_dcmtk, storescu
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, pytest.mark.slow, needs_orthanc, needs_dcmtk]


@dataclass(frozen=True)
class Sent:
    """The running node after all cases have ended."""

    node: Node
    studies: dict[str, str]
    files: dict[str, list[Path]]

    def explained(self, run: Run, name: str) -> list[dict[str, Any]]:
        """Return the decisions about the study of a case, as `explain --json` states them."""
        return list(json.loads(self.printed(run, name, "--json"))["series"])

    def printed(self, run: Run, name: str, *options: str) -> str:
        """Return what `explain` prints about the study of a case."""
        place = ("--config", str(self.node.config_file))
        _, printed, errors = run("explain", self.studies[name], *place, *options)
        assert errors == ""
        return printed


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """Send every case to one node, and wait until each has ended."""
    folder = tmp_path_factory.mktemp("odd")
    orthanc = Orthanc(folder / "orthanc")
    for modality in ("MR", "CT"):
        make_tiny_package(folder / "models", task=f"tiny-{modality.lower()}", modality=modality)
    node = Node(folder / "node", orthanc.dicom_port, folder / "models")
    # a slow machine may pause inside an association: only its release completes a series
    node.changes["complete"] = {"settle": "200 ms", "quiet": "10 min"}
    node.changes["rules"] = [
        {"name": "mr", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]},
        {"name": "ct", "when": {"modality": "CT"}, "use": "tiny-ct", "send_to": ["pacs"]},
    ]
    studies, files = {}, {}
    with started(orthanc), node_started(node):
        for at, (name, case) in enumerate(CASES.items()):
            studies[name], files[name] = images_of(case, 1, folder / f"case{at}")
            assert storescu(node.port, files[name]) == 0
        node.wait_for_endings(len(CASES) + 1, within_s=900)  # one study has two series
        yield Sent(node, studies, files)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", CASES)
def test_each_series_gets_its_decision(sent: Sent, run: Run, name: str) -> None:
    case = CASES[name]
    series = sent.explained(run, name)
    assert len(series) == (2 if name == "MR: two patients in the study" else 1)
    for one in series:
        assert (one["ending"], one["arrival"]["code"]) == (case.ending, case.code)
    text = sent.printed(run, name)
    assert [words for words in case.words if words not in text] == []
    if case.ending is Ending.DELIVERED:
        assert volumes(series) == expected_volumes(sent, run, case)


def volumes(series: Sequence[dict[str, Any]]) -> dict[str, float]:
    result: dict[str, dict[str, float]] = json.loads(series[0]["segment"]["result"])
    return result["volumes_ml"]


def expected_volumes(sent: Sent, run: Run, case: Case) -> dict[str, float]:
    plain = volumes(sent.explained(run, f"plain {case.modality}"))
    return dict.fromkeys(plain, 0.0) if case.volumes == "none" else plain


def test_a_copy_that_the_archive_coerced_makes_no_second_job(
    sent: Sent, run: Run, tmp_path: Path
) -> None:
    """The archive forwards what the modality sent, with other texts and another time."""
    copies = []
    for path in sent.files["plain MR"]:
        dataset = pydicom.dcmread(path)
        dataset.AccessionNumber, dataset.InstitutionName = "RIS-4711", "Hospital"
        dataset.PatientName = "Canary^Corrected"
        dataset.add_new(0x00080054, "AE", "ARCHIVE")
        copies.append(tmp_path / path.name)
        dataset.save_as(copies[-1])
    before = sent.explained(run, "plain MR")
    assert storescu(sent.node.port, copies, calling="ARCHIVE") == 0
    _, following = images_of(CASES["plain MR"], 1, tmp_path / "following")
    assert storescu(sent.node.port, following) == 0
    sent.node.wait_for_endings(len(CASES) + 2)  # the copy is handled before what follows it
    assert sent.explained(run, "plain MR") == before
