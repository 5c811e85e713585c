"""Decode the functional groups of all frames of a SEG, each distinct one once.

Frames repeat each other: a thousand frames lie on a hundred slices and show thirty segments, in the
same bytes. In the explicit little endian form with defined lengths that this node writes, each
element of a frame is looked up by its bytes. In any other form, pydicom decodes all of it.
"""

import io
import struct
from collections.abc import Collection, Iterator, Mapping

from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

PER_FRAME = "PerFrameFunctionalGroupsSequence"
PER_FRAME_TAG = 0x52009230
ITEM = 0xE000FFFE  # the item tag as one little-endian number
ITEM_HEAD = struct.Struct("<II")  # tag, length
ELEMENT_HEAD = struct.Struct("<HH2sHI")  # group, element, VR, reserved, length
UNDEFINED = 0xFFFFFFFF

Group = tuple[Dataset, ...]  # the items of one functional group
Groups = Mapping[str, Group]  # by keyword


def per_frame(dataset: Dataset, names: Collection[str]) -> Iterator[Groups]:
    """Yield the functional groups `names` of each frame, in stored order.

    Raises:
        AttributeError, ValueError: there are no functional groups, or they cannot be decoded.
    """
    raw = dataset.get_item(PER_FRAME_TAG) if PER_FRAME in dataset else None
    if isinstance(raw, RawDataElement) and (plain := _plain(raw)) is not None:
        return _looked_up(plain, names)
    return (of_item(item) for item in dataset.PerFrameFunctionalGroupsSequence)


def of_item(item: Dataset) -> Groups:
    """Return the functional groups of one item, per-frame or shared."""
    return {element.keyword: tuple(element.value) for element in item if element.VR == "SQ"}


def _plain(raw: RawDataElement) -> list[list[bytes]] | None:
    """Return the bytes of each element of each item; None for any other form of sequence."""
    content = raw.value
    if raw.is_implicit_VR or not raw.is_little_endian or not isinstance(content, bytes):
        return None
    frames = []
    at = 0
    while at < len(content):
        tag, length = ITEM_HEAD.unpack_from(content, at)
        at += ITEM_HEAD.size
        end = at + length
        if tag != ITEM or length == UNDEFINED or end > len(content):
            return None
        elements = []
        while at < end:
            _, _, vr, _, size = ELEMENT_HEAD.unpack_from(content, at)
            after = at + ELEMENT_HEAD.size + size
            if vr != b"SQ" or size == UNDEFINED or after > end:
                return None
            elements.append(content[at:after])
            at = after
        frames.append(elements)
    return frames


def _looked_up(frames: list[list[bytes]], names: Collection[str]) -> Iterator[Groups]:
    requested = {_tag(name): name for name in names}
    known: dict[bytes, Group] = {}
    for elements in frames:
        groups = {}
        for element in elements:
            name = requested.get(element[:4])
            if name is not None:
                decoded = known.get(element)
                if decoded is None:
                    decoded = known[element] = _decoded(element)
                groups[name] = decoded
        yield groups


def _tag(keyword: str) -> bytes:
    tag = tag_for_keyword(keyword)
    assert tag is not None  # keywords of the standard
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _decoded(element: bytes) -> Group:
    dataset = read_dataset(io.BytesIO(element), is_implicit_VR=False, is_little_endian=True)
    return tuple(item for sequence in dataset for item in sequence.value)
