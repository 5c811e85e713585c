"""One node receives MR and CT from two callers at once: each series gets the model of its rule."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from node.imaging import nifti
from node.series.compose import Composed, Labelling, compose
from node.states import Ending
from tests.support.anatomy import MODELS, released
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.running import Node, needs_dcmtk, storescu
from tests.support.running import started as node_started

pytestmark = [pytest.mark.orthanc, pytest.mark.dcmtk, needs_orthanc, needs_dcmtk]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TO = {"send_to": ["pacs"]}
CHANGES = {
    "callers": [{"ae": ae, "host": "127.0.0.1"} for ae in ("MR01", "CT01", "TEST")],
    "model": {"dir": str(MODELS), "size": "tiny"},
    "rules": [
        {
            "name": "hippocampi",
            "when": {"modality": "MR", "body_part": "head"},
            "use": "hippocampus-mr",
            **TO,
        },
        {
            "name": "necks",
            "when": {"modality": "CT", "body_part": ["head", "neck", "headneck"]},
            "use": "headneck-ct",
            "size": "small",  # instead of the model's
            **TO,
        },
        {"name": "rest", "use": "none"},
    ],
}


def reference_series(task: str, folder: Path, body_part: str) -> Composed:
    """Write a package's reference image as a DICOM series of its modality."""
    package = released(task)
    volume = nifti.read_volume(package.folder / package.manifest.reference.image)
    labelling = Labelling(modality=package.manifest.input.modality, body_part=body_part)
    return compose(volume, folder, labelling, NOW)


def test_mr_and_ct_from_two_callers_at_once_each_get_the_model_of_their_rule(
    tmp_path: Path,
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    node = Node(tmp_path / "node", orthanc.dicom_port, MODELS, changes=CHANGES)
    head = reference_series("hippocampus-mr", tmp_path / "mr", "HEAD")
    neck = reference_series("headneck-ct", tmp_path / "ct", "HEADNECK")
    belly = reference_series("headneck-ct", tmp_path / "belly", "ABDOMEN")
    sent = ((head, "MR01"), (neck, "CT01"), (belly, "CT01"))
    with started(orthanc), node_started(node), ThreadPoolExecutor(3) as pool:
        answers = pool.map(lambda s: storescu(node.port, s[0].files, calling=s[1]), sent)
        assert list(answers) == [0, 0, 0]
        histories = {s.arrival.series_uid: s for s in node.wait_for_endings(3)}
        explained = {
            series.series_uid: node.run("explain", series.series_uid).stdout for series, _ in sent
        }
        status = node.run("status").stdout
        segs = [
            pydicom.dcmread(path)
            for series in orthanc.series("SEG")
            for path in orthanc.files_of(series, tmp_path / series)
        ]
    endings = [histories[series.series_uid].ending for series, _ in sent]
    assert endings == [Ending.DELIVERED, Ending.DELIVERED, Ending.NO_RULE]
    for series, caller, rule, task, size in (
        (head, "MR01", "hippocampi", "hippocampus-mr", "tiny"),
        (neck, "CT01", "necks", "headneck-ct", "small"),
    ):
        name = released(task).name
        assert f"images from {caller}" in explained[series.series_uid]
        assert f"rule {rule}: {name}, size {size}" in explained[series.series_uid]
        assert f"{name} {size}" in status
    assert "ended as no-rule: rule rest uses no model" in explained[belly.series_uid]
    labels = {
        series.study_uid: {part.label for part in released(task).manifest.segments}
        for series, task in ((head, "hippocampus-mr"), (neck, "headneck-ct"))
    }
    assert {str(seg.StudyInstanceUID) for seg in segs} == set(labels)
    for seg in segs:
        assert {str(s.SegmentLabel) for s in seg.SegmentSequence} <= labels[
            str(seg.StudyInstanceUID)
        ]
