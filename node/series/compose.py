"""Write a volume as a classic DICOM series, for the demo, the self-test and NIfTI input.

Guarantee: reading the series gives the values of the volume at the same places: whole numbers
exactly, others to 12 bits.
The objects are marked as derived and secondary, so that nobody mistakes them for a scan.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from node.imaging import Volume

BITS, MOST_BITS = 12, 16  # as most scanners store; for whole numbers that need more
LOW_HU = -1024.0  # of CT; a header that allows no value near that of air would be unbelievable
_SOP_CLASS = {"MR": MRImageStorage, "CT": CTImageStorage}


@dataclass(frozen=True)
class Composed:
    """The files and UIDs of a composed series."""

    files: tuple[Path, ...]
    study_uid: str
    series_uid: str


@dataclass(frozen=True)
class Labelling:
    """The header values that do not follow from the geometry."""

    modality: str = "MR"
    patient_id: str = "SEGNODE-DEMO"
    patient_name: str = "Demo^Segnode"
    study_description: str = "segnode demonstration"
    series_description: str = "T1"
    body_part: str = "HEAD"
    series_number: int = 1
    study_uid: str = ""  # empty: a new study
    frame_of_reference_uid: str = ""


def compose(volume: Volume, folder: Path, labelling: Labelling, now: datetime) -> Composed:
    """Write one file per slice (array axis 0) of `volume` into `folder`.

    Args:
        volume: any grid with orthogonal axes; array axis 0 becomes the slices.
        folder: created if absent.
        labelling: identity and descriptions.
        now: the study date and time, written in UTC.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shared = _shared(volume, labelling, now)
    slope, intercept, stored, bits = _stored(volume, labelling.modality)
    files = []
    for index in range(volume.grid.shape[0]):
        dataset = Dataset()
        dataset.update(shared)
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[shared.SeriesInstanceUID, str(index)])
        dataset.InstanceNumber = index + 1
        place = volume.grid.affine @ [index, 0, 0, 1]
        dataset.ImagePositionPatient = [_decimal(v) for v in place[:3]]
        dataset.RescaleSlope, dataset.RescaleIntercept = _decimal(slope), _decimal(intercept)
        dataset.BitsStored, dataset.HighBit = bits, bits - 1
        dataset.PixelData = stored[index].tobytes()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        files.append(folder / f"{index + 1:04d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return Composed(tuple(files), shared.StudyInstanceUID, shared.SeriesInstanceUID)


def _stored(volume: Volume, modality: str) -> tuple[float, float, np.ndarray, int]:
    """Return slope, intercept, stored values and their bits; whole numbers get a slope of 1."""
    array = np.asarray(volume.array, np.float64)
    low, high = float(array.min()), float(array.max())
    offset = min(low, LOW_HU) if modality == "CT" else min(low, 0.0)
    is_whole = np.array_equal(array, np.rint(array))
    for bits in (BITS, MOST_BITS):
        if is_whole and high - offset < 1 << bits:
            return 1.0, offset, (array - offset).astype("<u2"), bits
    if modality != "CT":
        offset = low
    largest = (1 << BITS) - 1
    slope = float(_decimal((high - offset) / largest or 1.0))
    intercept = float(_decimal(offset))
    scaled = np.rint((array - intercept) / slope)
    return slope, intercept, np.clip(scaled, 0, largest).astype("<u2"), BITS


def _shared(volume: Volume, labelling: Labelling, now: datetime) -> Dataset:
    grid = volume.grid
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.SOPClassUID = _SOP_CLASS[labelling.modality]
    moment = now.astimezone(UTC)
    dataset.TimezoneOffsetFromUTC = f"{moment:%z}"  # without it, readers assume local time
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = f"{moment:%Y%m%d}"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = f"{moment:%H%M%S}"
    dataset.AccessionNumber = ""
    dataset.Modality = labelling.modality
    dataset.Manufacturer = "segnode"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = labelling.study_description
    dataset.SeriesDescription = labelling.series_description
    dataset.PatientName = labelling.patient_name
    dataset.PatientID = labelling.patient_id
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.BodyPartExamined = labelling.body_part
    dataset.StudyInstanceUID = labelling.study_uid or generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.StudyID = "1"
    dataset.SeriesNumber = labelling.series_number
    dataset.FrameOfReferenceUID = labelling.frame_of_reference_uid or generate_uid()
    dataset.PositionReferenceIndicator = ""
    _modality_attributes(dataset)
    along_row = grid.affine[:3, 2] / grid.spacing_mm[2]
    along_column = grid.affine[:3, 1] / grid.spacing_mm[1]
    dataset.ImageOrientationPatient = [_decimal(v) for v in (*along_row, *along_column)]
    dataset.PixelSpacing = [_decimal(grid.spacing_mm[1]), _decimal(grid.spacing_mm[2])]
    dataset.SliceThickness = _decimal(grid.spacing_mm[0])
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = grid.shape[1], grid.shape[2]
    dataset.BitsAllocated, dataset.PixelRepresentation = 16, 0
    return dataset


def _modality_attributes(dataset: Dataset) -> None:
    """Add the attributes that the MR and CT modules require; unknown ones stay empty."""
    if dataset.Modality == "MR":
        dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"
        dataset.ScanOptions = dataset.MRAcquisitionType = ""
        dataset.EchoTime = dataset.EchoTrainLength = dataset.RepetitionTime = None
    else:
        dataset.KVP = dataset.AcquisitionNumber = None
        dataset.RescaleType = "HU"


def _decimal(value: float) -> str:
    """Write a number as a Decimal String: 16 characters at most (PS3.5 6.2)."""
    for digits in range(12, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return f"{value:.0e}"
