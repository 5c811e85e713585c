"""Compare two files with one SOP Instance UID: the same image in two encodings, or two images.

A modality sends Explicit VR, and the archive forwards the same study in Implicit VR or compressed.
Guarantees: files that differ, or cannot be decoded, or would decode to more than the bounds of
`node.dicom.bounds`, are never called the same; one frame of each
file is in memory at a time. `node.housekeeping` decides what follows.
"""

from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from node.dicom.bounds import MOST_VALUE_BYTES, decoding_problem, frame_bytes
from node.errors import NotAnImage, OversizedValue
from node.series.codestream import problem_of_file
from node.series.header import TRANSIENT_ERRNOS, read_dataset
from node.series.patient_age import birth_day
from node.series.patients import differ
from node.series.source import source_of
from node.series.values import UNREADABLE, b_value, encoded_length, is_sequence, text, whole_number

UNDECODABLE = (*UNREADABLE, RuntimeError)
DECODING_COPIES = 4  # of a frame, that decoders hold at once

# groups that describe the image: acquisition, geometry, pixels, PET, functional groups
IMAGE_GROUPS = frozenset({0x0018, 0x0020, 0x0028, 0x0054, 0x5200})
IMAGE_TAGS = frozenset(
    {
        0x00080008, 0x00080016, 0x00080018, 0x00080060,  # ImageType, SOP class and instance UID, …
        0x00089215, 0x00409096,  # DerivationCodeSequence, RealWorldValueMappingSequence
    }
)  # fmt: skip
# an archive may change these: numbers, counts, comments, names of devices and protocols, windows
ARCHIVE_TAGS = frozenset(
    {
        0x00180015, 0x00181000, 0x00181020, 0x00181030, 0x00200010, 0x00200011, 0x00200013,
        0x00201002, 0x00201200, 0x00201202, 0x00201204, 0x00201206, 0x00201208, 0x00201209,
        0x00204000, 0x00281050, 0x00281051, 0x00281055, 0x00281056, 0x00283010,
    }
)  # fmt: skip
# a lossless codec changes how colours are stored; the decoded pixels are compared instead
COLOUR_ENCODING = frozenset({0x00280004, 0x00280006})


def same_image(one: Path, other: Path) -> bool:
    """Compare the patients, the elements that describe the image, and the decoded pixels.

    An archive may coerce other elements, such as names, dates and accession numbers. Private
    elements are not compared, because Implicit VR does not state their type. The only private value
    that the node uses, the b-value, is compared.

    Raises:
        OSError: with an errno of `header.TRANSIENT_ERRNOS`; trying again may work.
        MemoryError: they cannot be compared within the memory of this process.
    """
    try:
        first, second = read_dataset(one), read_dataset(other)
        if b_value(first) != b_value(second) or not _same_patient(first, second):
            return False
        if not _agree(first, second, is_whole=True):
            return False
        if "Rows" not in first:
            return True
        return _have_same_pixels(first, source_of(first, one), source_of(second, other))
    except (NotAnImage, OversizedValue):
        return False
    except UNDECODABLE as exc:
        if isinstance(exc, OSError) and exc.errno in TRANSIENT_ERRNOS:
            raise
        return False


def _decoded(dataset: Dataset) -> tuple[int, int]:
    """Return the bytes of one decoded frame, and the number of frames."""
    keywords = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames")
    rows, columns, samples, bits, frames = (whole_number(dataset, word) or 1 for word in keywords)
    return frame_bytes(rows, columns, samples, bits), frames


def _have_same_pixels(dataset: Dataset, one: Path | BytesIO, other: Path | BytesIO) -> bool:
    """Compare the pixels of two images with the header `dataset`, if they may be decoded."""
    frame, frames = _decoded(dataset)
    if decoding_problem(frame, frames) or problem_of_file(one) or problem_of_file(other):
        return False
    return _same_pixels(one, other, frame)


def _same_patient(one: Dataset, other: Dataset) -> bool:
    """Compare what is known of the patients: an archive may have added the Patient ID."""
    patients = [
        (text(image, "PatientID"), text(image, "IssuerOfPatientID"), birth_day(image))
        for image in (one, other)
    ]
    return not differ(*patients)


def _agree(one: Dataset, other: Dataset, *, is_whole: bool = False) -> bool:
    """Compare the elements of an image, or all of an item of a sequence.

    Colour encodings of a whole image are left to the pixels.
    """
    tags, others = _tags(one), _tags(other)
    if is_whole:
        is_colour = one.get("SamplesPerPixel") == other.get("SamplesPerPixel") == 3
        ignored = ARCHIVE_TAGS | COLOUR_ENCODING if is_colour else ARCHIVE_TAGS
        tags, others = (
            {tag for tag in some - ignored if tag.group in IMAGE_GROUPS or tag in IMAGE_TAGS}
            for some in (tags, others)
        )
    return tags == others and all(_same_element(one, other, tag) for tag in tags)


def _tags(dataset: Dataset) -> set[BaseTag]:
    """Return the tags of the standard elements, without group lengths."""
    return {tag for tag in tuple(dataset.keys()) if tag.element and not tag.is_private}


def _same_element(one: Dataset, other: Dataset, tag: BaseTag) -> bool:
    """Compare one element; long values as bytes, because converting them takes much memory."""
    longest = max(encoded_length(one, tag), encoded_length(other, tag))
    if longest <= MOST_VALUE_BYTES or is_sequence(tag):
        return _equal(one[tag], other[tag])
    return _encoded(one, tag) == _encoded(other, tag)


def _encoded(dataset: Dataset, tag: BaseTag) -> object:
    element = dataset.get_item(tag, keep_deferred=True)
    return element.value if element is not None else None


def _equal(one: DataElement, other: DataElement) -> bool:
    if isinstance(one.value, Sequence) and isinstance(other.value, Sequence):
        pairs = zip_longest(one.value, other.value)
        return all(a is not None and b is not None and _agree(a, b) for a, b in pairs)
    return bool(one.value == other.value or (one.is_empty and other.is_empty))


def _same_pixels(one: Path | BytesIO, other: Path | BytesIO, frame: int) -> bool:
    """Decode and compare frame by frame; `frame` is the size of one in bytes."""
    frames = zip_longest(iter_pixels(one), iter_pixels(other))
    try:
        return all(a is not None and b is not None and np.array_equal(a, b) for a, b in frames)
    except RuntimeError:
        # pydicom turns every error of its decoders into this one, also a MemoryError
        bytearray(DECODING_COPIES * frame)
        raise
