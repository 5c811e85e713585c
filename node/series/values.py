"""Read single values of a dataset, however oddly they were written.

Guarantees: a value that cannot be understood is absent, never guessed; a value of absurd length
raises `OversizedValue` before it is converted. No function raises anything else.
"""

import datetime
import math
import re
import struct
from collections.abc import Iterable
from functools import cache

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag

from node.dicom.bounds import MOST_VALUE_BYTES
from node.errors import OversizedValue

# exceptions of pydicom for damaged values, damaged files and files that are not DICOM
UNREADABLE = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError,
    BytesLengthException, InvalidDicomError, OSError, EOFError, struct.error,
)  # fmt: skip

SIEMENS, GE = "SIEMENS MR HEADER", "GEMS_PARM_01"  # private creators; the vendors document them
# with their private creators; the first is of the standard (PS3.3 C.8.13.5.9)
B_VALUE_TAGS = {
    Tag(0x0018, 0x9087): "",
    Tag(0x0019, 0x100C): SIEMENS,
    Tag(0x0043, 0x1039): GE,
}
GE_COMPONENT_TAG = Tag(0x0043, 0x102F)
GE_COMPONENTS = {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}
GE_B_VALUE_OFFSET = 1e9  # GE adds this to b-values of some software versions
LARGEST_B_VALUE = 1e5  # s/mm²; a larger number in a private element has another meaning

AGE = re.compile(r"(\d{1,3})([DWMY])")  # an Age String (PS3.5 6.2); some devices omit zeros
DAYS_PER_YEAR = 365.25
DAYS = {"D": 1.0, "W": 7.0, "M": DAYS_PER_YEAR / 12, "Y": DAYS_PER_YEAR}
DAY = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")  # a Date; ACR-NEMA wrote points (PS3.5 6.2)
CODE = re.compile("[A-Z0-9 _]{1,16}")  # a Code String (PS3.5 6.2)

Vector = tuple[float, ...]


def text(dataset: Dataset, keyword: str) -> str:
    """Return the value as text; a backslash separates several values."""
    return "\\".join(texts(dataset, keyword)).strip(" \0")


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return each of several values as text."""
    value = _value(dataset, keyword)
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (str(value),)
    return tuple(str(part) for part in value)


def codes(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a Code String in upper case; some devices write lower case."""
    return tuple(part.strip().upper() for part in texts(dataset, keyword))


def code(dataset: Dataset, keyword: str) -> str:
    """Return one Code String; empty if invalid, because messages and tables repeat the value."""
    values = codes(dataset, keyword)
    return values[0] if len(values) == 1 and CODE.fullmatch(values[0]) else ""


def vector(dataset: Dataset, keyword: str, length: int) -> Vector | None:
    """Return `length` finite numbers, else None."""
    try:
        numbers = tuple(float(part) for part in texts(dataset, keyword))
    except ValueError:
        return None
    whole = len(numbers) == length and all(math.isfinite(number) for number in numbers)
    return numbers if whole else None


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return one finite number, else None."""
    values = vector(dataset, keyword, 1)
    return values[0] if values else None


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """Return one whole number, else None."""
    value = number(dataset, keyword)
    return int(value) if value is not None and value == int(value) else None


def age_years(value: str) -> float | None:
    """Return an Age String such as 045Y in years, else None."""
    match = AGE.fullmatch(value.strip().upper())
    return int(match[1]) * DAYS[match[2]] / DAYS_PER_YEAR if match else None


def day_of(value: str) -> datetime.date | None:
    """Return a Date such as 20240229, else None."""
    match = DAY.fullmatch(value.strip())
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:  # such as 20240230
        return None


def b_value(dataset: Dataset) -> float | None:
    """Return the diffusion b-value in s/mm², from the standard element or that of a vendor."""
    for tag, creator in B_VALUE_TAGS.items():
        b = _first_number(dataset, tag) if _is_of(dataset, tag, creator) else None
        if b is None:
            continue
        b %= GE_B_VALUE_OFFSET
        if 0 <= b <= LARGEST_B_VALUE:
            return b
    return None


def complex_component(dataset: Dataset) -> str:
    """Return the complex component, from the standard element or that of GE; empty if unknown."""
    stated = text(dataset, "ComplexImageComponent").upper()
    if stated or not _is_of(dataset, GE_COMPONENT_TAG, GE):
        return stated
    number = _first_number(dataset, GE_COMPONENT_TAG)
    return GE_COMPONENTS.get(int(number), "") if number is not None else ""


def _is_of(dataset: Dataset, tag: BaseTag, creator: str) -> bool:
    """Check the private creator of an element; one that an anonymiser removed is unknown."""
    reserved = dataset.get((tag.group, tag.element >> 8)) if creator else None
    value = reserved.value if reserved is not None else None
    stated = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return stated.strip(" \0").upper() in ("", creator)


def _first_number(dataset: Dataset, tag: BaseTag) -> float | None:
    """Return the first number of an element, whatever its VR; of Implicit VR it may be unknown."""
    check_length(dataset, tag)
    try:
        value = dataset[tag].value if tag in dataset else None
        if isinstance(value, bytes):
            value = value.decode("ascii").split("\\")[0]
        first = value if isinstance(value, str | int | float) else value[0] if value else None
        number = float(first) if first is not None else math.nan
    except UNREADABLE:
        return None
    return number if math.isfinite(number) else None


def items(dataset: Dataset, keyword: str) -> Sequence:
    """Return the items of a sequence; no items if it is absent, damaged or no sequence."""
    value = _value(dataset, keyword)
    return value if isinstance(value, Sequence) else Sequence()


def derivation_codes(dataset: Dataset) -> tuple[str, ...]:
    """Return the code values of the Derivation Code Sequence."""
    return tuple(text(item, "CodeValue") for item in items(dataset, "DerivationCodeSequence"))


def check_length(dataset: Dataset, tag: BaseTag) -> None:
    """Check the length of an element that is still encoded; sequences may be long.

    Raises:
        OversizedValue: naming the element and its length.
    """
    length = encoded_length(dataset, tag)
    if length > MOST_VALUE_BYTES and not is_sequence(tag):
        message = f"{keyword_for_tag(tag) or tag} has {length} bytes"
        advice = "Send the original images: these were altered."
        raise OversizedValue(f"{message}, and the limit is {MOST_VALUE_BYTES}", advice=advice)


def encoded_length(dataset: Dataset, tag: BaseTag) -> int:
    """Return the bytes of an element that is not converted yet; 0 for any other element."""
    element = dataset.get_item(tag, keep_deferred=True)
    return len(element.value or b"") if isinstance(element, RawDataElement) else 0


def is_sequence(tag: BaseTag) -> bool:
    """Return whether a public element is a sequence."""
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:  # private
        return False


@cache
def _tag_of(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return Tag(tag)


def _value(dataset: Dataset, keyword: str) -> object:
    check_length(dataset, _tag_of(keyword))
    try:
        return dataset.get(keyword)
    except UNREADABLE:  # such as letters in a number
        return None
