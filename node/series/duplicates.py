"""Find images that are the same slice under another SOP Instance UID: same place, same pixels.

An archive that imports an image twice may give the second copy another UID. Copies count once.
Other pixels at the same place are left in, and `stack` refuses them.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pydicom
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from node.series.codestream import problem_of
from node.series.header import Header, read_dataset
from node.series.meaning import is_ct
from node.series.pixel_format import PixelFormat
from node.series.source import source_of
from node.series.stack import SAME_PLACE_MM
from node.series.units import HU, Units
from node.series.values import UNREADABLE

UNDECODABLE = (*UNREADABLE, RuntimeError)
MOST_AT_ONE_PLACE = 4  # images that are compared; more are time points or echoes

Place = tuple[int, int, int]
Copy = tuple[Header, Header]  # the image that is left out, and the one that stays


def without_copies(headers: Sequence[Header]) -> tuple[list[Header], list[Copy]]:
    """Keep one of several images with the same pixels at the same place.

    The image with the lowest instance number stays. Nothing is left out unless every place with
    several images is left with one: otherwise the series holds several volumes.
    """
    copies: list[Copy] = []
    for images in _by_place(sorted(headers, key=_order)):
        if len(images) > MOST_AT_ONE_PLACE:
            return list(headers), []
        for image in images[1:]:
            if not _is_copy(image, images[0]):
                return list(headers), []
            copies.append((image, images[0]))
    if not copies:
        return list(headers), []
    left_out = {id(image) for image, _ in copies}
    return [header for header in headers if id(header) not in left_out], copies


def _is_copy(image: Header, first: Header) -> bool:
    """Compare the attributes that distinguish volumes, the units and the pixels.

    Both images have one direction and spacing within the tolerances.
    """
    if _sort_of(image) != _sort_of(first):
        return False
    try:
        return _pixel_digest(image) == _pixel_digest(first)
    except UNDECODABLE:
        return False


def _sort_of(header: Header) -> tuple[object, ...]:
    return (
        header.echo_time_ms,
        header.temporal_position,
        header.complex_component,
        header.b_value,
        header.image_type,
        _units_of(header),
        _format_of(header),
        header.frame_of_reference_uid,
    )


def _units_of(header: Header) -> Units:
    """Return the units of an image; of CT, an absent Rescale Type means HU."""
    is_hounsfield = is_ct(header) and not header.units.rescale_type
    return msgspec.structs.replace(header.units, rescale_type=HU) if is_hounsfield else header.units


def _format_of(header: Header) -> PixelFormat:
    """Return the pixel format; an absent High Bit is the last of the stored bits."""
    pixels = header.pixels
    if pixels.high_bit is None and pixels.bits_stored is not None:
        return msgspec.structs.replace(pixels, high_bit=pixels.bits_stored - 1)
    return pixels


def _pixel_digest(header: Header) -> str:
    stat = header.path.stat()
    return _digest_of(header.path, header.frame or 1, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, frame: int, _mtime_ns: int, _size: int) -> str:
    image = pydicom.dcmread(source_of(read_dataset(path), path))
    if problem := problem_of(image):
        raise ValueError(problem)
    decoder = get_decoder(UID(image.file_meta.TransferSyntaxUID))
    stored, _ = decoder.as_array(image, index=frame - 1)
    digest = hashlib.sha256(repr((stored.shape, stored.dtype.str)).encode())
    digest.update(np.ascontiguousarray(stored).tobytes())
    return digest.hexdigest()


def _by_place(headers: Sequence[Header]) -> list[list[Header]]:
    """Group images whose positions differ by rounding at most; the order within a group stays."""
    groups: dict[Place, list[Header]] = {}
    for header in headers:
        assert header.position_mm is not None
        x, y, z = (round(value / SAME_PLACE_MM) for value in header.position_mm)
        near = [(x + i, y + j, z + k) for i, j, k in product((0, -1, 1), repeat=3)]
        place = next((cell for cell in near if cell in groups), (x, y, z))
        groups.setdefault(place, []).append(header)
    return list(groups.values())


def _order(header: Header) -> tuple[float, str, int]:
    number = header.instance_number
    return (
        float("inf") if number is None else number,
        header.sop_instance_uid,
        header.frame or 0,
    )
