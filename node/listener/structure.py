"""Check that a received data set is complete, and read which instance it is.

A data set that passes ends where its last element ends, has exactly one set of identifying UIDs,
and has as much pixel data as its rows, columns and frames require. `node.series` reads the values.
"""

from dataclasses import dataclass

from node.dicom.bounds import decoding_problem, frame_bytes, is_too_long
from node.dicom.elements import (
    PIXEL_DATA,
    WHOLE_NUMBER,
    Element,
    ElementReader,
    MalformedDataSet,
    named,
)
from node.dicom.uids import is_uid
from node.errors import OversizedImage, OversizedValue
from node.listener.contexts import ENCAPSULATED, IMAGES
from node.listener.statuses import StoreStatus, Unacceptable

MOST_VALUE_BYTES = 128  # of a value that is read: twice a UID

TRANSFER_SYNTAX = 0x00020010
SOP_CLASS, SOP_INSTANCE, STUDY, SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
IDENTIFIERS = {
    SOP_CLASS: "SOP Class",
    SOP_INSTANCE: "SOP Instance",
    STUDY: "Study Instance",
    SERIES: "Series Instance",
}
SAMPLES, PHOTOMETRIC, FRAMES = 0x00280002, 0x00280004, 0x00280008
ROWS, COLUMNS, BITS_ALLOCATED = 0x00280010, 0x00280011, 0x00280100
NUMBERS = (SAMPLES, ROWS, COLUMNS, BITS_ALLOCATED)
PIXELS = (0x7FE00008, 0x7FE00009, PIXEL_DATA)  # float, double float, and ordinary pixel data
READ = frozenset((*IDENTIFIERS, *NUMBERS, PHOTOMETRIC, FRAMES, TRANSFER_SYNTAX, *PIXELS))
# photometric interpretation -> share of the samples that are stored
SUBSAMPLED = {b"YBR_FULL_422": (2, 3), b"YBR_PARTIAL_422": (2, 3), b"YBR_PARTIAL_420": (1, 2)}


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """The four UIDs that identify an instance."""

    sop_class: str
    sop_instance: str
    study: str
    series: str


def identify(data: memoryview, transfer_syntax: str) -> InstanceIdentity:
    """Follow a data set to its end, and return its identity.

    Raises:
        Unacceptable: it is cut off, is no data set, or lacks identifying UIDs or pixel data.
    """
    data_set = _DataSet(data, transfer_syntax)
    try:
        data_set.read()
        identity = InstanceIdentity(*(data_set.uid(tag) for tag in IDENTIFIERS))
        if identity.sop_class in IMAGES and data_set.elements.keys().isdisjoint(PIXELS):
            raise _cannot_understand("an image without pixel data")
        _check_pixels(data_set, is_encapsulated=transfer_syntax in ENCAPSULATED)
    except MalformedDataSet as exc:
        advice = f"The element starts at byte {exc.at} of the data set."
        raise data_set.named(_cannot_understand(str(exc), advice)) from exc
    except Unacceptable as exc:
        raise data_set.named(exc) from None
    return identity


