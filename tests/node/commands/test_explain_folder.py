"""`explain FOLDER` decides as the node does, receives nothing, and names every other file."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from node import queue
from node.commands.explain_folder import _identities
from node.reader import Reader, ReaderLimits
from tests.support.commanding import Run, configure
from tests.support.hostile import with_many_items
from tests.support.housekeeping import QUIET, Site, other
from tests.support.phantoms import UNSUITABLE_PHANTOMS, Phantom, Scan, make
from tests.support.received import receive
from tests.support.rows import T0

RULES = [
    {"name": "lung", "when": {"modality": "CT"}, "use": "none"},
    {"name": "mine", "when": {"caller": "MR09"}, "use": "none"},
    {"name": "heads", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]},
    {"name": "never", "use": "none"},
]
Explain = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def explain(run: Run, tmp_path: Path, tiny_models: Path) -> Explain:
    """Return a function that explains a folder and returns exit status and JSON."""
    file = configure(tmp_path / "a.yaml", tiny_models, rules=RULES)

    def command(folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
        status, printed, errors = run("explain", f"{folder}/", "--config", file, "--json", *options)
        assert printed, errors
        return status, json.loads(printed)

    return command


def copy_as_another_series(paths: Sequence[Path], folder: Path, **changes: str) -> None:
    """Write copies of the images as another series of their study."""
    series = generate_uid()
    for path in paths:
        uid = generate_uid()
        other(path, folder, SeriesInstanceUID=series, SOPInstanceUID=uid, **changes)


def test_each_rule_says_whether_it_matches(explain: Explain, head: Scan, tmp_path: Path) -> None:
    status, answer = explain(head.paths[0].parent)
    (series,) = answer["series"]
    assert status == 0
    assert [(rule["rule"], rule["matches"]) for rule in series["rules"]] == [
        ("lung", False),
        ("mine", False),
        ("heads", True),
    ]
    assert series["rules"][0]["reason"] == "modality is MR, not CT"
    assert (series["outcome"], series["package"], series["size"]) == (
        "planned",
        "tiny-mr/1.0",
        "small",
    )
    assert series["send_to"] == ["pacs"]
    assert series["compared"]["slices"] == len(head.paths)
    assert answer["not_read"] == []
    assert not (tmp_path / "data").exists(), "nothing is received or recorded"


def test_the_sender_may_be_named(explain: Explain, head: Scan) -> None:
    status, answer = explain(head.paths[0].parent, "--caller", "MR09")
    assert (status, answer["series"][0]["code"]) == (65, "rule-says-none")


def test_several_series_and_other_files_are_named(
    explain: Explain, head: Scan, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(head.paths[0].parent, folder / "one")
    copy_as_another_series(head.paths[:5] + head.paths[6:], folder / "two")
    (folder / "README.txt").write_text("a note", encoding="utf-8")
    (folder / "empty").touch()
    (folder / "cut.dcm").write_bytes(head.paths[0].read_bytes()[:300])
    os.mkfifo(folder / "pipe")
    locked = folder / "locked.dcm"
    locked.symlink_to(folder / "nowhere")
    status, answer = explain(folder)
    assert status == 0
    outcomes = {one["files"]: (one["outcome"], one["code"]) for one in answer["series"]}
    assert outcomes == {
        len(head.paths): ("planned", ""),
        len(head.paths) - 1: ("unsuitable", "missing-slice"),
    }
    assert {one["file"] for one in answer["not_read"]} == {"README.txt", "empty", "cut.dcm"}
    assert all(one["reason"] for one in answer["not_read"])


def test_two_contents_of_one_image_would_be_held(
    explain: Explain, head: Scan, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(head.paths[0].parent, folder)
    shutil.copy(head.paths[0], folder / "copy.dcm")
    status, answer = explain(folder)
    assert status == 0
    assert len(answer["series"][0]["left_out"]) == 1
    changed = pydicom.dcmread(head.paths[1])
    changed.PixelData = bytes(len(changed.PixelData))
    changed.save_as(folder / "changed.dcm")
    status, answer = explain(folder)
    assert status == 65
    assert (answer["series"][0]["outcome"], answer["series"][0]["code"]) == (
        "held",
        "conflicting-instances",
    )
    assert "changed.dcm" in answer["series"][0]["reason"]


def test_two_patients_in_one_study_would_be_held(
    explain: Explain, head: Scan, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(head.paths[0].parent, folder)
    copy_as_another_series(head.paths, folder / "two", PatientID="ANOTHER")
    _, answer = explain(folder)
    assert [one["code"] for one in answer["series"]] == ["conflicting-patients"] * 2


def test_the_folder_is_explained_in_words(
    run: Run, tmp_path: Path, tiny_models: Path, head: Scan
) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, rules=RULES)
    status, printed, _ = run("explain", head.paths[0].parent, "--config", file)
    assert status == 0
    assert "rule lung does not match: modality is MR, not CT" in printed
    assert "would be segmented: tiny-mr/1.0, size small" in printed


@pytest.mark.parametrize(("name", "status"), [("empty", 1), ("absent", 78)])
def test_a_folder_without_images_is_named(
    run: Run, tmp_path: Path, tiny_models: Path, name: str, status: int
) -> None:
    (tmp_path / "empty").mkdir()
    file = configure(tmp_path / "a.yaml", tiny_models, rules=RULES)
    exit_status, _, errors = run("explain", f"{tmp_path / name}/", "--config", file)
    assert exit_status == status
    assert str(tmp_path / name) in errors


@pytest.mark.parametrize("code", ["missing-slice", "localizer", "four-dimensional"])
def test_the_node_decides_in_the_same_way(
    explain: Explain, site: Site, tmp_path: Path, code: str
) -> None:
    scan = make(tmp_path / "images", UNSUITABLE_PHANTOMS[code])
    receive(site.inbox, scan.paths, T0)
    site.sweep.run(QUIET)
    (history,) = queue.histories(site.engine)
    _, answer = explain(tmp_path / "images")
    assert answer["series"][0]["code"] == history.arrival.code == code
    assert answer["series"][0]["reason"] == history.arrival.reason


def test_a_folder_that_is_named_like_a_uid_needs_a_slash(
    run: Run, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "1.2.3", Phantom())
    monkeypatch.chdir(tmp_path)
    assert run("explain", "1.2.3", "--config", configured)[0] == 1
    assert run("explain", "./1.2.3", "--config", configured)[0] == 0


@pytest.mark.slow
def test_a_file_that_kills_the_reader_is_named(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(shape=(3, 20, 16)))
    with_many_items(scan.paths[1])
    with Reader(ReaderLimits(cpu_s=3.0), log_level="CRITICAL") as reader:
        identities = list(_identities(reader, tmp_path, [path.name for path in scan.paths]))
    assert [bool(one.series_uid) for one in identities] == [True, False, True]
    assert "the process that reads the images" in identities[1].problem
