"""Splits and folds of a data set: which cases are for training, and which are held out.

Promises: no case, and no subject, is in two splits or in two folds.
"""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from kd.errors import BadSplit
from kd.recipe.read import Recipe

FOLD_SEED = 1
SUBJECTS = "subjects"  # key of a split file that is no split: case name to subject
LISTS = (list, tuple)  # of a split file and of a recipe; other values, such as a seed, are no split

Splits = dict[str, tuple[str, ...]]


def read_splits(path: Path) -> Splits:
    """Read a split file: JSON, split name to list of case names.

    An optional key "subjects" maps case names to subjects: no subject may then be in two splits.

    Raises:
        BadSplit: not readable, or a case or subject is in two splits.
    """
    return _checked(*_read_split_file(path))


def _checked(raw: Mapping[str, object], subjects: Mapping[str, str]) -> Splits:
    splits = {key: _names(key, value) for key, value in raw.items() if isinstance(value, LISTS)}
    owner: dict[str, tuple[str, str]] = {}
    for split, names in splits.items():
        if len(set(names)) != len(names):
            message = f"split {split!r} names a case twice"
            raise BadSplit(message)
        for name in names:
            subject = subjects.get(name, name)
            other, first = owner.setdefault(subject, (split, name))
            if other != split:
                message = f"case {name} of {split!r} is in {other!r} too (as {first})"
                raise BadSplit(message, advice="No test case or its subject may be trained on")
    return splits


def _names(split: str, value: Sequence[object]) -> tuple[str, ...]:
    """Return the cases of one split.

    Raises:
        BadSplit: an entry is no name.
    """
    names = tuple(name for name in value if isinstance(name, str))
    if len(names) == len(value):
        return names
    strange = next(name for name in value if not isinstance(name, str))
    message = f"split {split!r} has {strange!r:.60} in its list, which is no case name"
    raise BadSplit(message, advice='Write {"train": ["CASE", ...], "val": ["CASE", ...]}')


def subjects_of(recipe: Recipe, folder: Path) -> dict[str, str]:
    """Return the subject of each case for which the split file names one.

    Raises:
        BadSplit: the split file cannot be read.
    """
    if recipe.data.cases:
        return {}
    return _read_split_file(folder / recipe.data.splits)[1]


def _read_split_file(path: Path) -> tuple[dict[str, object], dict[str, str]]:
    """Return the content of the split file, and its subjects."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        message = f"split file {path} cannot be read"
        raise BadSplit(message, advice="Put it there, or name another under data.splits") from exc
    subjects = raw.get(SUBJECTS, {}) if isinstance(raw, dict) else None
    if not isinstance(subjects, dict) or any(not isinstance(s, str) for s in subjects.values()):
        message = f"split file {path.name} must be an object of lists: {{split: [case, ...]}}"
        raise BadSplit(message, advice='"subjects", if there is one, maps each case to a name')
    return raw, subjects


def names_of(recipe: Recipe, folder: Path, split: str) -> tuple[str, ...]:
    """Return the case names of one split of the recipe's data set.

    Raises:
        BadSplit: the split file is wrong or has no such split.
    """
    data = recipe.data
    splits = _checked(data.cases, {}) if data.cases else read_splits(folder / data.splits)
    if not splits.get(split):
        message = f"there is no split {split!r}, or it is empty"
        raise BadSplit(message, advice=f"The split file has: {', '.join(splits)}")
    return splits[split]


def folds(
    names: Sequence[str], count: int, subjects: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """Deal `names` into `count` folds of nearly equal size, the same ones at every call.

    All cases of one subject go into one fold. Folds do not depend on the seed of a training:
    runs of two seeds are compared on the same folds.

    Raises:
        BadSplit: fewer subjects than folds.
    """
    by_subject: dict[str, list[str]] = {}
    for name in sorted(names):
        by_subject.setdefault((subjects or {}).get(name, name), []).append(name)
    if len(by_subject) < count:
        message = f"{len(by_subject)} training subjects cannot be divided into {count} folds"
        raise BadSplit(message, advice="Give the recipe fewer folds, or label more cases")
    subjects_in_order = sorted(by_subject)
    random.Random(FOLD_SEED).shuffle(subjects_in_order)  # noqa: S311 - a shuffle, not a secret
    return tuple(
        tuple(
            sorted(name for subject in subjects_in_order[i::count] for name in by_subject[subject])
        )
        for i in range(count)
    )