class _DataSet:
    """The elements of a data set that decide whether it is accepted."""

    def __init__(self, data: memoryview, transfer_syntax: str) -> None:
        self._reader = ElementReader(data, transfer_syntax)
        self._transfer_syntax = transfer_syntax
        self.elements: dict[int, Element] = {}
        self._values: dict[int, bytes] = {}
        self._numbers: dict[int, int] = {}

    def read(self) -> None:
        """Read to the end of the data set."""
        for element in self._reader:
            if is_too_long(element.tag, element.length):
                raise _cannot_understand(_too_long(element))
            if element.tag not in READ:
                continue
            if element.tag in self.elements and not self._is_repeated(element):
                advice = f"The second one starts at byte {element.start} of the data set."
                raise _cannot_understand(f"element {named(element.tag)} twice", advice)
            if element.tag == TRANSFER_SYNTAX:
                self._check_meta(element)
            if element.tag in NUMBERS or (element.tag == FRAMES and _is_binary(element)):
                self._numbers[element.tag] = self._reader.whole_number(element)
            elif element.tag not in PIXELS:
                self._values[element.tag] = self._reader.beginning(element, MOST_VALUE_BYTES)
            self.elements[element.tag] = element

    def _is_repeated(self, element: Element) -> bool:
        """Return whether an element stands here a second time with the same short value."""
        first = self.elements[element.tag]
        if element.length != first.length or element.length > MOST_VALUE_BYTES:
            return False
        one, other = (self._reader.beginning(e, MOST_VALUE_BYTES) for e in (first, element))
        return one == other and element.tag not in PIXELS

    def _check_meta(self, element: Element) -> None:
        """Refuse file meta information that contradicts the association: readers believe it."""
        text = self._reader.beginning(element, MOST_VALUE_BYTES).rstrip(b"\0 ").decode("latin-1")
        if text != self._transfer_syntax:
            reason = "the data set contains file meta information with another transfer syntax"
            advice = f"Element {named(TRANSFER_SYNTAX)} at byte {element.start} of the data set."
            raise _cannot_understand(reason, advice)

    def uid(self, tag: int) -> str:
        """Return an identifying UID; refuse a data set without it."""
        name = IDENTIFIERS[tag]
        if tag not in self.elements:
            raise _cannot_understand(f"no {name} UID")
        text = self._values[tag].rstrip(b"\0 ").decode("latin-1")
        if self.elements[tag].length > MOST_VALUE_BYTES or not is_uid(text):
            raise _cannot_understand(f"the {name} UID is not a UID")
        return text

    def number(self, tag: int) -> int:
        """Return a number; 0 if it is absent."""
        return self._numbers.get(tag, 0)

    def text(self, tag: int) -> bytes:
        """Return a value without padding; empty if it is absent."""
        return self._values.get(tag, b"").strip(b"\0 ")

    def named(self, error: Unacceptable) -> Unacceptable:
        """Add the study and the series to `error`, as far as they were read."""
        error.study, error.series = self._uid_or_nothing(STUDY), self._uid_or_nothing(SERIES)
        return error

    def _uid_or_nothing(self, tag: int) -> str:
        try:
            return self.uid(tag)
        except Unacceptable:
            return ""


def _check_pixels(data_set: _DataSet, *, is_encapsulated: bool) -> None:
    """Check that an image has all its pixels: cut between two elements, it looks complete."""
    pixels = [data_set.elements[tag] for tag in PIXELS if tag in data_set.elements]
    rows, columns, bits = (data_set.number(tag) for tag in (ROWS, COLUMNS, BITS_ALLOCATED))
    is_image = bool(rows and columns and bits)
    if not pixels:
        if is_image:
            raise _cannot_understand("an image without pixel data")
        return
    if (pixels[0].fragments >= 0) != is_encapsulated:
        raise _cannot_understand("the pixel data is not encoded in the transfer syntax")
    frames = _frames(data_set)
    if is_encapsulated:
        _check_fragments(data_set, pixels[0], frames)
    elif is_image:
        total_bits = rows * columns * bits * frames * (data_set.number(SAMPLES) or 1)
        stored, sampled = SUBSAMPLED.get(data_set.text(PHOTOMETRIC), (1, 1))
        if pixels[0].length * 8 * sampled < total_bits * stored:
            raise _cannot_understand("less pixel data than rows, columns and frames require")


def _check_fragments(data_set: _DataSet, pixels: Element, frames: int) -> None:
    if pixels.fragments - 1 < frames:  # the first item is the offset table
        raise _cannot_understand("fewer fragments of pixel data than frames")
    numbers = (data_set.number(tag) for tag in (ROWS, COLUMNS, SAMPLES, BITS_ALLOCATED))
    # of one frame: whole slides have any number of small ones, and are never decoded here
    problem = decoding_problem(frame_bytes(*numbers), 1)
    if problem:
        raise _cannot_understand(f"{OversizedImage.code}: {problem}")


def _frames(data_set: _DataSet) -> int:
    text = data_set.text(FRAMES)
    if not text:
        return max(1, data_set.number(FRAMES))
    number = WHOLE_NUMBER.fullmatch(text)
    if number is None:
        raise _cannot_understand("the number of frames is not a number")
    return max(1, int(number[1]))


def _is_binary(element: Element) -> bool:
    return element.vr in (b"US", b"UL", b"SS", b"SL")


def _too_long(element: Element) -> str:
    where = f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X})"
    return f"{OversizedValue.code}: {where} has {element.length} bytes, more than its VR allows"


def _cannot_understand(reason: str, advice: str = "") -> Unacceptable:
    return Unacceptable(StoreStatus.CANNOT_UNDERSTAND, reason, advice)
