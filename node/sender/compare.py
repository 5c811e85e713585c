"""Compare two versions of one object, element by element."""

from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

PIXEL_DATA = 0x7FE00010


def differences(one: Dataset, other: Dataset) -> list[str]:
    """Return the elements of `one` that `other` lacks or has with another value, by keyword."""
    return [_name(one, tag) for tag in one.keys() if not _is_same(one, other, tag)]  # noqa: SIM118


def additions(one: Dataset, other: Dataset) -> list[str]:
    """Return the elements that only `other` has, by keyword."""
    return [_name(other, tag) for tag in other.keys() if tag not in one]  # noqa: SIM118


def _is_same(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    if tag not in other:
        return False
    if tag == PIXEL_DATA:
        return _has_same_pixels(one, other)
    ours, theirs = one[tag], other[tag]
    if ours.VR != "SQ":
        return bool(ours.value == theirs.value)
    if len(ours.value) != len(theirs.value):
        return False
    pairs: Iterator[tuple[Dataset, Dataset]] = zip(ours.value, theirs.value, strict=True)
    return not any(differences(*pair) or additions(*pair) for pair in pairs)


def _has_same_pixels(one: Dataset, other: Dataset) -> bool:
    try:
        return np.array_equal(one.pixel_array, other.pixel_array)
    except (ValueError, AttributeError):  # other elements contradict the pixels: they differ too
        return False


def _name(dataset: Dataset, tag: BaseTag) -> str:
    return str(dataset[tag].keyword or tag)
