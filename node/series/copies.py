"""Whether two files that carry one SOP Instance UID hold the same image, encoded in two ways.

A modality sends Explicit VR, the archive forwards the same study in Implicit VR or compressed.
Promises: what differs, or cannot be decoded, is never called the same; one frame of each file is
held at a time. Leaves to `housekeeping`: what follows.
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

# say how and where the object is kept, not what it shows
KEEPING = frozenset({0x00080001, 0x00080054, 0x00080056, 0xFFFCFFFC})
# a lossless codec changes how colours are stored; what is decoded is compared instead
COLOUR_ENCODING = frozenset({0x00280004, 0x00280006})


def same_image(one: Path, other: Path) -> bool:
    """Compare two files: elements that the node or a viewer relies on, then decoded pixels.

    Private elements are not compared, for in Implicit VR nobody knows their type; of them the node
    uses the b-value alone, which is compared.

    Raises:
        OSError: of `header.TRANSIENT_ERRNOS`; trying again may work.
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
    """Compare the standard elements; of a whole image, the decoded pixels speak for its colours."""
    is_colour = is_whole and one.get("SamplesPerPixel") == other.get("SamplesPerPixel") == 3
    ignored = KEEPING | COLOUR_ENCODING if is_colour else KEEPING
    tags, others = _tags(one) - ignored, _tags(other) - ignored
    return tags == others and all(_equal(one[tag], other[tag]) for tag in tags)


def _tags(dataset: Dataset) -> set[BaseTag]:
    """Return the standard elements, without the lengths of groups."""
    return {tag for tag in tuple(dataset.keys()) if tag.element and not tag.is_private}


def _equal(one: DataElement, other: DataElement) -> bool:
    if isinstance(one.value, Sequence) and isinstance(other.value, Sequence):
        pairs = zip_longest(one.value, other.value)
        return all(a is not None and b is not None and _agree(a, b) for a, b in pairs)
    return bool(one.value == other.value or (one.is_empty and other.is_empty))


def _same_pixels(one: Path, other: Path) -> bool:
    frames = zip_longest(iter_pixels(one), iter_pixels(other))
    return all(a is not None and b is not None and np.array_equal(a, b) for a, b in frames)
