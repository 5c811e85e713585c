"""Broken plans.json: every key absent or wrong is one sentence, and nothing is written."""

import json
import shutil
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from kd.commands import main
from kd.planning.nnunet_plans import read_results, topology_of
from tests.support.nnunet_folders import LPS, plans_of, raw_images, results_folder, trained_fold

ABSENT = object()
WRONG: tuple[object, ...] = (
    ABSENT,
    None,
    "x",
    [],
    {},
    -1,
    0,
    [0, 0, 0],
    [1, 2],
    1e30,
    float("nan"),
)
INTENSITIES = {"mean", "percentile_00_5", "percentile_99_5"}  # any number may be right
UNUSED = {"conv_op", "dropout_op"}  # kd reads no more of them than their presence


def _keys(content: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*before, key)
            yield from _keys(value, (*before, key))


def _ct() -> dict[str, Any]:
    plans = plans_of()
    plans["configurations"]["3d_fullres"]["normalization_schemes"] = ["CTNormalization"]
    return plans


KEYS = [key for key in _keys(_ct()) if key[-1] not in UNUSED]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("schema")
    folder = results_folder(root, _ct())
    raw_images(root, LPS)
    trained_fold(topology_of(read_results(folder)), folder / "fold_0" / "checkpoint_final.pth")
    return folder


def _status(folder: Path, plans: object) -> int:
    """Import the folder with other plans."""
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    root = folder.parent
    words = ["import", str(folder), "--data", str(root / "Dataset901_Small"), "--task", "x"]
    words += ["--modality", "CT", "--runs", str(root / "runs"), "--out", str(root / "x.yaml")]
    return main([*words, "--force"])


@pytest.mark.parametrize("place", KEYS, ids=".".join)
def test_a_key_that_is_absent_or_wrong_is_one_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], place: tuple[str, ...]
) -> None:
    for value in WRONG:
        plans = deepcopy(_ct())
        at: Any = plans
        for key in place[:-1]:
            at = at[key]
        is_possible = isinstance(value, int) and place[-1] in INTENSITIES
        if is_possible or at[place[-1]] == value:
            continue
        if value is ABSENT:
            del at[place[-1]]
        else:
            at[place[-1]] = value
        assert _status(world, plans) == 1, value
        complaint = capsys.readouterr().err
        assert complaint.startswith("kd: "), value
        assert complaint.count("\n") == 1, value
        assert not (world.parent / "x.yaml").exists(), value


def test_the_plans_of_these_tests_are_right(world: Path) -> None:
    assert _status(world, _ct()) == 0
    (world.parent / "x.yaml").unlink()
    shutil.rmtree(world.parent / "runs")


def test_a_configuration_that_inherits_from_itself_is_refused(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plans = _ct()
    plans["configurations"]["3d_fullres"]["inherits_from"] = "3d_fullres"
    assert _status(world, plans) == 1
    assert "is not an nnU-Net v2 results folder" in capsys.readouterr().err


@pytest.mark.parametrize("content", [[], "x", None, {"configurations": []}])
def test_plans_of_another_shape_are_refused(
    world: Path, capsys: pytest.CaptureFixture[str], content: object
) -> None:
    assert _status(world, content) == 1
    assert capsys.readouterr().err.startswith("kd: ")
