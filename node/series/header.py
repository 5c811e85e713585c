"""Read the header of one instance, without its pixels.

Guarantees: any Part 10 file gives a header, however odd its values; a value that cannot be
understood is absent, never guessed; no name or birth date of a patient is kept.
`frames` reads the frames of multi-frame instances; `survey` decides whether they make a volume.
"""

import errno
import hashlib
from pathlib import Path
from typing import BinaryIO

import msgspec
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag

from node.dicom.uids import is_dotted_uid
from node.errors import NotAnImage, OversizedValue
from node.series.key_objects import KeyObject, key_object_of
from node.series.lossy import is_lossy
from node.series.patient_age import birth_day, patient_age_years
from node.series.pixel_format import PixelFormat, pixel_format_of
from node.series.shared import SharedBytes, shared_bytes
from node.series.source import readable_copy
from node.series.units import Units, units_of
from node.series.values import (
    UNREADABLE,
    b_value,
    code,
    codes,
    complex_component,
    derivation_codes,
    items,
    number,
    text,
    vector,
    whole_number,
)

# problems of this machine, not of the image: a failing disk or share, missing permissions
TRANSIENT_ERRNOS = (
    errno.EIO, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ESTALE,
    errno.ETIMEDOUT, errno.EBUSY, errno.ENXIO, errno.EACCES, errno.EPERM,
)  # fmt: skip

MOST_STUDY_TEXT = 64  # characters: SH and LO have no more (PS3.5 6.2)

PIXEL_ELEMENTS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}


MOST_KNOWN = 16  # series whose images arrive in turns
_KNOWN: dict[tuple[str, SharedBytes], "Header"] = {}


class StudyAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """What a person searches a study by, as written in a header; `repr` shows none of it."""

    accession_number: str = ""
    patient_id: str = ""
    study_date: str = ""  # eight digits

    def __repr__(self) -> str:
        return "StudyAttributes(...)"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The header of one slice: a single-frame instance, or one frame of a multi-frame instance.

    Lengths are in mm; `orientation` holds the cosines of the row, then those of the column.
    """

    path: Path
    sop_instance_uid: str
    frame: int | None = None  # from 1; None: the instance as a whole
    sop_class_uid: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str | None = None
    transfer_syntax_uid: str = ""
    modality: str = ""
    manufacturer: str = ""
    rows: int | None = None
    columns: int | None = None
    pixels: PixelFormat = PixelFormat()
    units: Units = Units()
    lossy: bool = False  # compressed with loss, now or before
    position_mm: tuple[float, float, float] | None = None
    orientation: tuple[float, float, float, float, float, float] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None  # between rows, between columns
    slice_thickness_mm: float | None = None
    derivations: tuple[str, ...] = ()  # codes of the Derivation Code Sequence
    image_type: tuple[str, ...] = ()  # of a frame: frame type, image type, calculation technique
    complex_component: str = ""  # such as MAGNITUDE or PHASE
    source_ae: str = ""  # AE title of the sender, from the file meta
    study_description: str = ""
    series_description: str = ""
    derivation_description: str = ""
    protocol_name: str = ""
    sequence_name: str = ""  # of an MR pulse sequence
    contrast_agent: str = ""
    station_name: str = ""
    body_part: str = ""
    patient_age_years: float | None = None
    series_number: int | None = None
    instance_number: int | None = None
    number_of_frames: int = 1  # of the whole instance
    frames_problem: str = ""  # why the frames of a multi-frame instance cannot be read separately
    expected_instances: int | None = None  # of the whole series, if the sender states it
    echo_time_ms: float | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    stack_id: str = ""
    b_value: float | None = None  # s/mm²
    study: StudyAttributes = StudyAttributes()
    key_object: KeyObject | None = None  # of a Key Object Selection document
    patient_digest: str  # SHA-256 of PatientID; empty if absent: compares patients without names
    issuer_digest: str = ""  # SHA-256 of IssuerOfPatientID; empty if absent, hence unknown
    birth_digest: str = ""  # SHA-256 of the birth date; empty if absent


def read_instance(path: Path) -> tuple[Dataset, str]:
    """Read all elements before the pixels; also return the keyword of the pixel element.

    The keyword is empty if the file has no pixels.

    Raises:
        NotAnImage: the file is no DICOM object, or is truncated.
        OSError: with an errno of `TRANSIENT_ERRNOS`; trying again may work.
    """
    problem: Exception | None = None
    read: tuple[Dataset, str] = (Dataset(), "")
    try:
        with path.open("rb") as file:
            read = _elements(file)
    except UNREADABLE as exc:
        if isinstance(exc, OSError) and exc.errno in TRANSIENT_ERRNOS:
            raise
        problem = exc
    copy = None if read[1] else readable_copy(path)
    try:
        if copy is not None:
            return _elements(copy)
    except UNREADABLE as exc:
        problem = exc
    if problem is not None:
        message = f"a file is no readable DICOM object ({type(problem).__name__})"
        raise NotAnImage(message, advice="Send the image again from its source.") from problem
    return read


def _elements(source: BinaryIO) -> tuple[Dataset, str]:
    """Read all elements before the pixels, and the keyword of the pixel element."""
    pixels: list[str] = []

    def at_pixels(tag: BaseTag, _vr: str | None, length: int) -> bool:
        if tag in PIXEL_ELEMENTS and length != 0:
            pixels.append(PIXEL_ELEMENTS[tag])
        return tag in PIXEL_ELEMENTS

    return read_partial(source, at_pixels), "".join(pixels)


def read_dataset(path: Path) -> Dataset:
    """Read all elements before the pixels, as `read_instance` does."""
    return read_instance(path)[0]


def header_of(dataset: Dataset, path: Path, pixel_element: str = "PixelData") -> Header:
    """Return the header of `dataset`, which was read from `path`, as one instance.

    The slices of a series share nearly all values: what an earlier instance with the same bytes in
    all elements of `SHARED` gave is used again.

    Raises:
        NotAnImage: the instance lacks one of its four UIDs.
    """
    shared = shared_bytes(dataset)
    known = _KNOWN.get((pixel_element, shared)) if shared else None
    if known is None:
        known = _decoded(dataset, path, pixel_element)
        if shared:
            while len(_KNOWN) >= MOST_KNOWN:
                _KNOWN.pop(next(iter(_KNOWN)), None)
            _KNOWN[pixel_element, shared] = known
        return known
    return msgspec.structs.replace(
        known,
        path=path,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        instance_number=whole_number(dataset, "InstanceNumber"),
        position_mm=vector(dataset, "ImagePositionPatient", 3),
    )


def _decoded(dataset: Dataset, path: Path, pixel_element: str) -> Header:
    """Decode every value of a header."""
    return Header(
        path=path,
        sop_instance_uid=_uid(dataset, "SOPInstanceUID"),
        sop_class_uid=_uid(dataset, "SOPClassUID"),
        study_uid=_uid(dataset, "StudyInstanceUID"),
        series_uid=_uid(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=_frame_of_reference(dataset),
        transfer_syntax_uid=text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID"),
        source_ae=text(getattr(dataset, "file_meta", Dataset()), "SourceApplicationEntityTitle"),
        modality=code(dataset, "Modality"),
        manufacturer=text(dataset, "Manufacturer"),
        rows=whole_number(dataset, "Rows"),
        columns=whole_number(dataset, "Columns"),
        pixels=pixel_format_of(dataset, pixel_element),
        units=units_of(dataset, dataset, dataset),
        lossy=is_lossy(dataset),
        position_mm=vector(dataset, "ImagePositionPatient", 3),  # type: ignore[arg-type]
        orientation=vector(dataset, "ImageOrientationPatient", 6),  # type: ignore[arg-type]
        pixel_spacing_mm=vector(dataset, "PixelSpacing", 2),  # type: ignore[arg-type]
        slice_thickness_mm=number(dataset, "SliceThickness"),
        derivations=derivation_codes(dataset),
        image_type=codes(dataset, "ImageType"),
        complex_component=complex_component(dataset),
        study_description=text(dataset, "StudyDescription"),
        series_description=text(dataset, "SeriesDescription"),
        derivation_description=text(dataset, "DerivationDescription"),
        protocol_name=text(dataset, "ProtocolName"),
        sequence_name=text(dataset, "SequenceName") or text(dataset, "PulseSequenceName"),
        contrast_agent=_contrast_agent(dataset),
        station_name=text(dataset, "StationName"),
        body_part=text(dataset, "BodyPartExamined"),
        patient_age_years=patient_age_years(dataset),
        series_number=whole_number(dataset, "SeriesNumber"),
        instance_number=whole_number(dataset, "InstanceNumber"),
        number_of_frames=whole_number(dataset, "NumberOfFrames") or 1,
        expected_instances=_expected(dataset),
        echo_time_ms=number(dataset, "EchoTime"),
        acquisition_number=whole_number(dataset, "AcquisitionNumber"),
        temporal_position=whole_number(dataset, "TemporalPositionIdentifier"),
        b_value=b_value(dataset),
        study=StudyAttributes(
            accession_number=_study_text(dataset, "AccessionNumber"),
            patient_id=_study_text(dataset, "PatientID"),
            study_date=_study_text(dataset, "StudyDate"),
        ),
        key_object=key_object_of(dataset),
        patient_digest=_digest(text(dataset, "PatientID")),
        issuer_digest=_digest(text(dataset, "IssuerOfPatientID")),
        birth_digest=_digest(birth_day(dataset)),
    )


def _study_text(dataset: Dataset, keyword: str) -> str:
    """Return a value for the search; it is absent if too long, because no model needs it."""
    try:
        return text(dataset, keyword)[:MOST_STUDY_TEXT]
    except OversizedValue:
        return ""


def _uid(dataset: Dataset, keyword: str) -> str:
    uid = text(dataset, keyword)
    if not is_dotted_uid(uid):
        message = f"an instance has {'an invalid' if uid else 'no'} {keyword}"
        raise NotAnImage(message, advice="Send the original images: these were altered.")
    return uid


def _frame_of_reference(dataset: Dataset) -> str | None:
    uid = text(dataset, "FrameOfReferenceUID")
    return uid if is_dotted_uid(uid) else None


def _expected(dataset: Dataset) -> int | None:
    """Return the number of instances that the header announces for the series, if above 0.

    ImagesInAcquisition of a multi-frame image may count its frames, so it is ignored there. The
    parts of a concatenation are instances that together make one multi-frame image.
    """
    keywords = ["NumberOfSeriesRelatedInstances", "InConcatenationTotalNumber"]
    if (whole_number(dataset, "NumberOfFrames") or 1) == 1:
        keywords.append("ImagesInAcquisition")
    for keyword in keywords:
        count = whole_number(dataset, keyword)
        if count is not None and count > 0:
            return count
    return None


def _contrast_agent(dataset: Dataset) -> str:
    """Return the agent as text; Enhanced images have a sequence of codes instead."""
    agents = items(dataset, "ContrastBolusAgentSequence")
    coded = "\\".join(filter(None, (text(agent, "CodeMeaning") for agent in agents)))
    return text(dataset, "ContrastBolusAgent") or coded


def _digest(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else ""
