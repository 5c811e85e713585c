"""Elements as bytes (PS3.5 section 7): follow their lengths, without decoding their values.

A data set that can be followed to its end is complete: it ends where its last element ends. The
work is bounded by the number of elements and by the depth of sequences. pydicom decodes as it
reads, which takes longer, and reads a data set that is cut off without an error.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

MOST_ELEMENTS = 2_000_000  # a second or two; an Enhanced CT of 5000 frames has 500 000
MOST_NESTED = 64  # sequences within sequences
MOST_IRREGULAR = 10_000  # elements without a known VR that are listed
MOST_AHEAD = 16  # elements without a known VR that are read ahead

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
ITEM_HEAD_BYTES = 8  # also of the delimiters
FLOAT_PIXEL_DATA, PIXEL_DATA = 0x7FE00008, 0x7FE00010
SHORT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split()
)  # PS3.5 7.1.2: 16 bit length; all others, known or not, have 32
MOST_NUMBER_BYTES = 16  # of a number as text (PS3.5 6.2)
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
WHOLE_NUMBER = re.compile(rb"[+]?([0-9]{1,10})(\.0*)?")


class MalformedDataSet(ValueError):
    """The bytes are no complete data set; the message has no patient data."""

    tag: int | None = None  # of the element at the top level; None beyond the last one
    at: int = 0  # where that element starts

    def __str__(self) -> str:
        """Return the message with the tag, which is the same for all images of a series."""
        place = "" if self.tag is None else f" in element {named(self.tag)}"
        return f"{super().__str__()}{place}"


@dataclass(frozen=True, slots=True)
class Element:
    """One element at the top level of a data set."""

    tag: int
    start: int  # where its value starts
    length: int  # of its value; `UNDEFINED` for some sequences and for encapsulated pixel data
    fragments: int = -1  # items of encapsulated pixel data, offset table included
    vr: bytes = b""  # as written; empty if none is, or none that is known


def named(tag: int) -> str:
    """Write a tag as the standard does."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def padded_uid(uid: object) -> bytes:
    """Encode a UID, with a null byte if its length is odd."""
    raw = str(uid).encode("ascii", "replace")
    return raw + b"\0" * (len(raw) % 2)


def padded_text(text: str) -> bytes:
    """Encode plain text, with a space if its length is odd; `?` replaces other characters."""
    raw = text.encode("ascii", "replace")
    return raw + b" " * (len(raw) % 2)


