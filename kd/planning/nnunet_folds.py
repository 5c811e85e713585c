"""Which cases a fold of an nnU-Net was certainly not trained on.

The evidence is the split that nnU-Net wrote: `splits_final.json` in its folder of preprocessed
data, and the predictions of a fold's validation cases in the results folder. Everything unknown
counts as used in training.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec

from kd.errors import BadTeacher

CHECKPOINT = "checkpoint_final.pth"
VALIDATION = "validation"  # folder of a fold
SPLITS = "splits_final.json"  # one object {"train": [...], "val": [...]} for each fold
PREPROCESSED = "nnUNet_preprocessed"  # environment variable, and usual name, of its folder


class _Split(msgspec.Struct, frozen=True):
    """The cases of one fold; nnU-Net writes no other keys, and others do not matter."""

    train: tuple[str, ...]
    val: tuple[str, ...]


FoldSplits: TypeAlias = tuple[_Split, ...]


@dataclass(frozen=True)
class Fold:
    """One trained fold of a results folder."""

    folder: Path
    held_out: frozenset[str]  # cases that it was certainly not trained on
    used: frozenset[str] = frozenset()  # cases that nnU-Net's files show as used in training

    @property
    def checkpoint(self) -> Path:
        """The weights after the last epoch."""
        return self.folder / CHECKPOINT


def folds_of(
    results: Path, ending: str, splits: FoldSplits | None, chosen: Sequence[str] = ()
) -> list[Fold]:
    """Return the finished folds of a results folder, or the chosen ones.

    Args:
        results: folder TRAINER__PLANS__CONFIGURATION.
        ending: end of the names of the data set's files.
        splits: of all folds, if known.
        chosen: numbers of folds, or `all`; empty: every finished one.

    Raises:
        BadTeacher: there is no such fold, or none is finished.
    """
    finished = {path.parent.name: path.parent for path in results.glob(f"fold_*/{CHECKPOINT}")}
    if not finished:
        message = f"there is no fold_*/{CHECKPOINT} in {results.name}: no fold is finished"
        raise BadTeacher(message, advice="Train at least one fold to its end")
    names = [f"fold_{number}" for number in chosen] or sorted(finished)
    if missing := [name for name in names if name not in finished]:
        message = f"{results.name} has no finished {missing[0]}"
        raise BadTeacher(message, advice=f"It has: {', '.join(sorted(finished))}")
    return [
        Fold(
            finished[n], held_out(finished[n], ending, splits), used_by(finished[n], ending, splits)
        )
        for n in names
    ]


def used_by(fold: Path, ending: str, splits: FoldSplits | None) -> frozenset[str]:
    """Return the cases that nnU-Net's files show as used in the training of a fold.

    Of `fold_all` these are all cases of the split, and those of its folder `validation`: it is
    validated on its training cases. Of a numbered fold they are in its list `train`.
    """
    at = _number_of(fold)
    if at is not None:
        return (
            frozenset(splits[at].train) if splits is not None and at < len(splits) else frozenset()
        )
    named = {name for split in splits or () for name in (*split.train, *split.val)}
    return frozenset(named | _validated(fold, ending))


def held_out(fold: Path, ending: str, splits: FoldSplits | None) -> frozenset[str]:
    """Return the cases that a fold was certainly not trained on.

    `fold_all` is trained on every case and validated on the same ones: none is held out. Of a
    numbered fold, a case is held out if every evidence agrees: it is in the fold's list `val` of
    the split, and nnU-Net has predicted it for the fold's validation. Where one of both is missing
    the other one decides; without both, none is held out.
    """
    at = _number_of(fold)
    if at is None:
        return frozenset()
    evidence = []
    if (fold / VALIDATION).is_dir():
        evidence.append(_validated(fold, ending))
    if splits is not None and at < len(splits):
        evidence.append(set(splits[at].val) - set(splits[at].train))
    return frozenset(set.intersection(*evidence)) if evidence else frozenset()


def _number_of(fold: Path) -> int | None:
    """Return the number of a fold; None of `fold_all`."""
    number = re.fullmatch(r"fold_(\d+)", fold.name)
    return None if number is None else int(number[1])


def _validated(fold: Path, ending: str) -> set[str]:
    """Return the cases that nnU-Net has predicted for the validation of a fold."""
    return {path.name.removesuffix(ending) for path in (fold / VALIDATION).glob(f"*{ending}")}


def find_splits(results: Path, dataset: str) -> Path | None:
    """Return nnU-Net's split file, if it is in one of the places where nnU-Net keeps it.

    Args:
        results: folder TRAINER__PLANS__CONFIGURATION.
        dataset: folder name of the data set, such as Dataset004_Hippocampus.
    """
    folders = [results, results.parent.parent.parent / PREPROCESSED / dataset]
    if named := os.environ.get(PREPROCESSED):
        folders.append(Path(named) / dataset)
    return next((folder / SPLITS for folder in folders if (folder / SPLITS).is_file()), None)


def read_fold_splits(path: Path) -> FoldSplits:
    """Read a `splits_final.json`.

    Raises:
        BadTeacher: it cannot be read, or is no list of {"train": [...], "val": [...]}.
    """
    try:
        return msgspec.convert(json.loads(path.read_text(encoding="utf-8")), FoldSplits)
    except (OSError, ValueError, msgspec.ValidationError) as exc:
        message = f"split file {path.name} cannot be read: {exc}"
        raise BadTeacher(message, advice="Give --splits the splits_final.json of nnU-Net") from exc
