"""Pixels of a surveyed series as one float32 volume.

Promises: each slice gets its own rescale; the values are those of the modality (HU, MR signal).
MONOCHROME1 tells a screen to show low values bright (PS3.3 C.7.6.3.1.2); it says nothing about the
values, so nothing is inverted, neither HU nor MR signal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import UID

from node.errors import Conflicting, UndecodablePixels
from node.imaging import Volume
from node.series.header import UNREADABLE, Header, header_of, read_dataset
from node.series.survey import Survey, survey

FloatArray = npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer]
Slice = tuple[FloatArray, npt.NDArray[np.bool_] | None]

# what pydicom and its decoders raise for damaged or unknown pixel data
UNDECODABLE = (*UNREADABLE, RuntimeError, MemoryError)

PIXEL_TAGS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Series:
    """A volume, where it came from, and the headers to build results upon."""

    volume: Volume
    survey: Survey
    datasets: tuple[Dataset, ...]  # without pixels, in slice order; copy before you change one


def read(paths: Sequence[Path]) -> Series:
    """Read the instances of one series, in any order, as one volume.

    Raises:
        Unsuitable: what `survey` raises, and `UndecodablePixels` naming the transfer syntax.
    """
    read_once = {path: read_dataset(path) for path in paths}
    headers = [header_of(dataset, path) for path, dataset in read_once.items()]
    found = survey(headers)
    datasets = tuple(read_once[header.path] for header in found.headers)
    _refuse_other_copies(found, headers)
    array = _pixels(found)
    return Series(Volume(array, found.grid), found, datasets)


def _refuse_other_copies(found: Survey, headers: Sequence[Header]) -> None:
    """Compare the bytes of files that carry the same instance UID; equal headers prove little."""
    kept = {header.sop_instance_uid: header.path for header in found.headers}
    for header in headers:
        twin = kept.get(header.sop_instance_uid, header.path)
        if twin != header.path and twin.read_bytes() != header.path.read_bytes():
            message = "one SOP Instance UID stands on two files with different content"
            raise Conflicting(message, advice="Ask which of them is right, and send it alone.")


def _pixels(found: Survey) -> FloatArray:
    slices = (_one_slice(header) for header in found.headers)
    first, first_padding = next(slices)
    # only now: a header can claim a size that its pixels do not have
    array = np.empty(found.grid.shape, np.float32)
    padding: dict[int, npt.NDArray[np.bool_]] = {}
    for at, (values, padded) in enumerate(_chain((first, first_padding), slices)):
        array[at] = values
        if padded is not None:
            padding[at] = padded
    if padding:
        _fill(array, padding)
    return array


def _chain(first: Slice, rest: Iterable[Slice]) -> Iterable[Slice]:
    yield first
    yield from rest


def _one_slice(header: Header) -> tuple[FloatArray, npt.NDArray[np.bool_] | None]:
    """Return the modality values of one slice, and which of its pixels are padding."""
    try:
        dataset = pydicom.dcmread(header.path, specific_tags=PIXEL_TAGS)
        stored = _without_unused_bits(dataset.pixel_array, dataset)
        values = _rescaled(stored, dataset)
        padded = _padded(stored, dataset)
    except UNDECODABLE as exc:
        raise _undecodable(header, type(exc).__name__) from exc
    if values.shape != (header.rows, header.columns):
        raise _undecodable(header, f"{values.shape} values for another size")
    if not np.isfinite(values).all():
        raise _undecodable(header, "values that are not finite")
    # zero is no signal in MR, as it is around the head; z-scores of nonzero voxels rely on it
    if padded is not None and header.modality != "CT" and not values[padded].any():
        padded = None
    return values, padded


def _undecodable(header: Header, why: str) -> UndecodablePixels:
    syntax = UID(header.transfer_syntax_uid)
    number = "?" if header.instance_number is None else header.instance_number
    message = f"the pixels of image {number} cannot be decoded from {syntax.name} ({why})"
    return UndecodablePixels(message, advice="Send the series again, uncompressed if possible.")


def _without_unused_bits(stored: Stored, dataset: Dataset) -> Stored:
    """Clear what old scanners keep above the stored bits, such as overlays."""
    bits = int(dataset.BitsStored)
    if bits == int(dataset.BitsAllocated):
        return stored
    values = stored.astype(np.int64)
    if dataset.PixelRepresentation == 1:
        return (values << (64 - bits)) >> (64 - bits)
    return values & ((1 << bits) - 1)


def _rescaled(stored: Stored, dataset: Dataset) -> FloatArray:
    if dataset.get("ModalityLUTSequence"):
        table = apply_modality_lut(stored, dataset)
        return np.asarray(table, np.float32)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    slope = 1.0 if slope in (None, "") else float(slope)
    intercept = 0.0 if intercept in (None, "") else float(intercept)
    if slope == 0:
        message = "a rescale slope of 0"
        raise ValueError(message)
    if (slope, intercept) == (1.0, 0.0):
        return stored.astype(np.float32)
    return (stored * slope + intercept).astype(np.float32)


def _padded(stored: Stored, dataset: Dataset) -> npt.NDArray[np.bool_] | None:
    """Mark padding pixels (PS3.3 C.7.5.1.1.2); the value may come with the wrong sign."""
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(v), dataset) for v in (value, limit) if v not in (None, ""))
    padded = (stored >= ends[0]) & (stored <= ends[-1])
    return padded if padded.any() else None


def _as_stored(value: int, dataset: Dataset) -> int:
    allocated = int(dataset.BitsAllocated)
    value &= (1 << allocated) - 1
    is_negative = dataset.PixelRepresentation == 1 and value >> (allocated - 1)
    return value - (1 << allocated) if is_negative else value


def _fill(array: FloatArray, padding: dict[int, npt.NDArray[np.bool_]]) -> None:
    """Give padding the lowest value that was measured: it lies outside the patient."""
    lowest = min(
        (
            float(values[~padding[at]].min() if at in padding else values.min())
            for at, values in enumerate(array)
            if at not in padding or not padding[at].all()
        ),
        default=0.0,
    )
    for at, padded in padding.items():
        array[at][padded] = lowest
