"""Which runs are of the recipe, and which are a distilled student and its undistilled twin."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kd.errors import BadCheckpoint
from kd.evaluation.baselines import twins
from kd.evaluation.measure import Agreement
from kd.evaluation.validate import Score
from kd.recipe.read import Recipe
from kd.release.runs import Order, refuse_foreign, told_of
from kd.training.tasks import binding
from tests.support.kd_phantoms import RECIPE, recipe

LABELS, KL = None, {"labels": 1.0, "kl": 1.0}


def story(
    *line: tuple[int, int, dict[str, float] | None],
    training: dict[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return what is known of a run, of seed, steps and terms of each of its line, oldest first.

    `training` and `others` are further choices of all of them.
    """
    before: dict[str, Any] | None = None
    for seed, steps, terms in line:
        choices: dict[str, Any] = {
            "training": {"seed": seed, "steps": steps, "minutes": None} | (training or {}),
            "distillation": terms,
            "teacher": None if terms is None else "a teacher",
            **others,
        }
        if before is not None:
            choices["start"] = before | {"weights": f"after {before['step']}"}
        before = {"step": steps, "seconds": 2.0 * steps, "choices": choices}
    assert before is not None
    return before


def pairs(distilled: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    report = {
        "sizes": {"small": {"training": told_of(distilled, "kd")}},
        "compared": {"other": {"size": "small", "training": told_of(other, "kd")}},
    }

    def scores(dice: float) -> list[Score]:
        found = Agreement(dice, 1.0, 0.0, 1.0, 1.0)
        return [Score(f"case {n}", (found,), 1.0) for n in range(3)]

    stories = {"small": [distilled], "other": [other]}
    return twins(report, {"small": scores(0.9), "other": scores(0.8)}, stories)


def test_a_twin_has_spent_the_same_on_labels_alone() -> None:
    (pair,) = pairs(story((1, 40, KL)), story((1, 40, LABELS)))
    assert (pair["distilled"], pair["undistilled"]) == ("small", "other")
    assert pair["dice"]["mean"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ([(1, 40, KL)], [(2, 40, LABELS)]),  # another seed
        ([(1, 40, KL)], [(1, 50, LABELS)]),  # another budget
        ([(1, 40, KL), (2, 40, KL)], [(2, 40, LABELS)]),  # it did not begin where the other began
        ([(1, 40, KL), (2, 40, KL)], [(1, 40, KL), (2, 40, LABELS)]),  # it has heard the teacher
    ],
)
def test_other_runs_are_no_twins(
    mine: list[tuple[int, int, Any]], other: list[tuple[int, int, Any]]
) -> None:
    assert pairs(story(*mine), story(*other)) == []


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ({"names": ["a", "b"]}, {"names": ["a"]}),
        ({"generator": {"noise_std": 0.1}}, {"generator": {"noise_std": 0.2}}),
        ({"generator": {"noise_std": 0.1}}, {}),
        ({"augment": {"turn": 1}}, {"augment": {"turn": 2}}),
        ({"training": {"rate": 0.1}}, {"training": {"rate": 0.2}}),
        ({"partial": [2]}, {}),
    ],
)
def test_runs_of_other_choices_are_no_twins(mine: dict[str, Any], other: dict[str, Any]) -> None:
    for one, two in ((mine, other), (other, mine)):
        assert pairs(story((1, 40, KL), **one), story((1, 40, LABELS), **two)) == []


def test_what_changes_no_lesson_and_what_older_code_did_not_know_parts_no_twins() -> None:
    older = {"rate": 0.1, "checkpoint_every_s": 60}
    newer = {"rate": 0.1, "checkpoint_every_s": 30, "is_thin": False}
    for one, two in ((older, newer), (newer, older)):
        mine, other = story((1, 40, KL), training=one), story((1, 40, LABELS), training=two)
        assert len(pairs(mine, other)) == 1


