"""`kd report`: curves, states and scores of the runs in a folder, on one page."""

import json
import re
import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from kd.commands import main
from kd.evaluation.score import FoldScore, read_scores, write_score
from kd.training.log import Entry, append
from node.package.manifest import Interval
from tests.support.kd_phantoms import data_set
from tests.support.kd_training import train_small


def score(dice: float) -> FoldScore:
    return FoldScore(2, Interval(mean=dice, ci=(dice, dice)), {"Bright ball": dice})


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    data = data_set(root / "balls", 2, 1)
    train_small(data, root / "runs" / "first")
    train_small(data, root / "runs" / "second", stop_after=2)
    for step in (20, 40):  # as if it had gone on
        append(
            root / "runs" / "second",
            Entry(
                step=step,
                share=step / 100,
                seconds=1.0,
                loss=1.5,
                labels=1.0,
                kl=0.5,
                teacher_weight=0.3,
                rate=0.01,
                gradient_norm=1.0,
                held_out_dice=0.25,
            ),
        )
    write_score(score(0.8), root / "runs" / "first", 0)
    write_score(score(0.6), root / "runs" / "second", 1)
    return root / "runs"


@pytest.mark.slow
def test_the_page_has_every_run_its_curves_and_the_scores(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["report", str(runs), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "first" in page
    assert re.search(r"second.*not finished", page)
    assert page.count("<polyline") > 4
    for title in ("Loss", "Divergence from the teacher", "Dice on held-out patches"):
        assert f"<figcaption>{title}" in page
    assert "Mean over 2 scores: 0.7000, standard deviation 0.1414." in page
    assert not re.search(r'<script|src="(?!data:image/png;base64,)', page)
    assert page.count("<img src=") == 2, "the first batch of each run"
    assert "first: the first batch" in page
    numbers = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert numbers["first"]["finished"]
    assert numbers["second"]["held_out_dice"] == 0.25
    assert numbers["first"]["scores"] == {"0": 0.8}


def _events(folder: Path) -> list[Event]:
    """Read the event file in a folder: records of length, checksum, content and checksum."""
    (path,) = folder.iterdir()
    content, events, at = path.read_bytes(), [], 0
    while at < len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        events.append(Event.FromString(content[at + 12 : at + 12 + length]))
        at += 16 + length
    return events


@pytest.mark.slow
def test_tensorboard_gets_every_curve_and_picture(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", str(runs), "--out", str(tmp_path / "page.html")]
    words += ["--tensorboard", str(tmp_path / "events")]
    assert main(words) == 0
    values = [
        (one.tag, event.step, one.simple_value)
        for event in _events(tmp_path / "events" / "second")
        for one in event.summary.value
        if one.WhichOneof("value") == "simple_value"
    ]
    dice = [(step, value) for tag, step, value in values if tag.startswith("Dice")]
    assert dice == [(20, 0.25), (40, 0.25)]
    assert len({tag for tag, _, _ in values}) == 7
    images = [
        one.image.height
        for event in _events(tmp_path / "events" / "first")
        for one in event.summary.value
        if one.WhichOneof("value") == "image"
    ]
    assert len(images) == 1
    assert main(words) == 1
    assert "events would be there twice" in capsys.readouterr().err


def test_a_folder_without_runs_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 1
    assert "no run that was trained here" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_scores_are_kept_by_fold(tmp_path: Path) -> None:
    write_score(score(0.5), tmp_path, 3)
    assert read_scores(tmp_path) == {3: score(0.5)}
