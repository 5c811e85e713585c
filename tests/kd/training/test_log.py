"""The log of a training: every few steps one line, none twice, with the terms of the loss."""

from pathlib import Path

import pytest
import torch

from kd.commands.output import in_words
from kd.data.augment import Batch
from kd.errors import BadCheckpoint
from kd.recipe.choices import Distillation
from kd.training import loop
from kd.training.checkpoints import BEST
from kd.training.log import LOG, Entry, append, best_dice, last_dice, read_log, rewind
from kd.training.losses import Terms, distilled, supervised
from kd.training.runs import open_run
from kd.training.steps import Runs, train_fold
from kd.training.trainer import Progress, Slice
from tests.support.kd_phantoms import data_set, recipe
from tests.support.kd_training import silent, train_small


def entry(step: int, dice: float | None = None) -> Entry:
    return Entry(
        step=step,
        share=step / 100,
        seconds=float(step),
        loss=1.0,
        labels=0.9,
        rate=0.01,
        gradient_norm=2.0,
        held_out_dice=dice,
    )


def test_lines_after_the_checkpoint_and_a_cut_line_are_removed(tmp_path: Path) -> None:
    for step in (1, 20, 40, 60):
        append(tmp_path, entry(step, 0.5 if step == 20 else None))
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'{"step": 80, "sha')  # a kill in the middle of a line
    assert [one.step for one in read_log(tmp_path)] == [1, 20, 40, 60]
    rewind(tmp_path, 40)
    assert [one.step for one in read_log(tmp_path)] == [1, 20, 40]
    append(tmp_path, entry(60))
    assert [one.step for one in read_log(tmp_path)] == [1, 20, 40, 60]
    assert last_dice(read_log(tmp_path)) == 0.5


@pytest.mark.slow
def test_a_resumed_training_logs_no_step_twice(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 2, 1)
    train_small(data, tmp_path / "run", stop_after=3)
    train_small(data, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert [one.step for one in log] == [1, 6], "the first and the last step"
    assert log[-1].share == 1
    assert all(one.gradient_norm > 0 and one.rate > 0 for one in log)
    assert all(one.kl is None and one.held_out_dice is None for one in log)


@pytest.mark.slow
def test_a_fold_is_watched_on_its_held_out_cases(tmp_path: Path) -> None:
    data = data_set(tmp_path / "balls", 4, 1)
    runs = Runs(tmp_path / "runs")
    train_fold(recipe(), data, runs, 0, limits=Slice("cpu"), report=silent)
    run = tmp_path / "runs" / "teacher_0"
    dice = last_dice(read_log(run))
    assert dice is not None
    assert 0 <= dice <= 1
    best, record = open_run(recipe(), "teacher", run / BEST, torch.device("cpu"))
    last, _ = open_run(recipe(), "teacher", run, torch.device("cpu"))
    assert record.step == 6, "the only step that was measured"
    torch.testing.assert_close(best.state_dict(), last.state_dict())


def test_the_best_entry_is_the_first_of_the_largest_dice() -> None:
    entries = [entry(1), entry(20, 0.4), entry(40, 0.6), entry(60, 0.6), entry(80, 0.5)]
    best = best_dice(entries)
    assert best is not None
    assert best.step == 40
    assert best_dice([entry(1)]) is None


@pytest.mark.slow
def test_a_worse_step_does_not_replace_the_best_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured at six steps, in two calls: the file is of the step that the log calls best."""
    monkeypatch.setattr(loop, "REPORT_EVERY_STEPS", 1)
    monkeypatch.setattr(loop, "SCORE_EVERY_STEPS", 4)
    data = data_set(tmp_path / "balls", 4, 1)
    runs = Runs(tmp_path / "runs")
    chosen = recipe(steps=24, ema=0.5)
    for stop in (10, None):  # the second call resumes
        limits = Slice("cpu", stop_after_steps=stop)
        train_fold(chosen, data, runs, 0, limits=limits, report=silent)
    run = tmp_path / "runs" / "teacher_0"
    best = best_dice(read_log(run))
    assert best is not None
    _, record = open_run(chosen, "teacher", run / BEST, torch.device("cpu"))
    assert record.step == best.step
    assert len([one for one in read_log(run) if one.held_out_dice is not None]) == 6


def test_a_run_without_a_held_out_fold_has_no_best_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no fold was held out of its training"):
        open_run(recipe(), "small", tmp_path / BEST, torch.device("cpu"))


def test_the_time_of_a_call_counts_from_its_begin() -> None:
    limits = Slice(stop_after_s=60, begun=1000.0)
    assert not limits.is_over(now=1059.0)
    assert limits.is_over(now=1060.0)
    assert not Slice(begun=0.0).is_over(now=1e9)


def test_the_terms_of_an_objective_are_kept() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    labels[:, 1:3] = 1
    soft = torch.randn(1, 2, 4, 4, 4).log_softmax(1)
    batch, logits = Batch(torch.zeros(1, 1, 4, 4, 4), labels, soft), torch.randn(1, 2, 4, 4, 4)
    terms = Terms()
    loss = distilled(Distillation(kl=2.0, ramp=0.5, fade=1.0), terms=terms)([logits], batch, 0.25)
    assert terms.labels is not None
    assert terms.kl is not None
    assert terms.teacher_weight == 1.0, "half of the ramp, twice the weight"
    assert float(loss) == pytest.approx(float(terms.labels) + float(terms.kl), rel=1e-6)
    assert float(terms.labels) == pytest.approx(float(supervised()([logits], batch, 0.25)))


def test_the_time_that_is_left_follows_the_share_of_the_budget() -> None:
    assert Progress(10, 0.25, 1.0, 60.0).left_s == 180
    assert in_words(Progress(0, 0.0, 1.0, 0.0).left_s) == "unknown time"
    assert [in_words(s) for s in (40, 720, 11_100)] == ["40 s", "12 min", "3 h 05 min"]
