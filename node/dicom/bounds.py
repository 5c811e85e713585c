"""Bounds on what one image may claim, checked before a value is converted or a pixel is decoded.

Conversion and decoding multiply what was sent: 16 MiB of numbers become 4 GB of Python objects, and
4 MB of run lengths an image of 256 MB.
"""

from pydicom.datadict import dictionary_VR

from node.dicom.elements import SHORT_VRS

MOST_SHORT_BYTES = 0xFFFE  # Explicit VR has 16 bits for the length of these values (PS3.5 7.1.2)
MOST_VALUE_BYTES = 4096  # of a value that the node reads; the longest in use are some hundred bytes
MOST_FRAME_BYTES = 128 << 20  # decoded; slices of CT and MR have up to 32 MiB
MOST_DECODED_BYTES = 16 << 30  # of all frames together: 10 000 slices of 512 x 512 have 5 GiB


def is_too_long(tag: int, length: int) -> bool:
    """Return whether a public element is longer than its value representation allows."""
    if length <= MOST_SHORT_BYTES:
        return False
    try:
        return dictionary_VR(tag)[:2].encode() in SHORT_VRS  # "US or SS" is short too
    except KeyError:  # private or unknown
        return False


def frame_bytes(rows: int, columns: int, samples: int, bits_allocated: int) -> int:
    """Return the size of one decoded frame."""
    return rows * columns * max(samples, 1) * max(bits_allocated, 8) // 8


def decoding_problem(frame: int, frames: int) -> str:
    """Describe why `frames` frames of `frame` bytes are not decoded; empty if they may be."""
    if frame > MOST_FRAME_BYTES:
        return f"one frame decodes to {frame >> 20} MiB, and the limit is {MOST_FRAME_BYTES >> 20}"
    if frame * frames > MOST_DECODED_BYTES:
        decoded = f"{frames} frames decode to {frame * frames >> 30} GiB"
        return f"{decoded}, and the limit is {MOST_DECODED_BYTES >> 30}"
    return ""
