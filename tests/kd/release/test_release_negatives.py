"""A package on cases that show none of its structures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from kd.commands import main
from kd.data.cases import Pair
from kd.errors import BadCase
from kd.evaluation.negatives import positives
from kd.evaluation.validate import score_all
from node.imaging import Labels
from node.imaging.nifti import read_labels, write
from node.package import load
from tests.support.kd_phantoms import pair
from tests.support.kd_released import package_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_validate_reports_false_positives_beside_the_means(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(world / "balls", tmp_path / "balls")
    images, labels = tmp_path / "balls" / "images", tmp_path / "balls" / "labels"
    words = ["validate", str(package_of(world)), "--size", "small", "--json"]
    words += ["--images", str(images), "--labels", str(labels), "--out", str(tmp_path / "out")]
    for number in range(4):
        (images / f"ball_{number}.nii.gz").unlink()
    assert main(words) == 0
    before = json.loads(capsys.readouterr().out)
    empty = read_labels(labels / "ball_0.nii.gz")
    write(Labels(np.zeros_like(empty.array), empty.grid), labels / "ball_3.nii.gz")
    shutil.copy(world / "balls" / "images" / "ball_3.nii.gz", images / "ball_3.nii.gz")
    assert main(words) == 0
    after = json.loads(capsys.readouterr().out)
    assert before["negatives"] == {}
    assert after["cases"] == before["cases"] == 2
    assert after["sizes"]["small"]["dice"] == before["sizes"]["small"]["dice"]
    counted = after["negatives"]["small"]
    assert counted["cases"] == counted["with_false_positives"] == 1
    assert counted["ml"] > 0
    page = (tmp_path / "out" / "validation.md").read_text(encoding="utf-8")
    assert "| small | 1 | 1 |" in page


def test_negatives_alone_measure_nothing(world: Path) -> None:
    image, labels = pair(0)
    negative = Pair("n", image, Labels(np.zeros_like(labels.array), labels.grid), is_negative=True)
    assert positives([negative]) == []
    with pytest.raises(BadCase, match="there is nothing to measure"):
        score_all(load(package_of(world)), [negative], ["small"])
