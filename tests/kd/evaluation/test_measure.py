"""Measures, intervals, gates and plans against values that can be worked out by hand."""

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kd.errors import BadRecipe
from kd.evaluation import gates
from kd.evaluation.intervals import difference, interval, ratio
from kd.evaluation.measure import agreement
from kd.planning.plan import layout, patch_and_strides, plan_folder
from kd.recipe.choices import Gates
from kd.recipe.read import Recipe
from node.imaging import Grid
from node.imaging.intensity import Clip, Standardise
from node.package.manifest import Interval
from tests.support.kd_phantoms import data_set
from tests.support.kd_phantoms import recipe as phantoms

GRID = Grid((20, 20, 20), np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])


def _cube(first: int, last: int) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[first:last, 5:15, 5:15] = True
    return mask


def test_equal_masks_agree_fully() -> None:
    found = agreement(_cube(5, 15), _cube(5, 15), GRID)
    assert (found.dice, found.hd95_mm) == (1.0, 0.0)
    assert found.nsd == pytest.approx(1.0)
    assert found.found_ml == pytest.approx(1.0)


def test_a_cube_that_lacks_three_layers() -> None:
    found = agreement(_cube(8, 15), _cube(5, 15), GRID)
    assert found.dice == pytest.approx(2 * 700 / 1700)
    assert found.hd95_mm == pytest.approx(3.0)
    assert 0.6 < found.nsd < 0.9  # one face of six is away, and parts of four others
    assert found.true_ml - found.found_ml == pytest.approx(0.3)


def test_a_missed_structure_is_the_worst_that_could_be() -> None:
    found = agreement(np.zeros(GRID.shape, bool), _cube(5, 15), GRID)
    assert (found.dice, found.nsd) == (0.0, 0.0)
    assert found.hd95_mm == pytest.approx(np.sqrt(3) * 20)


def test_nothing_found_where_nothing_is_agrees() -> None:
    nothing = np.zeros(GRID.shape, bool)
    found = agreement(nothing, nothing, GRID)
    assert (found.dice, found.nsd, found.hd95_mm) == (1.0, 1.0, 0.0)


def test_intervals_hold_the_mean_and_repeat_themselves() -> None:
    values = [0.8, 0.9, 0.85, 0.95, 0.7]
    found = interval(values)
    assert found == interval(values)
    assert found.ci[0] < found.mean < found.ci[1]
    assert found.mean == pytest.approx(0.84)


def test_cases_of_one_subject_make_no_narrower_interval() -> None:
    """Each of six subjects eight times over: the mean and interval of the six."""
    values = [0.8, 0.9, 0.85, 0.95, 0.7, 0.6]
    names = [f"subject {n}" for n in range(6)]
    once, eight = interval(values), interval(values * 8, names * 8)
    assert eight.mean == pytest.approx(once.mean)
    assert eight.ci == pytest.approx(once.ci)
    as_if_alone = interval(values * 8)
    assert as_if_alone.ci[1] - as_if_alone.ci[0] < 0.5 * (once.ci[1] - once.ci[0])
    gap = difference([v + 0.1 * v for v in values * 8], values * 8, names * 8)
    assert gap.ci == pytest.approx([0.1 * end for end in once.ci])
    assert ratio([2 * v for v in values * 8], values * 8, names * 8).ci == pytest.approx((2, 2))


def test_a_subject_with_more_cases_weighs_more_in_the_mean() -> None:
    names = ["a", "a", "a", "b", "c", "d", "e"]
    assert interval([1.0, 1.0, 1.0, 0, 0, 0, 0], names).mean == pytest.approx(3 / 7)


def test_of_few_subjects_there_is_no_interval() -> None:
    values, names = [0.5, 0.6, 0.7, 0.8], ["a", "b", "c", "d"]
    few = interval(values * 8, names * 8)
    assert few.ci == (few.mean, few.mean)
    assert few.words() == "0.6500"
    enough = interval([*values, 0.9], [*names, "e"])
    assert enough.ci[0] < enough.mean < enough.ci[1]
    assert Interval(mean=0.5, ci=(0.4, 0.6)).words("+.1f") == "+0.5 (+0.4 to +0.6)"