def test_a_line_parts_where_one_of_its_runs_saw_other_cases() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    mine, other = (story(*line[:1], (2, 60, terms), names=["a"]) for terms in (KL, LABELS))
    assert len(pairs(mine, other)) == 1
    other["choices"]["start"]["choices"]["names"] = ["b"]
    assert pairs(mine, other) == []


def test_runs_that_went_on_are_twins_if_their_whole_lines_agree() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    for before in (KL, LABELS):  # a student may be taught from the first step, or later
        (pair,) = pairs(story((1, 40, before), (2, 60, KL)), story(*line))
        assert pair["undistilled"] == "other"


def test_of_a_line_everything_is_told() -> None:
    told = told_of(story((1, 40, LABELS), (2, 60, KL), (3, 20, LABELS)), "kd train")
    assert (told["steps"], told["seconds"], told["seed"]) == (120, 240.0, 3)
    assert (told["distilled"], told["terms"], told["teacher"]) == (True, KL, "a teacher")
    assert told["start"] == "after 60"
    assert [run["distilled"] for run in told["runs"]] == [False, True, False]


ANATOMY = {"targets": {2: 1, 3: 2}}


def made_by(chosen: Recipe, **changes: Any) -> dict[str, Any]:
    """Return the story of a finished run of size small by a recipe, with other choices."""
    choices = binding(chosen, "small") | {"names": ["a", "b"]}
    training = choices["training"] | changes.pop("training", {})
    return {"step": 10_000, "choices": choices | {"training": training} | changes}


def refuse(chosen: Recipe, found: dict[str, Any], *, is_compared: bool = False) -> None:
    run = Path("run")
    order = Order(
        recipe=chosen,
        version="1.0",
        runs={} if is_compared else {"small": (run,)},
        runs_folder=Path(),
        compared={"other": ("small", run)} if is_compared else {},
        maps={},
        reference_image=run,
        reference_notice=run,
        commit="",
        created="",
        command="",
    )
    refuse_foreign(order, {name: [found] for name in order.by_name}, ["c"])


def other(**changes: Any) -> Recipe:
    return msgspec.convert(RECIPE | changes, Recipe)


def test_a_released_run_was_trained_as_the_recipe_says() -> None:
    chosen = recipe()
    refuse(chosen, made_by(chosen))
    budget = {"seed": 7, "steps": 9, "checkpoint_every_s": 1.0}
    refuse(chosen, made_by(chosen, training=budget))
    faster = made_by(chosen, training={"rate": 0.5})
    with pytest.raises(BadCheckpoint, match="another training than the recipe has"):
        refuse(chosen, faster)
    refuse(chosen, faster, is_compared=True)
    older = made_by(chosen)
    del older["choices"]["training"]["is_thin"]
    refuse(chosen, older)


def test_a_run_on_other_drawings_is_refused_even_beside_the_released_ones() -> None:
    drawn = other(generator={"anatomy": ANATOMY})
    noisier = other(generator={"anatomy": ANATOMY, "noise_std": 0.9})
    refuse(drawn, made_by(drawn))
    for chosen, found in ((drawn, noisier), (drawn, recipe()), (recipe(), drawn)):
        for is_compared in (False, True):
            with pytest.raises(BadCheckpoint, match="another generator"):
                refuse(chosen, made_by(found), is_compared=is_compared)


def test_a_run_is_bound_to_what_nobody_has_drawn() -> None:
    data = RECIPE["data"]
    partial = other(data=data | {"partial": [2]})  # type: ignore[operator]
    assert "partial" not in binding(recipe(), "small"), "or older runs would not go on"
    refuse(partial, made_by(partial))
    with pytest.raises(BadCheckpoint, match="another partial"):
        refuse(recipe(), made_by(partial))
    refuse(partial, made_by(recipe()))  # older code did not record it


def test_a_run_whose_teacher_saw_a_test_case_is_refused() -> None:
    chosen = recipe()
    with pytest.raises(BadCheckpoint, match="or one that it learnt from, was trained on test"):
        refuse(chosen, made_by(chosen, taught_by_cases=["a", "c"]))
