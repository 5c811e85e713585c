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
from node.series.pixel_format import PixelFormat, format_problem
from node.series.source import source_of
from node.series.stack import SAME_PLACE_MM
from node.series.stored import overlay_bits, stored_values
from node.series.units import HU, Units
from node.series.values import UNREADABLE

UNDECODABLE = (*UNREADABLE, RuntimeError)
MOST_AT_ONE_PLACE = 16  # images that are compared; more are time points or echoes

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
    """Compare the attributes that distinguish volumes, the units and the stored values.

    Both images have one direction and spacing within the tolerances. Archives and converters change
    the bits in which a value is stored, and write a rescale that changes nothing.
    """
    if _sort_of(image) != _sort_of(first):
        return False
    if image.pixels != first.pixels and any(map(format_problem, (image.pixels, first.pixels))):
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
        _look_of(header.pixels),
        header.frame_of_reference_uid,
    )


def _units_of(header: Header) -> Units:
    """Return the units of an image; absent attributes have their usual meaning.

    Of CT, an absent Rescale Type means HU. Of other images, an absent rescale changes nothing.
    """
    units = header.units
    if is_ct(header):
        return units if units.rescale_type else msgspec.structs.replace(units, rescale_type=HU)
    return msgspec.structs.replace(
        units,
        has_slope=True,
        has_intercept=True,
        slope=units.slope if units.has_slope else 1.0,
        intercept=units.intercept if units.has_intercept else 0.0,
    )


def _look_of(pixels: PixelFormat) -> tuple[object, ...]:
    """Return how the pixels are shown, whatever the bits in which they are stored."""
    return pixels.data, pixels.samples_per_pixel, pixels.photometric, pixels.presentation


def _pixel_digest(header: Header) -> str:
    stat = header.path.stat()
    return _digest_of(header.path, header.frame or 1, header.pixels, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _digest_of(path: Path, frame: int, pixels: PixelFormat, _mtime_ns: int, _size: int) -> str:
    """Return a digest of the values of a frame."""
    image = pydicom.dcmread(source_of(read_dataset(path), path))
    if problem := problem_of(image):
        raise ValueError(problem)
    decoder = get_decoder(UID(image.file_meta.TransferSyntaxUID))
    samples, _ = decoder.as_array(image, index=frame - 1, correct_unused_bits=False)
    syntax = UID(image.file_meta.TransferSyntaxUID)
    values = stored_values(samples, pixels, syntax, overlay_bits(image, pixels)).values
    digest = hashlib.sha256(repr(values.shape).encode())
    digest.update(np.ascontiguousarray(values, dtype=np.int64).tobytes())
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
