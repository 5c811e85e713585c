"""Is this a whole data set, and whose? Element lengths are followed; values are not decoded.

Promises: a data set that passes ends where its last element ends, holds one set of identifying
UIDs, and has as much pixel data as its rows, columns and frames ask for. Bounded in time and depth.
Leaves to series: what the values mean. (A slice of 18 elements takes 0.06 ms, in pydicom 0.15.)
"""

import struct
from dataclasses import dataclass

from node.inbox import is_uid
from node.listener.contexts import ENCAPSULATED, EXPLICIT_BIG, IMAGES, IMPLICIT_LITTLE
from node.listener.statuses import StoreStatus, Unacceptable

MOST_ELEMENTS = 2_000_000  # a second or two of walking; an Enhanced CT of 5000 frames has 500 000
MOST_NESTED = 64  # sequences within sequences
MOST_VALUE_BYTES = 128  # of a value that is looked at: twice a UID

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double float, and ordinary pixel data
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
SAMPLES, PHOTOMETRIC, FRAMES = 0x00280002, 0x00280004, 0x00280008
ROWS, COLUMNS, BITS_ALLOCATED = 0x00280010, 0x00280011, 0x00280100
IDENTITY = (SOP_CLASS, SOP_INSTANCE, STUDY, SERIES)
NUMBERS = (SAMPLES, ROWS, COLUMNS, BITS_ALLOCATED)
WANTED = frozenset((*IDENTITY, *NUMBERS, PHOTOMETRIC, FRAMES, *PIXELS))
SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # PS3.5 7.1.2: 16 bit length; all others, known or not, have 32
SUBSAMPLED = {b"YBR_FULL_422": (2, 3), b"YBR_PARTIAL_422": (2, 3), b"YBR_PARTIAL_420": (1, 2)}


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """Which instance a data set says that it is."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


@dataclass(frozen=True, slots=True)
class _Element:
    value: bytes  # its beginning
    length: int
    fragments: int = -1  # of encapsulated pixel data, offset table included


def identify(data: memoryview, transfer_syntax: str) -> InstanceIdentity:
    """Follow the whole data set, and return whose it is.

    Raises:
        Unacceptable: it is cut off, is no data set, or lacks an identity or pixel data.
    """
    walk = _Walk(data, transfer_syntax)
    try:
        walk.follow()
        identity = InstanceIdentity(*(walk.uid(tag) for tag in IDENTITY))
        if identity.sop_class in IMAGES and walk.found.keys().isdisjoint(PIXELS):
            raise _no("an image without pixel data")
        _check_pixels(walk.found, is_encapsulated=transfer_syntax in ENCAPSULATED)
    except Unacceptable as no:
        no.study, no.series = walk.uid_or_nothing(STUDY), walk.uid_or_nothing(SERIES)
        raise
    return identity


class _Walk:
    """One pass over a data set."""

    def __init__(self, data: memoryview, transfer_syntax: str) -> None:
        self._data = data
        self._end = len(data)
        self._left = MOST_ELEMENTS
        self._is_explicit = transfer_syntax != IMPLICIT_LITTLE
        order = ">" if transfer_syntax == EXPLICIT_BIG else "<"
        self._tag_of = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from
        self.found: dict[int, _Element] = {}

    def follow(self) -> None:
        """Go from element to element, to the very end."""
        at = 0
        while at < self._end:
            tag, vr, length, start = self._header(at, is_explicit=self._is_explicit)
            fragments = -1
            if tag < 0x00030000 or tag >> 16 == 0xFFFE:
                raise _no("an element that cannot be in a data set")
            if length != UNDEFINED:
                at = self._skip(start, length)
            elif tag == 0x7FE00010:
                at, fragments = self._fragments(start)
            else:
                self._may_be_undefined(vr, (b"SQ", b"UN"))
                at = self._sequence(start, is_explicit=self._is_explicit and vr != b"UN")
            if tag in WANTED:
                self._remember(tag, _Element(b"", length, fragments), start)

    def uid(self, tag: int) -> str:
        """Return a UID that has been found."""
        names = {SOP_CLASS: "SOP Class", SOP_INSTANCE: "SOP Instance", STUDY: "Study Instance"}
        name = names.get(tag, "Series Instance")
        if tag not in self.found:
            raise _no(f"no {name} UID")
        text = self.found[tag].value.rstrip(b"\0 ").decode("latin-1")
        if self.found[tag].length > MOST_VALUE_BYTES or not is_uid(text):
            raise _no(f"the {name} UID is not a UID")
        return text

    def uid_or_nothing(self, tag: int) -> str:
        """Return a UID if it has been found and is one."""
        try:
            return self.uid(tag)
        except Unacceptable:
            return ""

    def _remember(self, tag: int, element: _Element, start: int) -> None:
        if tag in self.found:
            raise _no("the same element twice")
        size = 0 if tag in PIXELS else min(element.length, MOST_VALUE_BYTES)
        value = bytes(self._data[start : start + size])
        if tag in NUMBERS:
            if element.length != 2:
                raise _no("a number that is not one")
            value = self._short(value)[0].to_bytes(2, "little")
        self.found[tag] = _Element(value, element.length, element.fragments)

    def _header(self, at: int, *, is_explicit: bool) -> tuple[int, bytes, int, int]:
        """Return (tag, VR, length, where the value starts); no VR is written in some encodings."""
        self._left -= 1
        if self._left < 0:
            raise _no(f"more than {MOST_ELEMENTS} elements")
        if at + 8 > self._end:
            raise _no("the data set is cut off")
        group, element = self._tag_of(self._data, at)
        tag = group << 16 | element
        if group == 0xFFFE or not is_explicit:
            return tag, b"", self._long(self._data, at + 4)[0], at + 8
        vr = bytes(self._data[at + 4 : at + 6])
        if vr in SHORT_VRS:
            return tag, vr, self._short(self._data, at + 6)[0], at + 8
        if not (vr.isalpha() and vr.isupper()):
            raise _no("an element without value representation")
        if at + 12 > self._end:
            raise _no("the data set is cut off")
        return tag, vr, self._long(self._data, at + 8)[0], at + 12

    def _skip(self, start: int, length: int) -> int:
        if length > self._end - start:
            raise _no("the data set is cut off")
        return start + length

    def _may_be_undefined(self, vr: bytes, allowed: tuple[bytes, ...]) -> None:
        if vr and vr not in allowed:
            raise _no("a value of undefined length that is no sequence")

    def _sequence(self, at: int, *, is_explicit: bool) -> int:
        """Return where a sequence of undefined length ends; without recursion."""
        stack = [(True, is_explicit)]  # is it a sequence, or an item of undefined length
        while stack:
            is_sequence, is_explicit = stack[-1]
            tag, vr, length, start = self._header(at, is_explicit=is_explicit)
            at = start
            if tag == (SEQUENCE_END if is_sequence else ITEM_END):
                stack.pop()
            elif is_sequence and tag != ITEM:
                raise _no("a sequence with something else than items in it")
            elif length != UNDEFINED:
                at = self._skip(start, length)
            elif len(stack) >= MOST_NESTED:
                raise _no(f"more than {MOST_NESTED} nested sequences")
            elif is_sequence:
                stack.append((False, is_explicit))
            else:  # OB and OW: an icon with encapsulated pixel data, built like a sequence
                self._may_be_undefined(vr, (b"SQ", b"UN", b"OB", b"OW"))
                stack.append((True, is_explicit and vr != b"UN"))
        return at

    def _fragments(self, at: int) -> tuple[int, int]:
        """Return (where encapsulated pixel data ends, its number of items) (PS3.5 A.4)."""
        count = 0
        while True:
            tag, _, length, at = self._header(at, is_explicit=self._is_explicit)
            if tag == SEQUENCE_END:
                return at, count
            if tag != ITEM or length == UNDEFINED:
                raise _no("encapsulated pixel data with something else than fragments in it")
            at = self._skip(at, length)
            count += 1


def _check_pixels(found: dict[int, _Element], *, is_encapsulated: bool) -> None:
    """See that an image has all its pixels: cut between two elements, it would look whole."""
    pixels = [found[tag] for tag in PIXELS if tag in found]
    rows, columns, bits = (_number(found, tag) for tag in (ROWS, COLUMNS, BITS_ALLOCATED))
    is_image = bool(rows and columns and bits)
    if not pixels:
        if is_image:
            raise _no("an image without pixel data")
        return
    if (pixels[0].fragments >= 0) != is_encapsulated:
        raise _no("the pixel data is not encoded as the transfer syntax says")
    frames = _frames(found)
    if is_encapsulated:
        if pixels[0].fragments - 1 < frames:  # the first item is the offset table
            raise _no("fewer fragments of pixel data than frames")
    elif is_image:
        total_bits = rows * columns * bits * frames * (_number(found, SAMPLES) or 1)
        share = SUBSAMPLED.get(_text(found, PHOTOMETRIC), (1, 1))
        if pixels[0].length * 8 * share[1] < total_bits * share[0]:
            raise _no("less pixel data than rows, columns and frames ask for")


def _frames(found: dict[int, _Element]) -> int:
    text = _text(found, FRAMES)
    if not text:
        return 1
    if not text.isdigit():
        raise _no("the number of frames is not a number")
    return max(1, int(text))


def _number(found: dict[int, _Element], tag: int) -> int:
    return int.from_bytes(found[tag].value, "little") if tag in found else 0


def _text(found: dict[int, _Element], tag: int) -> bytes:
    return found[tag].value.strip(b"\0 ") if tag in found else b""


def _no(reason: str) -> Unacceptable:
    return Unacceptable(StoreStatus.CANNOT_UNDERSTAND, reason)
