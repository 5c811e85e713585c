"""What one instance says about itself, without its pixels.

Promises: a header is read from any Part 10 file, however odd its values; what cannot be understood
is absent, never guessed. Of the patient only a digest is kept.
Leaves to `survey`: whether the instances make a volume.
"""

import errno
import hashlib
import math
import re
import struct
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import Tag

from node.errors import NotAnImage

# pydicom's warnings about odd values quote the value, which may be a patient's name or birth date;
# `node.seg.repair` validates what a result inherits by itself
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE

# what pydicom raises for a value that its VR does not allow, and for a file that is no DICOM
UNPARSABLE = (
    ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError,
    BytesLengthException,
)  # fmt: skip
UNREADABLE = (*UNPARSABLE, InvalidDicomError, OSError, EOFError, struct.error)

# say something about this machine, not about the image: a disk or share in trouble, wrong rights
PASSING = (
    errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ESTALE,
    errno.ETIMEDOUT, errno.EBUSY, errno.ENXIO, errno.EACCES, errno.EPERM,
)  # fmt: skip

UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")  # zeros in front are wrong, common and harmless

# standard, Siemens and GE: PS3.3 C.8.13.5.9; the private ones are documented by the vendors
B_VALUE_TAGS = (Tag(0x0018, 0x9087), Tag(0x0019, 0x100C), Tag(0x0043, 0x1039))
GE_B_VALUE_OFFSET = 1e9  # GE adds this to b-values of some software versions
LARGEST_B_VALUE = 1e5  # s/mm²; what is larger is some other number in a private element

Vector = tuple[float, ...]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """One instance without its pixels; lengths in mm, `orientation` as row then column cosines."""

    path: Path
    sop_instance_uid: str
    sop_class_uid: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str | None = None
    transfer_syntax_uid: str = ""
    modality: str = ""
    manufacturer: str = ""
    rows: int | None = None
    columns: int | None = None
    samples_per_pixel: int = 1
    position_mm: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None  # between rows, between columns
    slice_thickness_mm: float | None = None
    image_type: tuple[str, ...] = ()
    source_ae: str = ""  # who sent it to the node that stored it; of the file, not of the image
    series_description: str = ""
    protocol_name: str = ""
    body_part: str = ""
    series_number: int | None = None
    instance_number: int | None = None
    number_of_frames: int = 1
    expected_instances: int | None = None  # of the whole series, where the sender says so
    echo_time_ms: float | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    b_value: float | None = None  # s/mm²
    patient_digest: str  # SHA-256 of PatientID and its issuer: shows conflicts, not identities


def read_header(path: Path) -> Header:
    """Read the header of one Part 10 file.

    Raises:
        NotAnImage: the file is no DICOM object, is cut off, or lacks one of its four UIDs.
    """
    return header_of(read_dataset(path), path)


def read_dataset(path: Path) -> Dataset:
    """Read everything before the pixels.

    Raises:
        NotAnImage: the file is no DICOM object, or is cut off.
        OSError: of `PASSING`; trying again may work.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno in PASSING:
            raise
        message = f"a file is no readable DICOM object ({type(exc).__name__})"
        raise NotAnImage(message, advice="Send the image again from its source.") from exc


def header_of(dataset: Dataset, path: Path) -> Header:
    """Return what `dataset`, which came from `path`, says about itself.

    Raises:
        NotAnImage: it lacks one of its four UIDs.
    """
    return Header(
        path=path,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        study_uid=_uid(dataset, "StudyInstanceUID"),
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_frame_of_reference(dataset),
        transfer_syntax_uid=_text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID"),
        source_ae=_text(getattr(dataset, "file_meta", Dataset()), "SourceApplicationEntityTitle"),
        modality=_text(dataset, "Modality"),
        manufacturer=_text(dataset, "Manufacturer"),
        rows=_whole(dataset, "Rows"),
        columns=_whole(dataset, "Columns"),
        samples_per_pixel=_whole(dataset, "SamplesPerPixel") or 1,
        position_mm=_vector(dataset, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        orientation=_vector(dataset, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        pixel_spacing_mm=_vector(dataset, "PixelSpacing", 2),  # type: ignore[arg-type]
        slice_thickness_mm=_number(dataset, "SliceThickness"),
        image_type=tuple(part.strip().upper() for part in _texts(dataset, "ImageType")),
        series_description=_text(dataset, "SeriesDescription"),
        protocol_name=_text(dataset, "ProtocolName"),
        body_part=_text(dataset, "BodyPartExamined"),
        series_number=_whole(dataset, "SeriesNumber"),
        instance_number=_whole(dataset, "InstanceNumber"),
        number_of_frames=_whole(dataset, "NumberOfFrames") or 1,
        expected_instances=_expected(dataset),
        echo_time_ms=_number(dataset, "EchoTime"),
        acquisition_number=_whole(dataset, "AcquisitionNumber"),
        temporal_position=_whole(dataset, "TemporalPositionIdentifier"),
        b_value=_b_value(dataset),
        patient_digest=_patient_digest(dataset),
    )


def _uid(dataset: Dataset, keyword: str) -> str:
    uid = _text(dataset, keyword)
    if not UID.fullmatch(uid):
        message = f"an instance has {'an invalid' if uid else 'no'} {keyword}"
        raise NotAnImage(message, advice="Send the original images: these were altered.")
    return uid


def _frame_of_reference(dataset: Dataset) -> str | None:
    uid = _text(dataset, "FrameOfReferenceUID")
    return uid if UID.fullmatch(uid) else None


def _value(dataset: Dataset, keyword: str) -> object:
    try:
        return dataset.get(keyword)
    except UNPARSABLE:  # such as letters in a number
        return None


def _texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    value = _value(dataset, keyword)
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        return (str(value),)
    return tuple(str(part) for part in value)


def _text(dataset: Dataset, keyword: str) -> str:
    return "\\".join(_texts(dataset, keyword)).strip(" \0")


def _vector(dataset: Dataset, keyword: str, length: int) -> Vector | None:
    try:
        numbers = tuple(float(part) for part in _texts(dataset, keyword))
    except ValueError:
        return None
    whole = len(numbers) == length and all(math.isfinite(number) for number in numbers)
    return numbers if whole else None


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = _vector(dataset, keyword, 1)
    return found[0] if found else None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    number = _number(dataset, keyword)
    return int(number) if number is not None and number == int(number) else None


def _expected(dataset: Dataset) -> int | None:
    """How many instances the series has, if its sender says so; 0 and less say nothing."""
    for keyword in ("NumberOfSeriesRelatedInstances", "ImagesInAcquisition"):
        count = _whole(dataset, keyword)
        if count is not None and count > 0:
            return count
    return None


def _b_value(dataset: Dataset) -> float | None:
    for tag in B_VALUE_TAGS:
        try:
            value = dataset[tag].value if tag in dataset else None
            first = value if isinstance(value, str | int | float) else value[0] if value else None
            number = float(first) if first is not None else math.nan
        except UNPARSABLE:
            continue
        number %= GE_B_VALUE_OFFSET
        if 0 <= number <= LARGEST_B_VALUE:
            return number
    return None


def _patient_digest(dataset: Dataset) -> str:
    parts = (_text(dataset, "PatientID"), _text(dataset, "IssuerOfPatientID"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
