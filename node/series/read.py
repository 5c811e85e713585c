"""Read the pixels of a surveyed series as one float32 volume.

Guarantees: each slice gets its own rescale; the values are those of the modality (HU, MR signal);
each file is parsed once, each frame is decoded once, and memory holds the stored pixels of one file
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
from pydicom.uid import UID, UncompressedTransferSyntaxes

from node.caveats import Caveat, CaveatCode
from node.errors import VERSIONS_ADVICE, Conflicting, UndecodablePixels, WrongUnits
from node.imaging import Volume
from node.series.codestream import problem_of
from node.series.copies import same_image
from node.series.frames import functional_group, headers_of
from node.series.header import Header, read_instance
from node.series.kinds import derived_as
from node.series.meaning import is_ct
from node.series.native import length_problem, native_samples
from node.series.padding import fill_padding
from node.series.source import source_of
from node.series.stored import Padding, Stored, overlay_bits, padding_of, stored_values
from node.series.survey import Survey, survey
from node.series.values import UNREADABLE

FloatArray = npt.NDArray[np.float32]

# exceptions of pydicom and its decoders for damaged or unknown pixel data
UNDECODABLE = (*UNREADABLE, RuntimeError, MemoryError)

MOST_HU = 32767.0  # no CT has more, even of metal
MOST_PADDING_VALUES = 16  # of a slice: padding without its attribute has one value, air has many
ODD_PIXELS = (
    "had bits outside Bits Stored; the bits were cleared, and the values may be wrong",
    "are negative by Pixel Representation, but stored like positive values; they may be wrong",
    f"are above {MOST_HU:g} HU; Pixel Representation or the rescale may be wrong",
)

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
    caveats: tuple[Caveat, ...] = ()  # what a reader of a result must know about the source

    @property
    def identifying_at(self) -> int:
        """The first slice with a Patient ID and an accession number, else with the first of them.

        A result inherits its identity.
        """
        known = [(bool(h.patient_digest), bool(h.study.accession_number)) for h in self.headers]
        return known.index(max(known))

    @property
    def identifying(self) -> Dataset:
        """The header of the slice `identifying_at`."""
        return self.datasets[self.identifying_at]

    @property
    def headers(self) -> tuple[Header, ...]:
        """The slices in the order of the array."""
        return self.survey.headers


@dataclass(frozen=True, eq=False)
class _Slice:
    """The modality values of one slice, and its unusual pixels."""

    values: FloatArray
    padding: Padding | None
    odd: tuple[int, ...]  # number of pixels by the sorts of `ODD_PIXELS`


def read(paths: Sequence[Path]) -> Series:
    """Read the instances of one series, in any order, as one volume.

    Raises:
        Unsuitable: as `survey` does, or `UndecodablePixels` with the transfer syntax.
    """
    read_once: dict[Path, Dataset] = {}
    headers: list[Header] = []
    for path in paths:
        dataset, pixel_element = read_instance(path)
        read_once[path] = dataset
        headers += headers_of(dataset, path, pixel_element)
    surveyed = survey(headers)
    datasets = tuple(read_once[header.path] for header in surveyed.headers)
    _refuse_other_copies(surveyed, headers)
    array, caveats = _pixels(surveyed, read_once)
    return Series(
        Volume(array, surveyed.grid), surveyed, datasets, (*caveats, *_origin(surveyed.headers))
    )


def _origin(headers: Sequence[Header]) -> Iterator[Caveat]:
    """Yield caveats about how the source images were made."""
    if derived := derived_as(headers):
        yield Caveat(CaveatCode.DERIVED, f"Derived input: {derived}")
    lossy = sum(header.lossy for header in headers)
    if lossy:
        text = f"Lossy source: {lossy} of {len(headers)} source images were compressed with loss"
        yield Caveat(CaveatCode.LOSSY, text)


def _refuse_other_copies(surveyed: Survey, headers: Sequence[Header]) -> None:
    """Compare files with one instance UID; equal headers may have other pixels."""
    surveyed_paths = {header.sop_instance_uid: header.path for header in surveyed.headers}
    for uid, path in {(header.sop_instance_uid, header.path) for header in headers}:
        first = surveyed_paths.get(uid, path)
        if first == path or first.read_bytes() == path.read_bytes():
            continue
        if not same_image(first, path):
            message = "two files with different content have one SOP Instance UID"
            raise Conflicting(message, advice=VERSIONS_ADVICE)


def _pixels(surveyed: Survey, datasets: Mapping[Path, Dataset]) -> tuple[FloatArray, list[Caveat]]:
    slices = _slices(surveyed, datasets)
    first = next(slices)
    # allocated after the first slice: a header may claim a size that its pixels do not have
    array = np.empty(surveyed.grid.shape, np.float32)
    padding: dict[int, Padding] = {}
    odd: list[tuple[int, ...]] = []
    for at, one in chain((first,), slices):
        array[at] = one.values
        if one.padding is not None:
            padding[at] = one.padding
        odd.append(one.odd)
    caveats = list(_about_bits(odd))
    if padding:
        is_hounsfield = is_ct(surveyed.headers[0])
        if text := fill_padding(array, padding, are_hounsfield=is_hounsfield):
            caveats.append(Caveat(CaveatCode.PADDING, text))
    return array, caveats


def _about_bits(slices: Sequence[tuple[int, ...]]) -> Iterator[Caveat]:
    """Yield the caveat about odd pixels, from the numbers of each sort by slice."""
    texts = []
    for text, numbers in zip(ODD_PIXELS, zip(*slices, strict=True), strict=True):
        images = sum(number > 0 for number in numbers)
        if images:
            texts.append(f"{sum(numbers)} pixels of {images} images {text}")
    if texts:
        yield Caveat(CaveatCode.BITS, "; ".join(texts))


def _slices(surveyed: Survey, datasets: Mapping[Path, Dataset]) -> Iterator[tuple[int, _Slice]]:
    """Yield each slice with its index in the volume, file by file."""
    files: dict[Path, dict[int, int]] = defaultdict(dict)  # frame number -> index in the volume
    for at, header in enumerate(surveyed.headers):
        files[header.path][header.frame or 1] = at
    for path, places in files.items():
        for frame, one in _slices_of_file(
            {frame: surveyed.headers[at] for frame, at in places.items()}, datasets[path]
        ):
            yield places[frame], one


def _slices_of_file(
    headers: Mapping[int, Header], dataset: Dataset
) -> Iterator[tuple[int, _Slice]]:
    """Yield the slices of one file by frame number; `dataset` holds the elements before them."""
    number, last = 1, max(headers)
    try:
        samples = native_samples(headers[last], dataset)
        if samples is not None:
            yield last, _one_slice(headers[last], samples, dataset, dataset)
            return
        image = pydicom.dcmread(source_of(dataset, headers[last].path), specific_tags=PIXEL_TAGS)
        # the decoder accepts only upper case
        image.PhotometricInterpretation = headers[last].pixels.photometric
        if "NumberOfFrames" in image and not image.NumberOfFrames:
            del image.NumberOfFrames  # blank: the decoder would refuse it
        _refuse_other_sizes(headers, image)
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


def _refuse_other_sizes(headers: Mapping[int, Header], image: Dataset) -> None:
    """Refuse pixels whose frames or length do not fit the header, before they are decoded."""
    if problem := problem_of(image):
        raise _undecodable(headers[max(headers)], problem)
    if problem := length_problem(image):
        raise _undecodable(headers[min(headers)], problem)


def _one_slice(header: Header, raw: Stored, image: Dataset, dataset: Dataset) -> _Slice:
    """Return the modality values of one slice, and its unusual pixels."""
    overlays = overlay_bits(dataset, header.pixels)
    stored = stored_values(raw, header.pixels, image.file_meta.TransferSyntaxUID, overlays)
    transformation = (
        image
        if header.frame is None
        else functional_group(dataset, header.frame, "PixelValueTransformationSequence")
    )
    values = _rescaled(stored.values, transformation)
    padding = padding_of(raw, stored.values, image)
    if values.shape != (header.rows, header.columns):
        raise _undecodable(header, f"{values.shape} values for another size")
    if not np.isfinite(values).all():
        raise _undecodable(header, "values that are not finite")
    # in MR, zero means no signal, as around the head; z-scores of nonzero voxels rely on that
    impossible = values > MOST_HU if is_ct(header) else None
    masks = [
        None if mask is None else mask if padding is None else mask & ~padding.mask
        for mask in (stored.cleared, stored.unsure, impossible)
    ]
    if masks[-1] is not None and masks[-1].any():
        _refuse_wrong_sign(header, values[masks[-1]])
    odd = tuple(0 if mask is None else int(mask.sum()) for mask in masks)
    if padding is not None and not is_ct(header) and not values[padding.mask].any():
        padding = None
    return _Slice(values, padding, odd)


def _refuse_wrong_sign(header: Header, impossible: FloatArray) -> None:
    """Refuse a slice whose values above those of any CT are no padding."""
    count = len(np.unique(impossible))
    if count > MOST_PADDING_VALUES:
        message = f"{_named(header)} has {count} different values above {MOST_HU:g} HU"
        advice = (
            "Send the series again from its source: Pixel Representation or the rescale is wrong."
        )
        raise WrongUnits(message, advice=advice)


def _named(header: Header) -> str:
    number = "?" if header.instance_number is None else header.instance_number
    return f"image {number}" if header.frame is None else f"frame {header.frame} of image {number}"


def _undecodable(header: Header, why: str) -> UndecodablePixels:
    syntax = UID(header.transfer_syntax_uid)
    message = f"the pixels of {_named(header)} cannot be decoded from {syntax.name} ({why})"
    advice = "Send the series again from its source: its pixels are cut, or its header is wrong."
    if syntax not in UncompressedTransferSyntaxes:
        advice = "Send the series again, uncompressed if possible."
    return UndecodablePixels(message, advice=advice)


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
    values = np.multiply(stored, slope, dtype=np.float64)
    values += intercept
    return values.astype(np.float32)
