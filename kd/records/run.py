"""The record of a training: its choices, its cases, its place in the budget and its ancestors.

A checkpoint keeps it as JSON. It is written and read here alone.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from kd.errors import BadRecord
from kd.recipe.choices import Augment, Distillation, Generator, Topology, Training
from node.imaging.intensity import IntensityStep
from node.package.manifest import ModelGrid

RUN_FORMAT: Literal[3] = 3


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, and strict about its keys."""


class Choices(_Record, frozen=True, kw_only=True):
    """Every choice of a recipe that changes the training of one size.

    Texts for the card, gates and other sizes are left out: they may change without harm.
    """

    size: str
    topology: Topology
    n_classes: int
    grid: ModelGrid
    intensity: tuple[IntensityStep, ...]
    training: Training
    augment: Augment
    generator: Generator | None = None
    partial: tuple[int, ...] = ()  # segments that are not labelled in every case


class TeacherSignal(_Record, frozen=True, kw_only=True):
    """The teacher of a distilled run."""

    digest: str  # SHA-256 of its soft targets or weights
    cases: tuple[str, ...]  # used in its training, and in that of its ancestors


class Ancestor(_Record, frozen=True, kw_only=True):
    """A run that gave its weights to another one."""

    weights: str  # SHA-256
    run: "Run"


class Run(_Record, frozen=True, kw_only=True):
    """One training. Two records with the same `identity` are the same training."""

    format: Literal[3] = RUN_FORMAT
    cases: tuple[str, ...]  # the training cases
    choices: Choices | None = None  # None: the network is imported
    source: str = ""  # of an imported network
    distillation: Distillation | None = None  # None: trained on labels alone
    teacher: TeacherSignal | None = None
    start: Ancestor | None = None  # the run that this one continues
    inherits: Ancestor | None = None  # the teacher whose strongest channels initialised it
    step: int = 0
    seconds: float = 0.0  # of training, over all sessions

    @property
    def identity(self) -> "Run":
        """The record at step 0: what a checkpoint is bound to."""
        return msgspec.structs.replace(self, step=0, seconds=0.0)

    @property
    def lineage(self) -> tuple["Run", ...]:
        """This run and all runs that it continues, the last one first."""
        return (self, *(() if self.start is None else self.start.run.lineage))

    @property
    def cases_used(self) -> frozenset[str]:
        """All cases that influenced the weights: its own, its teachers' and its ancestors'."""
        names = set(self.cases)
        if self.teacher is not None:
            names.update(self.teacher.cases)
        for ancestor in (self.start, self.inherits):
            if ancestor is not None:
                names |= ancestor.run.cases_used
        return frozenset(names)

    def not_held_out(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the cases that this network may have been trained on, sorted.

        These are the cases of this run, of its teachers and of its ancestors. A run without any
        record of its training cases may have used all of them.
        """
        used = self.cases_used
        return tuple(sorted(name for name in set(names) if not used or name in used))

    @property
    def is_finished(self) -> bool:
        """Whether the budget is spent."""
        if self.choices is None:
            return True
        budget = self.choices.training
        if budget.steps is not None:
            return self.step >= budget.steps
        return budget.minutes is not None and self.seconds >= 60 * budget.minutes


def encode_run(run: Run) -> str:
    """Return the record as JSON."""
    return msgspec.json.encode(run).decode()


def decode_run(text: str) -> Run:
    """Read a record back.

    Raises:
        BadRecord: it is damaged or of another format.
    """
    try:
        return msgspec.json.decode(text, type=Run)
    except msgspec.MsgspecError as exc:
        message = f"the record of a run cannot be read: {exc}"
        advice = f"This version of kd reads format {RUN_FORMAT}; train the run again"
        raise BadRecord(message, advice=advice) from exc
