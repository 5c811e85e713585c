"""Read the pixels of a surveyed series as one float32 volume.

Guarantees: each slice gets its own rescale; the values are those of the modality (HU, MR signal);
each file is opened once, each frame is decoded once, and memory holds the stored pixels of one file
at a time. MONOCHROME1 makes a screen show low values bright (PS3.3 C.7.6.3.1.2). It does not change
the values, so neither HU nor MR signal is inverted.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, get_decoder
from pydicom.uid import UID

from node.errors import Conflicting, UndecodablePixels
from node.imaging import Volume
from node.series.frames import functional_group, headers_of
from node.series.header import Header, read_dataset
from node.series.survey import Survey, survey
from node.series.values import UNREADABLE

FloatArray = npt.NDArray[np.float32]
Stored = npt.NDArray[np.integer]
Slice = tuple[FloatArray, npt.NDArray[np.bool_] | None]  # values, mask of padding pixels

# exceptions of pydicom and its decoders for damaged or unknown pixel data
UNDECODABLE = (*UNREADABLE, RuntimeError, MemoryError)

PIXEL_TAGS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "RescaleIntercept", "RescaleSlope", "ModalityLUTSequence",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelData",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Series:
    """A volume, its survey, and the source datasets from which results inherit."""

    volume: Volume
    survey: Survey
    datasets: tuple[Dataset, ...]  # one per slice, without pixels; copy before changing one


def read(paths: Sequence[Path]) -> Series:
    """Read the instances of one series, in any order, as one volume.

    Raises:
        Unsuitable: as `survey` does, or `UndecodablePixels` with the transfer syntax.
    """
    read_once = {path: read_dataset(path) for path in paths}
    headers = [
        header for path, dataset in read_once.items() for header in headers_of(dataset, path)
    ]
    found = survey(headers)
    datasets = tuple(read_once[header.path] for header in found.headers)
    _refuse_other_copies(found, headers)
    array = _pixels(found, read_once)
    return Series(Volume(array, found.grid), found, datasets)


def _refuse_other_copies(found: Survey, headers: Sequence[Header]) -> None:
    """Compare the bytes of files with one instance UID; equal headers may have other pixels."""
    kept = {header.sop_instance_uid: header.path for header in found.headers}
    for uid, path in {(header.sop_instance_uid, header.path) for header in headers}:
        first = kept.get(uid, path)
        if first != path and first.read_bytes() != path.read_bytes():
            message = "two files with different content have one SOP Instance UID"
            advice = "Find out which file is right, and send that one alone."
            raise Conflicting(message, advice=advice)


def _pixels(found: Survey, datasets: Mapping[Path, Dataset]) -> FloatArray:
    slices = _slices(found, datasets)
    first = next(slices)
    # allocated after the first slice: a header may claim a size that its pixels do not have
    array = np.empty(found.grid.shape, np.float32)
    padding: dict[int, npt.NDArray[np.bool_]] = {}
    for at, (values, padded) in chain((first,), slices):
        array[at] = values
        if padded is not None:
            padding[at] = padded
    if padding:
        _fill(array, padding)
    return array


def _slices(found: Survey, datasets: Mapping[Path, Dataset]) -> Iterator[tuple[int, Slice]]:
    """Yield each slice with its index in the volume, file by file."""
    files: dict[Path, dict[int, int]] = defaultdict(dict)  # frame number -> index in the volume
    for at, header in enumerate(found.headers):
        files[header.path][header.frame or 1] = at
    for path, places in files.items():
        for frame, one in _slices_of_file(
            {frame: found.headers[at] for frame, at in places.items()}, datasets[path]
        ):
            yield places[frame], one


def _slices_of_file(headers: Mapping[int, Header], dataset: Dataset) -> Iterator[tuple[int, Slice]]:
    """Yield the slices of one file by frame number; `dataset` holds the elements before them."""
    number, last = 1, max(headers)
    try:
        image = pydicom.dcmread(headers[last].path, specific_tags=PIXEL_TAGS)
        decoder = get_decoder(UID(image.file_meta.TransferSyntaxUID))
        # unused bits are cleared below, because padding values may need them
        for stored, _ in decoder.iter_array(image, correct_unused_bits=False):
            if number in headers:
                yield number, _one_slice(headers[number], stored, image, dataset)
            if number == last:
                return
            number += 1
    except UNDECODABLE as exc:
        raise _undecodable(headers.get(number, headers[last]), type(exc).__name__) from exc
    raise _undecodable(headers[last], f"there are {number - 1} frames")


def _one_slice(header: Header, stored: Stored, image: Dataset, dataset: Dataset) -> Slice:
    """Return the modality values of one slice, and the mask of its padding pixels."""
    raw, stored = stored, _without_unused_bits(stored, image)
    transformation = (
        image
        if header.frame is None
        else functional_group(dataset, header.frame, "PixelValueTransformationSequence")
    )
    values = _rescaled(stored, transformation)
    padded = _padded((stored, raw), image)
    if values.shape != (header.rows, header.columns):
        raise _undecodable(header, f"{values.shape} values for another size")
    if not np.isfinite(values).all():
        raise _undecodable(header, "values that are not finite")
    # in MR, zero means no signal, as around the head; z-scores of nonzero voxels rely on that
    if padded is not None and header.modality != "CT" and not values[padded].any():
        padded = None
    return values, padded


def _undecodable(header: Header, why: str) -> UndecodablePixels:
    syntax = UID(header.transfer_syntax_uid)
    number = "?" if header.instance_number is None else header.instance_number
    which = f"image {number}" if header.frame is None else f"frame {header.frame} of image {number}"
    message = f"the pixels of {which} cannot be decoded from {syntax.name} ({why})"
    return UndecodablePixels(message, advice="Send the series again, uncompressed if possible.")


def _without_unused_bits(stored: Stored, dataset: Dataset) -> Stored:
    """Clear the bits above the stored ones, where old scanners keep overlays."""
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


def _padded(samples: Sequence[Stored], dataset: Dataset) -> npt.NDArray[np.bool_] | None:
    """Mark padding pixels (PS3.3 C.7.5.1.1.2); the padding value may have the wrong sign.

    It may also need more bits than are stored, so the unmasked samples are compared too.
    """
    value = dataset.get("PixelPaddingValue")
    if value is None or value == "":
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_as_stored(int(v), dataset) for v in (value, limit) if v not in (None, ""))
    padded = np.any([(one >= ends[0]) & (one <= ends[-1]) for one in samples], axis=0)
    return padded if padded.any() else None


def _as_stored(value: int, dataset: Dataset) -> int:
    allocated = int(dataset.BitsAllocated)
    value &= (1 << allocated) - 1
    is_negative = dataset.PixelRepresentation == 1 and value >> (allocated - 1)
    return value - (1 << allocated) if is_negative else value


def _fill(array: FloatArray, padding: dict[int, npt.NDArray[np.bool_]]) -> None:
    """Set padding to the lowest value of all other pixels: padding lies outside the patient."""
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
