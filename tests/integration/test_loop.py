"""The whole loop with real peers: a series arrives, a student segments it, a SEG is delivered."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from node import queue, seg, series
from node.commands.exits import FAILED, NOT_RUNNING, OK
from node.imaging import Volume
from node.series.compose import Labelling, compose
from node.states import Ending
from node.volumes import rounded
from tests.support import postgres
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.packages import expected_labels, make_tiny_package, phantom
from tests.support.phantoms import Phantom, make
from tests.support.running import Node, needs_dcmtk, storescu, wait_until
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, needs_orthanc, needs_dcmtk]

# a loop may still be starting, and a slow machine has conditions
ANY_HEALTH = (OK, FAILED, NOT_RUNNING)


@pytest.fixture
def orthanc(tmp_path: Path) -> Orthanc:
    return Orthanc(tmp_path / "orthanc")


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc) -> Node:
    make_tiny_package(tmp_path / "models")
    return Node(tmp_path / "node", orthanc.dicom_port, tmp_path / "models")


def head(folder: Path) -> list[Path]:
    """Write the threshold phantom as an MR series with DICOM headers of our own."""
    return list(compose(phantom(), folder, Labelling(), datetime(2026, 1, 2, tzinfo=UTC)).files)


def test_a_series_forwarded_by_orthanc_comes_back_as_seg(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    with started(orthanc, node.port), node_started(node):
        for path in files:
            orthanc.post("/instances", path.read_bytes())
        wait_until(lambda: bool(orthanc.series("SEG")), describe=lambda: str(node.histories()))
        (received,) = orthanc.files_of(orthanc.series("SEG")[0], tmp_path / "back")
        histories = node.wait_for_endings(1)
    source = series.read(files)
    labels = seg.read_labels(received, source)
    expected = expected_labels(Volume(source.volume.array, source.volume.grid))
    np.testing.assert_array_equal(labels.array, expected.array)
    assert [history.ending for history in histories] == [Ending.DELIVERED]
    assert pydicom.dcmread(received).PatientID == pydicom.dcmread(files[0]).PatientID


def test_a_resent_series_makes_no_second_object(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    with started(orthanc), node_started(node):
        assert storescu(node.port, files) == 0
        node.wait_for_endings(1)
        assert storescu(node.port, files) == 0
        assert storescu(node.port, files[::-1]) == 0
        node.wait_for_endings(1)
        assert len(node.histories()) == 1
        assert len(orthanc.series("SEG")) == 1


@postgres.needs_postgresql
def test_the_queue_of_a_whole_node_may_lie_on_postgresql(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    with postgres.server() as url:
        database = {"dir": "data", "database": url, "stop_accepting_below": "64 MiB"}
        node.changes["data"] = database
        with started(orthanc), node_started(node):
            assert storescu(node.port, files) == 0
            (history,) = node.wait_for_endings(1)
            assert history.ending is Ending.DELIVERED
            wait_until(lambda: node.json("status", ends=ANY_HEALTH)["not_running"] == [])
            assert "delivered" in node.run("explain", history.arrival.study_uid).stdout
            assert len(orthanc.series("SEG")) == 1
            assert not list((node.folder / "data").glob("*.sqlite"))


def test_late_images_make_a_new_job(tmp_path: Path, orthanc: Orthanc, node: Node) -> None:
    files = head(tmp_path / "series")
    with started(orthanc), node_started(node):
        assert storescu(node.port, files[:-4]) == 0
        node.wait_for_endings(1)
        assert storescu(node.port, files[-4:]) == 0
        histories = node.wait_for_endings(2)
        assert [history.arrival.instances for history in histories] == [len(files) - 4, len(files)]
        assert {history.ending for history in histories} == {Ending.DELIVERED}
        assert len(orthanc.series("SEG")) == 2


def arriving(node: Node) -> list[int]:
    """Return the number of images of each series that still arrives."""
    waiting = node.json("status", ends=ANY_HEALTH)["arriving"]
    return [series["instances"] for series in waiting]


def test_a_series_with_a_missing_slice_waits_and_ends_as_unsuitable(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    node.changes["complete"] = {"settle": "200 ms", "quiet": "1 h"}
    with started(orthanc):
        with node_started(node):
            assert storescu(node.port, files[:9] + files[10:]) == 0
            wait_until(lambda: arriving(node) == [len(files) - 1])
        node.changes["complete"] = {"settle": "200 ms", "quiet": "1 s"}
        with node_started(node):
            (history,) = node.wait_for_endings(1)
            explained = node.run("explain", history.arrival.study_uid).stdout
    assert (history.ending, history.arrival.code) == (Ending.UNSUITABLE, "missing-slice")
    assert "ended as unsuitable" in explained
    assert history.arrival.reason in explained


def test_our_own_results_sent_back_to_us_end_as_no_rule(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    with started(orthanc), node_started(node):
        assert storescu(node.port, files) == 0
        node.wait_for_endings(1)
        back = orthanc.files_of(orthanc.series("SEG")[0], tmp_path / "back")
        assert storescu(node.port, back) == 0
        histories = node.wait_for_endings(2)
        assert [s.ending for s in histories] == [Ending.DELIVERED, Ending.NO_RULE]


def test_a_dead_pacs_gets_the_result_when_it_is_back(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    with node_started(node):
        assert storescu(node.port, files) == 0

        def tried() -> bool:
            deliveries = node.json("jobs", "list", "--kind", "deliver")
            return bool(deliveries) and deliveries[0]["attempts"] > 0

        wait_until(tried, describe=lambda: str(node.histories()))
        (target,) = node.json("status", ends=ANY_HEALTH)["snapshot"]["targets"]
        assert target["waiting"] == 1
        assert target["last_problem"]
        with started(orthanc):
            (history,) = node.wait_for_endings(1)
            assert history.ending is Ending.DELIVERED
            assert len(orthanc.series("SEG")) == 1


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal", "oblique"])
def test_every_plane_ends_delivered(
    tmp_path: Path, orthanc: Orthanc, node: Node, plane: str
) -> None:
    scan = make(tmp_path / "series", Phantom(plane=plane))
    with started(orthanc), node_started(node):
        assert storescu(node.port, scan.paths) == 0
        (history,) = node.wait_for_endings(1)
        assert history.ending is Ending.DELIVERED, history.arrival.reason


def test_a_target_with_report_true_gets_the_volumes_too(
    tmp_path: Path, orthanc: Orthanc, node: Node
) -> None:
    files = head(tmp_path / "series")
    pacs = {"ae": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port, "report": True}
    node.changes["targets"] = {"pacs": pacs}
    with started(orthanc), node_started(node):
        assert storescu(node.port, files) == 0
        (history,) = node.wait_for_endings(1)
        assert history.ending is Ending.DELIVERED
        assert len(history.deliveries) == 2
        (seg_file,) = orthanc.files_of(orthanc.series("SEG")[0], tmp_path / "seg")
        (report_file,) = orthanc.files_of(orthanc.series("SR")[0], tmp_path / "sr")
    report, segmentation = pydicom.dcmread(report_file), pydicom.dcmread(seg_file)
    assert report.StudyInstanceUID == segmentation.StudyInstanceUID
    assert segmentation.SOPInstanceUID in str(report)
    assert history.segment is not None
    volumes = queue.as_plain(history.segment.result)["volumes_ml"]
    reported = [float(item.value) for item in report.iterall() if item.keyword == "NumericValue"]
    assert sorted(reported) == sorted(float(rounded(volume)) for volume in volumes.values())
