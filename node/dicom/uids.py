"""UIDs: validate those of others, derive those of results, and name the SOP classes of results.

A derived UID is a function of what the object was made from, so a retry makes the same object.
"""

import hashlib
import re
import uuid

from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

BINARY_SEG_CLASS = SegmentationStorage
LABELMAP_SEG_CLASS = UID("1.2.840.10008.5.1.4.1.1.66.7")  # not named in pydicom 3.0
NOTICE_CLASS = BasicTextSRStorage
REPORT_CLASS = Comprehensive3DSRStorage
RTSTRUCT_CLASS = RTStructureSetStorage
SECONDARY_CAPTURE_CLASS = SecondaryCaptureImageStorage
VERIFICATION_CLASS = UID("1.2.840.10008.1.1")  # pydicom 3.0 names storage classes only
COMMITMENT_CLASS = UID("1.2.840.10008.1.20.1")  # Storage Commitment Push Model
COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1.1")  # well-known (PS3.4 J.3.5)

IMPLEMENTATION_UID = UID("2.25.279830310402178406923466171298143052183")  # of segnode; a UUID
IMPLEMENTATION_VERSION = "SEGNODE"

UUID_ROOT = "2.25"  # ISO/IEC 9834-8: a UUID as one decimal number needs no registration
LONGEST_UID = 64  # PS3.5 section 9.1
LONGEST_ROOT = 40  # leaves 23 digits, 76 bits: enough to make collisions negligible

_ROOT = re.compile(r"(0|1|2)(\.(0|[1-9]\d*))+")
_UID_CHARACTERS = re.compile(r"[0-9][0-9.]{0,63}")
_DOTTED_NUMBERS = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")


def is_uid(text: str) -> bool:
    """Check characters and length only: an image with a slightly wrong UID is still received."""
    return _UID_CHARACTERS.fullmatch(text) is not None


def is_dotted_uid(text: str) -> bool:
    """Check for numbers separated by dots; leading zeros are invalid, but common and harmless."""
    return _DOTTED_NUMBERS.fullmatch(text) is not None


def derive_uid(root: str, *parts: str) -> str:
    """Return the UID that belongs to `parts` below `root`; other parts give another UID.

    Raises:
        ValueError: `root` is no UID prefix, or is longer than `LONGEST_ROOT`.
    """
    if not _ROOT.fullmatch(root) or len(root) > LONGEST_ROOT:
        message = f"{root!r} is no UID root of at most {LONGEST_ROOT} characters"
        raise ValueError(message)
    # the length before each part keeps ("ab", "c") apart from ("a", "bc")
    spelled = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(spelled.encode()).digest(), "big")
    if root == UUID_ROOT:
        return f"{root}.{_as_uuid(number)}"
    digits = LONGEST_UID - len(root) - 1
    # the leading digit is never 0, so that no component starts with 0 and all have one length
    return f"{root}.{1 + number % 9}{number // 9 % 10 ** (digits - 1):0{digits - 1}d}"


def new_uid() -> str:
    """Return a random UID, which nobody can guess."""
    return f"{UUID_ROOT}.{uuid.uuid4().int}"


def _as_uuid(number: int) -> int:
    """Shape 128 bits as a UUID of version 8, made for hashes (RFC 9562 section 5.8)."""
    number &= (1 << 128) - 1
    number = number & ~(0xF << 76) | (0x8 << 76)
    return number & ~(0x3 << 62) | (0x2 << 62)
