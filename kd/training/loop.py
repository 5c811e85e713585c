"""The training loop: several networks on the same batches, resumable after a kill at any line.

Reading, augmentation, synthesis and the teacher's signal are computed once per step for all
networks. Batches depend on seed and step alone: each network gets the weights that it would get if
it were trained alone, and a resumed training with a budget in steps equals an uninterrupted one.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from kd.data.batches import Source
from kd.data.prefetch import PrefetchedBatches
from kd.training.log import Entry, append, best_dice, read_log, rewind
from kd.training.losses import Objective, Terms
from kd.training.preview import BATCH, Colours, write_batch, write_predictions
from kd.training.trainer import Outcome, Progress, Slice, Trainer
from kd.training.watch import patch_dice

REPORT_EVERY_STEPS = 20
SCORE_EVERY_STEPS = 200  # Dice on held-out patches


@dataclass
class TrainingRun:
    """A network in training, its objective, its checkpoint folder and its progress report."""

    trainer: Trainer
    objective: Objective
    folder: Path
    report: Callable[[Progress], None] = lambda _: None
    terms: Terms = field(default_factory=Terms)  # of the objective, for the log
    held_out: Source | None = None  # patches of held-out cases
    colours: Colours = field(default_factory=dict)  # of the classes, for pictures

    @property
    def is_report_due(self) -> bool:
        """Whether a step is reported: the first one, then every few, and the last."""
        trainer = self.trainer
        is_first_or_last = trainer.step == 1 or trainer.share >= 1
        return is_first_or_last or trainer.step % REPORT_EVERY_STEPS == 0

    def report_progress(self) -> None:
        """Report and log the state of the training.

        A line of the log has the terms of one step; the loss is the mean since the last line.
        """
        trainer = self.trainer
        is_last = trainer.share >= 1
        recent = trainer.losses[-REPORT_EVERY_STEPS:]
        mean = sum(recent) / len(recent)
        dice = None
        if self.held_out is not None and (trainer.step % SCORE_EVERY_STEPS == 0 or is_last):
            dice = self._watch(self.held_out)
        self.report(Progress(trainer.step, trainer.share, mean, trainer.seconds, dice))
        labels, kl = self.terms.labels, self.terms.kl
        entry = Entry(
            step=trainer.step,
            share=trainer.share,
            seconds=trainer.seconds,
            loss=mean,
            labels=mean if labels is None else float(labels),
            kl=None if kl is None else float(kl),
            teacher_weight=self.terms.teacher_weight,
            rate=trainer.rate,
            gradient_norm=trainer.gradient_norm,
            held_out_dice=dice,
        )
        append(self.folder, entry)

    def _watch(self, held_out: Source) -> float:
        """Return the Dice on held-out patches; keep their picture, and weights that are best."""
        trainer = self.trainer
        network = trainer.averaged
        dice = patch_dice(network, held_out, trainer.device)
        best = best_dice(read_log(self.folder))
        if best is None or dice > (best.held_out_dice or 0.0):
            trainer.save_best(self.folder)
        write_predictions(network, held_out, trainer.device, self.colours, self.folder)
        return dice


def train_runs(
    runs: Sequence[TrainingRun], batches: Source, *, limits: Slice | None = None
) -> tuple[Outcome, ...]:
    """Train until all budgets, or the slice, are spent; write a checkpoint to each folder.

    Args:
        runs: the trainings.
        batches: of all of them.
        limits: of this call; None: to the end of the budgets.

    Raises:
        BadCheckpoint: a folder's checkpoint is damaged or of another training, or a new one cannot
            be saved.
        Diverged: a loss or gradient is not finite; checkpoints are of earlier steps.
    """
    for run in runs:
        run.trainer.open(run.folder)
        rewind(run.folder, run.trainer.step)
    saved = time.monotonic()
    steps, limits = 0, limits or Slice()
    with _prefetched(batches, runs[0].trainer.device) as source:
        while going := [run for run in runs if run.trainer.share < 1]:
            if limits.is_over(steps):
                break
            _step(going, source)
            steps += 1
            if time.monotonic() - saved > runs[0].trainer.choice.checkpoint_every_s:
                for run in going:
                    run.trainer.save(run.folder)
                saved = time.monotonic()
    for run in runs:
        run.trainer.save(run.folder)
    return tuple(
        Outcome(
            run.trainer.step, run.trainer.seconds, run.trainer.share >= 1, tuple(run.trainer.losses)
        )
        for run in runs
    )


def _step(going: Sequence[TrainingRun], source: Source) -> None:
    """Take the next step with all runs that have not taken it yet.

    A kill between two checkpoints leaves some runs ahead of others; these wait.
    """
    step = min(run.trainer.step for run in going)
    begun = time.monotonic()
    batch = source.at(step, going[0].trainer.augment)
    waited = time.monotonic() - begun
    for run in going:
        if run.trainer.step > step:
            continue
        if not (run.folder / BATCH).exists():
            is_distilled = run.trainer.run.teacher is not None  # a baseline gets the same batch
            shown = batch if is_distilled else replace(batch, soft_bkzyx=None)
            write_batch(shown, run.colours, run.folder)
        begun = time.monotonic()
        run.trainer.train_step(batch, run.objective)
        if run.is_report_due:
            run.trainer.read_losses()  # the steps that a GPU has not finished take time as well
        # every run counts the wait for the batch, as if it were trained alone
        run.trainer.seconds += waited + time.monotonic() - begun
        if run.is_report_due:
            run.report_progress()


@contextmanager
def _prefetched(batches: Source, device: torch.device) -> Iterator[Source]:
    """Compute the next batch during the current step."""
    ahead = PrefetchedBatches(batches, device)
    try:
        yield ahead
    finally:
        ahead.close()
