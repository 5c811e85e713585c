"""Runs that fit the recipe, and pairs of a distilled run and its baseline."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from kd.errors import BadCheckpoint
from kd.evaluation.baselines import baselines
from kd.evaluation.measure import Agreement
from kd.evaluation.scores import Score
from kd.recipe.choices import Anatomy, Augment, Distillation, Generator
from kd.recipe.read import Recipe
from kd.records import Ancestor, BaselineComparison, Run, TeacherSignal
from kd.release.runs import ReleaseOrder, refuse_unfit_runs, training_report
from kd.training.tasks import choices_of
from tests.support.kd_phantoms import RECIPE, recipe
from tests.support.kd_reports import comparison, report, size

LABELS, KL = None, Distillation(has_class_weights=True)
ANATOMY = Anatomy(targets={2: 1, 3: 2})


def history(
    *line: tuple[int, int, Distillation | None],
    training: dict[str, Any] | None = None,
    cases: tuple[str, ...] = ("a",),
    **others: Any,
) -> Run:
    """Return the record of a run from seed, steps and terms of its ancestors, oldest first.

    `training` and `others` are further choices of all of them.
    """
    run: Run | None = None
    for seed, steps, terms in line:
        chosen = recipe(seed=seed, steps=steps, **(training or {}))
        run = Run(
            cases=cases,
            choices=replace(choices_of(chosen, "small"), **others),
            distillation=terms,
            teacher=None if terms is None else TeacherSignal(digest="a teacher", cases=()),
            start=None if run is None else Ancestor(weights=f"after {run.step}", run=run),
            step=steps,
            seconds=2.0 * steps,
        )
    assert run is not None
    return run


def pairs(distilled: Run, other: Run) -> tuple[BaselineComparison, ...]:
    """Return the pairs that a distilled run and another one form."""
    mine, theirs = training_report(distilled, "kd"), training_report(other, "kd")
    without = report({"small": size(0.0, mine)})
    without = replace(without, compared={"other": comparison("small", theirs)})

    def scores(dice: float) -> list[Score]:
        one = Agreement(dice, 1.0, 0.0, 1.0, 1.0)
        return [Score(f"case {n}", (one,), 1.0) for n in range(3)]

    histories = {"small": [distilled], "other": [other]}
    return baselines(without, {"small": scores(0.9), "other": scores(0.8)}, histories)


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
        ({"cases": ("a", "b")}, {"cases": ("a",)}),
        (
            {"generator": Generator(anatomy=ANATOMY, noise_std=0.1)},
            {"generator": Generator(anatomy=ANATOMY, noise_std=0.2)},
        ),
        ({"generator": Generator(anatomy=ANATOMY)}, {}),
        ({"augment": Augment(noise_p=0.1)}, {"augment": Augment(noise_p=0.2)}),
        ({"training": {"rate": 0.1}}, {"training": {"rate": 0.2}}),
        ({"partial": (2,)}, {}),
    ],
)
def test_runs_of_other_choices_are_no_baselines(
    mine: dict[str, Any], other: dict[str, Any]
) -> None:
    for one, two in ((mine, other), (other, mine)):
        assert pairs(history((1, 40, KL), **one), history((1, 40, LABELS), **two)) == ()


def test_choices_without_effect_part_no_pair() -> None:
    mine = history((1, 40, KL), training={"checkpoint_every_s": 60.0})
    other = history((1, 40, LABELS), training={"checkpoint_every_s": 30.0})
    assert len(pairs(mine, other)) == 1


def test_ancestors_trained_on_other_cases_part_a_pair() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    mine, other = (history(*line[:1], (2, 60, terms)) for terms in (KL, LABELS))
    assert len(pairs(mine, other)) == 1
    assert other.start is not None
    start = replace(other.start, run=replace(other.start.run, cases=("b",)))
    assert pairs(mine, replace(other, start=start)) == ()


def test_continued_runs_are_a_pair_if_all_their_ancestors_agree() -> None:
    line = ((1, 40, LABELS), (2, 60, LABELS))
    for before in (KL, LABELS):  # distilled from the first step, or later
        (pair,) = pairs(history((1, 40, before), (2, 60, KL)), history(*line))
        assert pair.baseline == "other"


def test_the_report_of_a_continued_run_covers_its_ancestors() -> None:
    summary = training_report(history((1, 40, LABELS), (2, 60, KL), (3, 20, LABELS)), "kd train")
    assert (summary.steps, summary.seconds, summary.seed) == (120, 240.0, 3)
    assert (summary.distilled, summary.teacher) == (True, "a teacher")
    assert summary.terms == msgspec.to_builtins(KL)
    assert summary.start == "after 60"
    assert [run.distilled for run in summary.runs] == [False, True, False]


def made_by(chosen: Recipe, **training: Any) -> Run:
    """Return the record of a finished run of size small by a recipe, with another training."""
    choices = choices_of(chosen, "small")
    choices = replace(choices, training=replace(choices.training, **training))
    return Run(cases=("a", "b"), choices=choices, step=10_000)


def refuse(chosen: Recipe, trained: Run, *, is_compared: bool = False) -> None:
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
    refuse_unfit_runs(order, {name: [trained] for name in order.by_name}, ["c"])


def other(**changes: Any) -> Recipe:
    return msgspec.convert(RECIPE | changes, Recipe)


def test_a_released_run_was_trained_as_the_recipe_says() -> None:
    chosen = recipe()
    refuse(chosen, made_by(chosen))
    refuse(chosen, made_by(chosen, seed=7, steps=9, checkpoint_every_s=1.0))
    faster = made_by(chosen, rate=0.5)
    with pytest.raises(BadCheckpoint, match="another training than the recipe has"):
        refuse(chosen, faster)
    refuse(chosen, faster, is_compared=True)


def test_a_run_on_other_synthetic_images_is_refused_even_as_a_comparison() -> None:
    anatomy = msgspec.to_builtins(ANATOMY)
    synthetic = other(generator={"anatomy": anatomy})
    noisier = other(generator={"anatomy": anatomy, "noise_std": 0.9})
    refuse(synthetic, made_by(synthetic))
    for chosen, trained in ((synthetic, noisier), (synthetic, recipe()), (recipe(), synthetic)):
        for is_compared in (False, True):
            with pytest.raises(BadCheckpoint, match="another generator"):
                refuse(chosen, made_by(trained), is_compared=is_compared)


def test_a_run_is_bound_to_its_partial_segments() -> None:
    data = RECIPE["data"]
    partial = other(data=data | {"partial": [2]})  # type: ignore[operator]
    refuse(partial, made_by(partial))
    for chosen, trained in ((recipe(), partial), (partial, recipe())):
        with pytest.raises(BadCheckpoint, match="another partial"):
            refuse(chosen, made_by(trained))


def test_a_run_whose_teacher_was_trained_on_a_test_case_is_refused() -> None:
    chosen = recipe()
    teacher = TeacherSignal(digest="", cases=("a", "c"))
    with pytest.raises(BadCheckpoint, match="was trained on test case c"):
        refuse(chosen, replace(made_by(chosen), teacher=teacher))
