"""Which bits of a stored pixel are its value, and which pixels are padding (PS3.5 8.1.1, PS3.3)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import UID, RLELossless

from node.series.pixel_format import PixelFormat
from node.series.values import whole_number

Stored = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True, eq=False)
class StoredValues:
    """The values of one frame, and the masks of unusual pixels."""

    values: Stored
    cleared: Mask | None  # bits outside Bits Stored were set, and no overlay explains them
    unsure: Mask | None = None  # negative by the highest stored bit alone, as no int16 would be


@dataclass(frozen=True, eq=False)
class Padding:
    """The pixels of one frame that hold the padding value."""

    mask: Mask
    is_certain: bool  # no image value can equal the padding value
    is_range: bool = False  # pixels with several values are marked


def stored_values(samples: Stored, pixels: PixelFormat, syntax: UID, overlays: int) -> StoredValues:
    """Take the bits up to High Bit, as many as Bits Stored, and extend the sign.

    Args:
        samples: decoded pixel cells.
        pixels: the format; checked by `meaning.check_pixel_format`.
        syntax: transfer syntax; High Bit counts in pixel cells only, not in JPEG code streams.
        overlays: mask of the bits of a cell that hold overlay planes.
    """
    allocated, bits = pixels.bits_allocated, pixels.bits_stored
    assert allocated is not None
    assert bits is not None
    if bits == allocated:
        return StoredValues(samples, None)
    if _are_plain(samples, pixels):
        return StoredValues(samples, None)
    has_cells = not syntax.is_encapsulated or syntax == RLELossless
    high = bits - 1 if pixels.high_bit is None or not has_cells else pixels.high_bit
    shift, is_signed = high + 1 - bits, pixels.representation == 1
    wide = samples.astype(np.int64)
    if is_signed:
        values = (wide << (64 - bits - shift)) >> (64 - bits)
    else:
        values = (wide >> shift) & ((1 << bits) - 1)
    cells = wide & ((1 << allocated) - 1)
    cleared = (cells & ~overlays) >> (high + 1) != 0
    if is_signed:  # copies of the sign above High Bit belong to the value
        ones = (1 << (allocated - high - 1)) - 1
        cleared &= ((cells | overlays) >> (high + 1) != ones) | (values >= 0)
    cleared |= (cells & ~overlays & ((1 << shift) - 1)) != 0
    unsure = None
    if is_signed and has_cells and high + 1 < allocated:  # code streams hold no such bits
        unsure = (values < 0) & ((cells & ~overlays) >> (high + 1) == 0)
    return StoredValues(values, _if_any(cleared), _if_any(unsure))


def _if_any(mask: Mask | None) -> Mask | None:
    return mask if mask is not None and mask.any() else None


def _are_plain(samples: Stored, pixels: PixelFormat) -> bool:
    """Return whether the samples are the values: no shift, and no bit above the stored ones."""
    assert pixels.bits_stored is not None
    if pixels.high_bit not in (None, pixels.bits_stored - 1):
        return False
    if pixels.representation == 1:
        most = (1 << (pixels.bits_stored - 1)) - 1
        return bool(samples.min() >= -most - 1 and samples.max() <= most)
    return bool(samples.max() < 1 << pixels.bits_stored)


def overlay_bits(dataset: Dataset, pixels: PixelFormat) -> int:
    """Return the mask of the bits that overlay planes use inside pixel cells (PS3.3 C.9.2)."""
    mask = 0
    for group in OVERLAY_GROUPS:
        position = _number(dataset, group, 0x0102)
        is_embedded = _number(dataset, group, 0x0100) == pixels.bits_allocated
        if is_embedded and position is not None and 0 < position < 64:
            mask |= 1 << position
    return mask


def padding_of(raw: Stored, values: Stored, image: Dataset) -> Padding | None:
    """Mark padding pixels (PS3.3 C.7.5.1.1.2); the padding value may have the wrong sign.

    It may also need more bits than are stored, so the unmasked samples `raw` are compared too.
    """
    written = [whole_number(image, "PixelPaddingValue")]
    if written[0] is None:
        return None
    written.append(whole_number(image, "PixelPaddingRangeLimit"))
    ends = sorted(_as_stored(value, image) for value in written if value is not None)
    low, high = ends[0], ends[-1]
    mask = (values >= low) & (values <= high)
    if raw is not values:
        mask |= (raw >= low) & (raw <= high)
    if not mask.any():
        return None
    bits = int(image.BitsStored)
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1)
    if image.PixelRepresentation == 0:
        least, most = 0, (1 << bits) - 1
    marked = values[mask]
    is_range = low != high and bool(marked.min() != marked.max())
    return Padding(mask, is_certain=high < least or low > most, is_range=is_range)


def _as_stored(value: int, image: Dataset) -> int:
    allocated = int(image.BitsAllocated)
    value &= (1 << allocated) - 1
    is_negative = image.PixelRepresentation == 1 and value >> (allocated - 1)
    return value - (1 << allocated) if is_negative else value


def _number(dataset: Dataset, group: int, element: int) -> int | None:
    entry = dataset.get((group, element))
    value = None if entry is None else entry.value
    return value if isinstance(value, int) else None
