"""Compare two files with one SOP Instance UID: the same image in two encodings, or two images.

A modality sends Explicit VR, and the archive forwards the same study in Implicit VR or compressed.
Guarantees: files that differ, or cannot be decoded, are never called the same; one frame of each
file is in memory at a time. `node.housekeeping` decides what follows.
"""

from itertools import zip_longest
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from node.errors import NotAnImage
from node.series.header import TRANSIENT_ERRNOS, read_dataset
from node.series.values import UNREADABLE, b_value

UNDECODABLE = (*UNREADABLE, RuntimeError, MemoryError)

# how and where an object is stored: LengthToEnd, RetrieveAETitle, InstanceAvailability, padding
STORAGE_TAGS = frozenset({0x00080001, 0x00080054, 0x00080056, 0xFFFCFFFC})
# a lossless codec changes how colours are stored; the decoded pixels are compared instead
COLOUR_ENCODING = frozenset({0x00280004, 0x00280006})


def same_image(one: Path, other: Path) -> bool:
    """Compare the standard elements of two files, then their decoded pixels.

    Private elements are not compared, because Implicit VR does not state their type. The only
    private value that the node uses, the b-value, is compared.

    Raises:
        OSError: with an errno of `header.TRANSIENT_ERRNOS`; trying again may work.
    """
    try:
        first, second = read_dataset(one), read_dataset(other)
        if b_value(first) != b_value(second) or not _agree(first, second, is_whole=True):
            return False
        return "Rows" not in first or _same_pixels(one, other)
    except NotAnImage:
        return False
    except UNDECODABLE as exc:
        if isinstance(exc, OSError) and exc.errno in TRANSIENT_ERRNOS:
            raise
        return False


def _agree(one: Dataset, other: Dataset, *, is_whole: bool = False) -> bool:
    """Compare the standard elements; colour encodings of a whole image are left to the pixels."""
    is_colour = is_whole and one.get("SamplesPerPixel") == other.get("SamplesPerPixel") == 3
    ignored = STORAGE_TAGS | COLOUR_ENCODING if is_colour else STORAGE_TAGS
    tags, others = _tags(one) - ignored, _tags(other) - ignored
    return tags == others and all(_equal(one[tag], other[tag]) for tag in tags)


def _tags(dataset: Dataset) -> set[BaseTag]:
    """Return the tags of the standard elements, without group lengths."""
    return {tag for tag in tuple(dataset.keys()) if tag.element and not tag.is_private}


def _equal(one: DataElement, other: DataElement) -> bool:
    if isinstance(one.value, Sequence) and isinstance(other.value, Sequence):
        pairs = zip_longest(one.value, other.value)
        return all(a is not None and b is not None and _agree(a, b) for a, b in pairs)
    return bool(one.value == other.value or (one.is_empty and other.is_empty))


def _same_pixels(one: Path, other: Path) -> bool:
    frames = zip_longest(iter_pixels(one), iter_pixels(other))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in frames)
