"""Plans of data sets: patch, strides, splits, and layouts that are recognised or refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from kd.errors import BadRecipe
from kd.planning.plan import layout, patch_and_strides, plan_folder
from node.imaging.intensity import Clip, Standardise
from tests.support.kd_phantoms import data_set


def test_an_isotropic_patch_is_halved_alike() -> None:
    patch, strides = patch_and_strides((36, 50.5, 35), (1, 1, 1))
    assert patch == (40, 56, 40)
    assert strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


def test_thick_slices_are_halved_later() -> None:
    patch, strides = patch_and_strides((20, 256, 256), (5, 1, 1))
    assert strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert all(p % d == 0 for p, d in zip(patch, np.prod(np.array(strides), axis=0), strict=True))


def test_nnunets_raw_layout_is_planned_with_a_split_beside_the_recipe(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "Dataset001_Balls", 5, 1)
    (folder / "splits.json").unlink()
    (folder / "images").rename(folder / "imagesTr")
    (folder / "labels").rename(folder / "labelsTr")
    for path in (folder / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    described = {"labels": {"background": 0, "bright": 1, "dark": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    recipe = plan_folder(folder, "balls", "CT", tmp_path / "balls.yaml")
    assert [part.label for part in recipe.segments] == ["bright", "dark"]
    clip, standardise = recipe.intensity
    assert isinstance(clip, Clip)
    assert isinstance(standardise, Standardise)
    splits = json.loads((tmp_path / "balls.splits.json").read_text(encoding="utf-8"))
    assert len(splits["train"]) + len(splits["val"]) == 6


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="no data set"):
        layout(tmp_path)
