"""UIDs of results: a function of what they were made from, so that a retry is the same object."""

import hashlib
import re

UUID_ROOT = "2.25"  # ISO/IEC 9834-8: a UUID as one decimal number needs no registration
LONGEST_UID = 64  # PS3.5 section 9.1
LONGEST_ROOT = 40  # leaves 23 digits, 76 bits: collisions stay out of the question
ROOT = re.compile(r"(0|1|2)(\.(0|[1-9]\d*))+")


def derive_uid(root: str, *parts: str) -> str:
    """Return the UID that belongs to `parts` below `root`; other parts give another UID.

    Raises:
        ValueError: `root` is no UID prefix, or is longer than `LONGEST_ROOT`.
    """
    if not ROOT.fullmatch(root) or len(root) > LONGEST_ROOT:
        message = f"{root!r} is no UID root of at most {LONGEST_ROOT} characters"
        raise ValueError(message)
    # the length before each part keeps ("ab", "c") apart from ("a", "bc")
    spelled = "".join(f"{len(part)}:{part}" for part in parts)
    number = int.from_bytes(hashlib.sha256(spelled.encode()).digest(), "big")
    if root == UUID_ROOT:
        return f"{root}.{_as_uuid(number)}"
    digits = LONGEST_UID - len(root) - 1
    # the leading digit is set, so that no component starts with 0 and all have one length
    return f"{root}.{1 + number % 9}{number // 9 % 10 ** (digits - 1):0{digits - 1}d}"


def _as_uuid(number: int) -> int:
    """Shape 128 bits as a UUID of version 8, made for hashes (RFC 9562 section 5.8)."""
    number &= (1 << 128) - 1
    number = number & ~(0xF << 76) | (0x8 << 76)
    return number & ~(0x3 << 62) | (0x2 << 62)