def test_pairing_removes_what_both_share() -> None:
    teacher = [0.5, 0.9, 0.7, 0.8, 0.6]
    student = [value - 0.01 for value in teacher]
    gap = difference(student, teacher)
    assert gap.ci[0] == pytest.approx(-0.01)
    assert gap.ci[1] == pytest.approx(-0.01)
    assert ratio(teacher, teacher).ci == (1.0, 1.0)


def _report(lost: float) -> dict[str, Any]:
    small = {
        "dice": {"mean": 0.9 - lost},
        "retention": {"mean": (0.9 - lost) / 0.9},
        "dice_difference": {"mean": -lost, "ci": [-lost - 0.002, -lost + 0.002]},
        "nsd_difference": {"mean": -lost, "ci": [-lost - 0.002, -lost + 0.002]},
        "hd95_mm_difference": {"mean": 10 * lost, "ci": [0.0, 20 * lost]},
    }
    return {"sizes": {"teacher": {"dice": {"mean": 0.9}}, "small": small}, "subjects": 20}


GATES = Gates(dice={"small": 0.89}, retention={"small": 0.99}, non_inferior=("small",))


def test_a_good_student_passes_every_gate() -> None:
    assert gates.failures(GATES, _report(lost=0.002)) == []


def test_a_worsened_student_fails_every_gate_by_name() -> None:
    failed = gates.failures(GATES, _report(lost=0.02))
    assert len(failed) == 5
    assert all(sentence.startswith("small: ") for sentence in failed)


AWAY = Gates(external={"Another scanner": {"small": 0.97, "tiny": 0.9}})


def _away(**retention: float) -> dict[str, Any]:
    """Return a report in which sizes keep so much of the teacher's Dice on another scanner."""
    sizes = {size: {"retention": {"mean": kept}} for size, kept in retention.items()}
    return _report(lost=0.0) | {"elsewhere": [{"name": "Another scanner", "sizes": sizes}]}


def test_a_gate_looks_where_the_claim_is() -> None:
    assert gates.failures(AWAY, _away(small=0.98, tiny=0.95)) == []
    assert gates.failures(AWAY, _away(small=0.96, tiny=0.95)) == [
        "small: retention on Another scanner is 0.9600, less than 0.97"
    ]
    assert gates.failures(AWAY, _away(small=0.98)) == [
        "tiny: retention on Another scanner was not measured"
    ]


def test_a_source_that_was_not_measured_opens_no_gate() -> None:
    wanted = "Another scanner was not measured: give --external, the folder that holds its images"
    assert gates.failures(AWAY, _report(lost=0.0)) == [wanted]
    assert gates.failures(AWAY, _report(lost=0.0) | {"elsewhere": []}) == [wanted]


def test_a_gate_on_an_unknown_source_is_refused_with_the_recipe() -> None:
    chosen = msgspec.to_builtins(phantoms())
    chosen["gates"]["external"] = {"Mars": {"small": 0.9}}
    with pytest.raises(BadRecipe, match="there is no source 'Mars' in external"):
        msgspec.convert(chosen, Recipe)
    chosen["external"] = [{"name": "Mars", "images": "i", "labels": "l"}]
    assert msgspec.convert(chosen, Recipe).gates.external["Mars"] == {"small": 0.9}


def test_of_few_subjects_nothing_is_told_to_be_not_inferior() -> None:
    report = _report(lost=0.0) | {"subjects": 4, "cases": 32}
    assert gates.failures(GATES, report) == [
        "small: to tell that it is not inferior takes 5 subjects, there are 4"
    ]


def test_what_was_not_measured_does_not_pass() -> None:
    failed = gates.failures(Gates(dice={"tiny": 0.1}, non_inferior=("teacher",)), _report(0.0))
    assert failed[0] == "tiny: mean Dice was not measured"
    assert len(failed) == 4


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