class ElementReader:
    """One pass over an encoded data set."""

    def __init__(self, data: memoryview, transfer_syntax: str) -> None:
        """Read `data`, which is encoded in `transfer_syntax`."""
        self._data = data
        self._end = len(data)
        # (start of its head, start of its value, length) of each element without a known VR, at any
        # depth, where VRs are to be written
        self.irregular: list[tuple[int, int, int]] = []
        self._left = MOST_ELEMENTS
        self._is_explicit = transfer_syntax != ImplicitVRLittleEndian
        order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
        self._tag_of = struct.Struct(f"{order}HH").unpack_from
        self._short = struct.Struct(f"{order}H").unpack_from
        self._long = struct.Struct(f"{order}I").unpack_from

    def __iter__(self) -> Iterator[Element]:
        """Yield the elements of the top level, to the very end.

        Raises:
            MalformedDataSet: the data set is cut off, or is none.
        """
        at, tag = 0, 0
        while at < self._end and not self._is_padding(at, tag):
            begin, before = at, tag
            try:
                tag, vr, length, start = self._header(at, is_explicit=self._is_explicit)
                fragments = -1
                _check_group(tag, before)
                if length != UNDEFINED:
                    at = self._skip(start, length)
                elif tag == PIXEL_DATA:
                    at, fragments = self._fragments(start)
                else:
                    self._may_be_undefined(vr, (b"SQ", b"UN"))
                    at = self._sequence(start, is_explicit=self._is_explicit and vr != b"UN")
            except MalformedDataSet as exc:
                exc.at = begin
                if begin + 4 <= self._end:
                    group, element = self._tag_of(self._data, begin)
                    exc.tag = group << 16 | element
                raise
            yield Element(tag, start, length, fragments, vr)

    def items(self, sequence: Element) -> Iterator[memoryview]:
        """Yield the data set of each item of a sequence at the top level.

        Raises:
            MalformedDataSet: the sequence has something else than items in it.
        """
        at = sequence.start
        is_open = sequence.length == UNDEFINED
        end = self._end if is_open else sequence.start + sequence.length
        while at < end:
            tag, _, length, start = self._header(at, is_explicit=False)
            if tag == SEQUENCE_END and is_open:
                return
            if tag != ITEM:
                raise _no_item()
            if length == UNDEFINED:
                at = self._sequence(start, is_explicit=self._is_explicit, is_item=True)
                yield self._data[start : at - ITEM_HEAD_BYTES]
            else:
                at = self._skip(start, length)
                yield self._data[start:at]

    def beginning(self, element: Element, most_bytes: int) -> bytes:
        """Return the value of an element, or its first `most_bytes` bytes."""
        return bytes(self._data[element.start : element.start + min(element.length, most_bytes)])

    def whole_number(self, element: Element) -> int:
        """Return the value of an element that holds one number, whatever VR its writer chose.

        Raises:
            MalformedDataSet: it is no single whole number.
        """
        if element.vr == b"IS" and element.length <= MOST_NUMBER_BYTES:
            text = WHOLE_NUMBER.fullmatch(self.beginning(element, MOST_NUMBER_BYTES).strip(b"\0 "))
            if text:
                return int(text[1])
        elif element.length == 2:
            return int(self._short(self._data, element.start)[0])
        elif element.length == 4 and element.vr in (b"UL", b"SL"):
            return int(self._long(self._data, element.start)[0])
        exc = MalformedDataSet("no number")
        exc.tag, exc.at = element.tag, element.start
        raise exc

    def _header(self, at: int, *, is_explicit: bool) -> tuple[int, bytes, int, int]:
        """Return (tag, VR, length, start of the value); the VR is empty where none is written."""
        self._count()
        if at + 8 > self._end:
            raise _cut_off()
        group, element = self._tag_of(self._data, at)
        tag = group << 16 | element
        if group == 0xFFFE or not is_explicit:
            return tag, b"", self._long(self._data, at + 4)[0], at + 8
        vr = bytes(self._data[at + 4 : at + 6])
        if vr in SHORT_VRS:
            return tag, vr, self._short(self._data, at + 6)[0], at + 8
        if vr not in LONG_VRS:
            start, length = self._without_known_vr(at, tag)
            if len(self.irregular) < MOST_IRREGULAR:
                self.irregular.append((at, start, length))
            return tag, b"", length, start
        if at + 12 > self._end:
            raise _cut_off()
        return tag, vr, self._long(self._data, at + 8)[0], at + 12

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            message = f"more than {MOST_ELEMENTS} elements"
            raise MalformedDataSet(message)

    def _without_known_vr(self, at: int, tag: int) -> tuple[int, int]:
        """Return (start, length) of the value of an element without a known VR.

        Some writers leave the VR blank, others invent one or encode private elements implicitly.
        The length is known if one of the forms leads to the next element, or to the end.
        """
        for start, length in self._forms(at):
            if self._leads_on(start + length, tag):
                return start, length
        message = "no value representation"
        raise MalformedDataSet(message)

    def _forms(self, at: int) -> list[tuple[int, int]]:
        """Return each possible (start, length) of a value, the usual form first (PS3.5 7.1.2)."""
        forms = [
            (at + 8, int(self._long(self._data, at + 4)[0])),  # implicit
            (at + 8, int(self._short(self._data, at + 6)[0])),
        ]
        if at + 12 <= self._end and not self._short(self._data, at + 6)[0]:
            long = (at + 12, int(self._long(self._data, at + 8)[0]))
            forms.insert(0 if _is_vr(bytes(self._data[at + 4 : at + 6])) else 2, long)
        return [(start, length) for start, length in forms if length <= self._end - start]

    def _leads_on(self, end: int, tag: int, ahead: int = 0) -> bool:
        """Return whether the next element starts at `end`, or the data set ends there."""
        if end == self._end:
            return True
        if end + 8 > self._end:
            return False
        group, element = self._tag_of(self._data, end)
        following = group << 16 | element
        if group == 0xFFFE:
            return True
        if following <= tag:
            return False
        vr = bytes(self._data[end + 4 : end + 6])
        if vr in SHORT_VRS or vr in LONG_VRS:
            return True
        self._count()
        return ahead < MOST_AHEAD and any(
            self._leads_on(start + length, following, ahead + 1)
            for start, length in self._forms(end)
        )

    def _is_padding(self, at: int, tag: int) -> bool:
        """Return whether only zeros follow the pixel data, after which no element is needed."""
        # the rest is scanned once at most: an element that begins with four zeros is refused
        if tag < FLOAT_PIXEL_DATA or any(self._data[at : at + 4]):
            return False
        return not bytes(self._data[at:]).strip(b"\0")

    def _skip(self, start: int, length: int) -> int:
        if length > self._end - start:
            raise _cut_off()
        return start + length

    def _may_be_undefined(self, vr: bytes, allowed: tuple[bytes, ...]) -> None:
        if vr and vr not in allowed:
            message = "a value of undefined length that is no sequence"
            raise MalformedDataSet(message)

    def _sequence(self, at: int, *, is_explicit: bool, is_item: bool = False) -> int:
        """Return where a sequence, or one item, of undefined length ends; without recursion."""
        stack = [(not is_item, is_explicit)]  # (is it a sequence or an item, is its VR explicit)
        while stack:
            is_sequence, is_explicit = stack[-1]
            tag, vr, length, start = self._header(at, is_explicit=is_explicit)
            at = start
            if tag == (SEQUENCE_END if is_sequence else ITEM_END):
                stack.pop()
            elif is_sequence and tag != ITEM:
                raise _no_item()
            elif length != UNDEFINED:
                at = self._skip(start, length)
            elif len(stack) >= MOST_NESTED:
                message = f"more than {MOST_NESTED} nested sequences"
                raise MalformedDataSet(message)
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
                message = "encapsulated pixel data with something else than fragments in it"
                raise MalformedDataSet(message)
            at = self._skip(at, length)
            count += 1


def _check_group(tag: int, before: int) -> None:
    """Refuse an element that cannot be here; some writers begin with file meta information."""
    is_meta = tag >> 16 == 0x0002 and before >> 16 in (0, 0x0002)
    if (tag < 0x00030000 and not is_meta) or tag >> 16 == 0xFFFE:
        message = "an element that cannot be in a data set"
        raise MalformedDataSet(message)


def _is_vr(vr: bytes) -> bool:
    return vr.isalpha() and vr.isupper()


def _no_item() -> MalformedDataSet:
    return MalformedDataSet("a sequence with something else than items in it")


def _cut_off() -> MalformedDataSet:
    return MalformedDataSet("the data set is cut off")
