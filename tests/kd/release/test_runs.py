"""Runs that fit the recipe, and pairs of a distilled run and its baseline."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kd.errors import BadCheckpoint
from kd.evaluation.baselines import baselines
from kd.evaluation.measure import Agreement
from kd.evaluation.scores import Score
from kd.recipe.read import Recipe
from kd.records import BaselineComparison
from kd.release.runs import ReleaseOrder, refuse_unfit_runs, training_report
from kd.training.tasks import binding
from tests.support.kd_phantoms import RECIPE, recipe
from tests.support.kd_reports import comparison, report, size

LABELS, KL = None, {"labels": 1.0, "kl": 1.0}


def history(
    *line: tuple[int, int, dict[str, float] | None],
    training: dict[str, Any] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """Return the history of a run from seed, steps and terms of its ancestors, oldest first.

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


def pairs(distilled: dict[str, Any], other: dict[str, Any]) -> tuple[BaselineComparison, ...]:
    """Return the pairs that a distilled run and another one form."""
    mine, theirs = training_report(distilled, "kd"), training_report(other, "kd")
    found = report({"small": size(0.0, mine)})
    found = msgspec.structs.replace(found, compared={"other": comparison("small", theirs)})

    def scores(dice: float) -> list[Score]:
        one = Agreement(dice, 1.0, 0.0, 1.0, 1.0)
        return [Score(f"case {n}", (one,), 1.0) for n in range(3)]

    histories = {"small": [distilled], "other": [other]}
    return baselines(found, {"small": scores(0.9), "other": scores(0.8)}, histories)


def test_a_baseline_is_trained_alike_on_labels_alone() -> None:
    (pair,) = pairs(history((1, 40, KL)), history((1, 40, LABELS)))
    assert (pair.distilled, pair.baseline, pair.size) == ("small", "other", "small")
    assert pair.dice.mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("mine", "other"),
    [
        ([(1, 40, KL)], [(2, 40, LABELS)]),  # another seed
        ([(1, 40, KL)], [(1, 50, LABELS)]),  # another budget
        ([(1, 40, KL), (2, 40, KL)], [(2, 40, LABELS)]),  # started from another run
        ([(1, 40, KL), (2, 40, KL)], [(1, 40, KL), (2, 40, LABELS)]),  # its ancestor was distilled
    ],
)
def test_other_runs_are_no_baselines(
    mine: list[tuple[int, int, Any]], other: list[tuple[int, int, Any]]
) -> None:
    assert pairs(history(*mine), history(*other)) == ()


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
def test_runs_of_other_choices_are_no_baselines(
    mine: dict[str, Any], other: dict[str, Any]
) -> None:
    for one, two in ((mine, other), (other, mine)):
        assert pairs(history((1, 40, KL), **one), history((1, 40, LABELS), **two)) == ()


def test_choices_without_effect_part_no_pair() -> None:
    older = {"rate": 0.1, "checkpoint_every_s": 60}
    newer = {"rate": 0.1, "checkpoint_every_s": 30, "is_thin": False}
    for one, two in ((older, newer), (newer, older)):
        mine, other = history((1, 40, KL), training=one), history((1, 40, LABELS), training=two)
        assert len(pairs(mine, other)) == 1


def test_ancestors_trained_on_other_cases_part_a_pair() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    mine, other = (history(*line[:1], (2, 60, terms), names=["a"]) for terms in (KL, LABELS))
    assert len(pairs(mine, other)) == 1
    other["choices"]["start"]["choices"]["names"] = ["b"]
    assert pairs(mine, other) == ()


def test_continued_runs_are_a_pair_if_all_their_ancestors_agree() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    for before in (KL, LABELS):  # distilled from the first step, or later
        (pair,) = pairs(history((1, 40, before), (2, 60, KL)), history(*line))
        assert pair.baseline == "other"


def test_the_report_of_a_continued_run_covers_its_ancestors() -> None:
    found = training_report(history((1, 40, LABELS), (2, 60, KL), (3, 20, LABELS)), "kd train")
    assert (found.steps, found.seconds, found.seed) == (120, 240.0, 3)
    assert (found.distilled, found.terms, found.teacher) == (True, KL, "a teacher")
    assert found.start == "after 60"
    assert [run.distilled for run in found.runs] == [False, True, False]


ANATOMY = {"targets": {2: 1, 3: 2}}


def made_by(chosen: Recipe, **changes: Any) -> dict[str, Any]:
    """Return the history of a finished run of size small by a recipe, with other choices."""
    choices = binding(chosen, "small") | {"names": ["a", "b"]}
    training = choices["training"] | changes.pop("training", {})
    return {"step": 10_000, "choices": choices | {"training": training} | changes}


def refuse(chosen: Recipe, found: dict[str, Any], *, is_compared: bool = False) -> None:
    run = Path("run")
    order = ReleaseOrder(
        recipe=chosen,
        version="1.0",
        runs={} if is_compared else {"small": (run,)},
        runs_folder=Path(),
        compared={"other": ("small", run)} if is_compared else {},
        soft_targets={},
        reference_image=run,
        reference_notice=run,
        commit="",
        created="",
        command="",
    )
    refuse_unfit_runs(order, {name: [found] for name in order.by_name}, ["c"])


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


def test_a_run_on_other_synthetic_images_is_refused_even_as_a_comparison() -> None:
    synthetic = other(generator={"anatomy": ANATOMY})
    noisier = other(generator={"anatomy": ANATOMY, "noise_std": 0.9})
    refuse(synthetic, made_by(synthetic))
    for chosen, found in ((synthetic, noisier), (synthetic, recipe()), (recipe(), synthetic)):
        for is_compared in (False, True):
            with pytest.raises(BadCheckpoint, match="another generator"):
                refuse(chosen, made_by(found), is_compared=is_compared)


def test_a_run_is_bound_to_its_partial_segments() -> None:
    data = RECIPE["data"]
    partial = other(data=data | {"partial": [2]})  # type: ignore[operator]
    assert "partial" not in binding(recipe(), "small"), "or older runs would not go on"
    refuse(partial, made_by(partial))
    with pytest.raises(BadCheckpoint, match="another partial"):
        refuse(recipe(), made_by(partial))
    refuse(partial, made_by(recipe()))  # not recorded by older code


def test_a_run_whose_teacher_was_trained_on_a_test_case_is_refused() -> None:
    chosen = recipe()
    with pytest.raises(BadCheckpoint, match="was trained on test case c"):
        refuse(chosen, made_by(chosen, taught_by_cases=["a", "c"]))
