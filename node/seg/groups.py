"""The functional groups of all frames of a SEG, each distinct one decoded once.

Frames repeat each other: a thousand of them lie on a hundred slices and show thirty segments, in
the same bytes. Where an object is in the plain form that ours are in, every element of a frame is
looked up by its bytes; in any other form, pydicom decodes it all.
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
ITEM = 0xE000FFFE  # as one little-endian number
ITEM_HEAD = struct.Struct("<II")  # tag, length
ELEMENT_HEAD = struct.Struct("<HH2sHI")  # group, element, VR, nothing, length
UNDEFINED = 0xFFFFFFFF

Group = tuple[Dataset, ...]  # the items of one functional group
Groups = Mapping[str, Group]  # by keyword


def per_frame(dataset: Dataset, names: Collection[str]) -> Iterator[Groups]:
    """Yield what each frame says of itself under `names`, in stored order.

    Raises:
        AttributeError, ValueError: there are no functional groups, or they cannot be decoded.
    """
    raw = dataset.get_item(PER_FRAME_TAG) if PER_FRAME in dataset else None
    if isinstance(raw, RawDataElement) and (plain := _plain(raw)) is not None:
        return _looked_up(plain, names)
    return (of_item(item) for item in dataset.PerFrameFunctionalGroupsSequence)


def of_item(item: Dataset) -> Groups:
    """Return the functional groups of one item, frame or shared."""
    return {element.keyword: tuple(element.value) for element in item if element.VR == "SQ"}


def _plain(raw: RawDataElement) -> list[list[bytes]] | None:
    """Return the bytes of each element of each item; None if the sequence has another form."""
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
    wanted = {_tag(name): name for name in names}
    known: dict[bytes, Group] = {}
    for elements in frames:
        groups = {}
        for element in elements:
            name = wanted.get(element[:4])
            if name is not None:
                found = known.get(element)
                groups[name] = (
                    known.setdefault(element, _decoded(element)) if found is None else found
                )
        yield groups


def _tag(keyword: str) -> bytes:
    tag = tag_for_keyword(keyword)
    assert tag is not None  # names of the standard
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF)


def _decoded(element: bytes) -> Group:
    found = read_dataset(io.BytesIO(element), is_implicit_VR=False, is_little_endian=True)
    return tuple(item for held in found for item in held.value)
