"""Make series with known geometry and known labels, for tests that need DICOM images.

A phantom is chiral: its three boxes differ in size and lie in no plane of symmetry, so every flip,
transposition or reversal is detected. `affine` and `labels` are the expected values, in the order
along the normal, whatever the names and the order of the files.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from node.imaging import Grid, Labels
from node.package import Code, Manifest, Package, Segment
from node.package.manifest import Input, ModelGrid, Provenance, Range, Reference, Size

FloatArray = npt.NDArray[np.float64]
Change = Callable[[Dataset, int], None]  # gets each dataset and its place in the stack

X, Y, Z = np.eye(3)
PLANES: dict[str, tuple[FloatArray, FloatArray]] = {  # directions of a row and of a column, LPS
    "axial": (X, Y),
    "sagittal": (Y, -Z),
    "coronal": (X, -Z),
}
CANARY = "Canary^Wünsch"  # a patient's name that must never appear in a message or log

LEFT = Code(value="7771000", scheme="SCT", meaning="Left")
TISSUE = Code(value="91723000", scheme="SCT", meaning="Anatomical Structure")
HIPPOCAMPUS = Code(value="5366008", scheme="SCT", meaning="Hippocampus")


def rotation(about_x_deg: float, about_y_deg: float, about_z_deg: float) -> FloatArray:
    """Return the matrix that turns about x, then y, then z."""
    result = np.eye(3)
    for axis, degrees in enumerate((about_x_deg, about_y_deg, about_z_deg)):
        a, b = [i for i in range(3) if i != axis]
        turn = np.eye(3)
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
        result = turn @ result
    return result


PLANES["oblique"] = tuple(rotation(17, 0, -11) @ d for d in (X, Y))  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """The description of a phantom; lengths in mm."""

    plane: str = "axial"
    directions: tuple[FloatArray, FloatArray] | None = None  # instead of `plane`
    shape: tuple[int, int, int] = (12, 20, 16)
    spacing_mm: tuple[float, float, float] = (3.0, 1.25, 1.5)  # slices, rows, columns
    origin_mm: tuple[float, float, float] = (-31.5, 12.25, 40.0)
    modality: str = "MR"
    seed: int = 1
    shuffle: bool = True
    reverse: bool = False  # InstanceNumber falls along the normal
    drop: tuple[int, ...] = ()
    tilt_deg: float = 0.0
    at_mm: tuple[float, ...] | None = None  # places along the normal instead of even ones
    rescale: tuple[tuple[float, float], ...] = ()  # slope and intercept by slice, repeated
    syntax: UID = ExplicitVRLittleEndian
    segments: int = 2
    change: Change | None = None
    tags: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scan:
    """A written phantom with its expected values."""

    paths: list[Path]
    labels: npt.NDArray[np.uint8]  # slices along the normal
    values: npt.NDArray[np.float32]
    affine: FloatArray
    uids: list[str]  # along the normal

    @property
    def grid(self) -> Grid:
        """Return the expected grid."""
        shape = self.labels.shape
        return Grid((shape[0], shape[1], shape[2]), self.affine)

    @property
    def truth(self) -> Labels:
        """Return the expected labels."""
        return Labels(self.labels, self.grid)


def chiral(shape: tuple[int, int, int], segments: int = 2) -> npt.NDArray[np.uint8]:
    """Return labels of boxes that differ from every side."""
    labels = np.zeros(shape, np.uint8)
    z, y, x = shape
    labels[z // 6 : z // 2, y // 5 : y // 2, x // 8 : x // 2] = 1
    labels[z // 6 : z // 3 + 1, y // 2 : 3 * y // 4, x // 8 : x // 4 + 1] = 1
    if segments > 1:
        labels[z // 2 : z - 1, y // 2 : y - 2, x // 2 : x - 3] = 2
        labels[z - 2, y // 2 - 1, x // 2] = 2
    return labels


def make(folder: Path, phantom: Phantom | None = None) -> Scan:
    """Write the files of one series into `folder` and return the expected values."""
    p = phantom or Phantom()
    folder.mkdir(parents=True, exist_ok=True)
    row, column = p.directions or PLANES[p.plane]
    normal = np.cross(row, column)
    step = normal * p.spacing_mm[0] + np.tan(np.deg2rad(p.tilt_deg)) * p.spacing_mm[0] * column
    labels = chiral(p.shape, p.segments)
    stored = _stored(labels, p.seed)
    slopes = [p.rescale[z % len(p.rescale)] if p.rescale else (1.0, 0.0) for z in range(p.shape[0])]
    order = list(range(p.shape[0]))[:: -1 if p.reverse else 1]
    if p.shuffle:
        random.Random(p.seed).shuffle(order)
    paths, uids = [], []
    places = [z for z in range(p.shape[0]) if z not in p.drop]
    for z in places:
        place = step * z if p.at_mm is None else normal * p.at_mm[z]
        dataset = _header(p, z, order.index(z) + 1)
        dataset.ImagePositionPatient = _ds(np.array(p.origin_mm) + place)
        dataset.ImageOrientationPatient = _ds(np.concatenate([row, column]))
        if p.rescale:
            dataset.RescaleSlope, dataset.RescaleIntercept = _ds(np.array(slopes[z]))
        dataset.PixelData = stored[z].tobytes()
        dataset["PixelData"].VR = "OW"
        if p.change is not None:
            p.change(dataset, z)
        paths.append(save(dataset, folder / f"{order.index(z) + 1:04d}.dcm", p.syntax))
        uids.append(str(dataset.SOPInstanceUID))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = step, column * p.spacing_mm[1]
    affine[:3, 2], affine[:3, 3] = row * p.spacing_mm[2], p.origin_mm
    rescaled = [stored[z] * slopes[z][0] + slopes[z][1] for z in places]
    return Scan(sorted(paths), labels[places], np.array(rescaled, np.float32), affine, uids)


def save(dataset: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write one instance as a Part 10 file in `syntax`."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", MRImageStorage)
    meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def package(folder: Path, segments: Sequence[Segment] | None = None) -> Package:
    """Return a package that describes the phantom's segments; its network is never loaded."""
    chosen = tuple(segments or (_segment(1, "Anterior hippocampus"), _segment(2, "Posterior")))
    manifest = Manifest(
        format=2,
        task="phantom-mr",
        version="0.1",
        title="Phantom",
        intended_use="Tests",
        input=Input(
            modality="MR",
            spacing_mm=Range(low=0.1, high=10),
            field_of_view_mm=Range(low=1, high=1000),
            slices=Range(low=2, high=1000),
        ),
        grid=ModelGrid(spacing_mm_zyx=(1, 1, 1), patch_zyx=(8, 8, 8)),
        intensity=(),
        segments=chosen,
        sizes={"small": Size(file="small.onnx", parameters=1, macs_per_patch=1, width=0.25)},
        metrics={},
        reference=Reference(
            image="reference/image.nii.gz", labels={"small": "reference/small.nii.gz"}
        ),
        provenance=Provenance(
            data_sets=("phantom",), licence="Apache-2.0", training={}, commit="0" * 40,
            libraries={}, created="2026-01-01",
        ),
        files={},
    )  # fmt: skip
    return Package(manifest, folder, "ab" * 32)


def _segment(number: int, label: str) -> Segment:
    return Segment(
        number=number,
        label=label,
        category=TISSUE,
        type=HIPPOCAMPUS,
        modifier=LEFT if number == 1 else None,
        colour_rgb=(220, 60 * number, 40),
    )


def _stored(labels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint16]:
    noise = np.random.default_rng(seed).integers(0, 30, labels.shape)
    return (noise + 100 + 400 * labels.astype(np.int64)).astype(np.uint16)


def _ds(values: FloatArray) -> list[Any]:
    return [pydicom.valuerep.DSfloat(float(value), auto_format=True) for value in values]


def _header(p: Phantom, z: int, number: int) -> Dataset:
    def uid(*parts: object) -> str:
        return str(generate_uid(entropy_srcs=[str(p.seed), p.modality, *map(str, parts)]))

    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M" if p.modality == "MR" else "AXIAL"]
    dataset.SOPClassUID = MRImageStorage if p.modality == "MR" else CTImageStorage
    dataset.SOPInstanceUID = uid("instance", z)
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = "20240305"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = "101112"
    dataset.AccessionNumber, dataset.StudyID = "ACC7", "1"
    dataset.Modality, dataset.Manufacturer = p.modality, "Phantoms"
    dataset.ManufacturerModelName, dataset.InstitutionName = "Box", "Test"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = "1", "1"
    dataset.ReferringPhysicianName, dataset.StudyDescription = "", "Phantom study"
    dataset.SeriesDescription, dataset.ProtocolName = f"T1 {p.plane}", "T1"
    dataset.PatientName, dataset.PatientID = CANARY, "CANARY-7"
    dataset.PatientBirthDate, dataset.PatientSex = "19600229", "O"
    dataset.BodyPartExamined = "HEAD"
    dataset.SliceThickness, dataset.PatientPosition = _ds(np.array(p.spacing_mm[:1]))[0], "HFS"
    if p.modality == "MR":
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "NONE", ""
        dataset.MRAcquisitionType, dataset.EchoTime, dataset.RepetitionTime = "3D", "3", "10"
        dataset.EchoTrainLength, dataset.FlipAngle = "1", "15"
    else:
        dataset.KVP, dataset.ConvolutionKernel = "120", "STANDARD"
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study"), uid("series")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame"), ""
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = 3, 1, number
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = p.shape[1:]
    dataset.PixelSpacing = _ds(np.array(p.spacing_mm[1:]))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0 if p.modality == "MR" else 1  # HU of CT may be negative
    for keyword, value in p.tags.items():
        setattr(dataset, keyword, DicomSequence(value) if isinstance(value, list) else value)
    return dataset


def _localizer(dataset: Dataset, _z: int) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def _every_third_turned(dataset: Dataset, z: int) -> None:
    if z % 3 == 0:
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]


UNSUITABLE_PHANTOMS: dict[str, Phantom] = {  # by the code of the error
    "missing-slice": Phantom(drop=(5,)),
    "gantry-tilt": Phantom(tilt_deg=12),
    "uneven-spacing": Phantom(shape=(5, 20, 16), at_mm=(0, 3, 6, 10.2, 13)),
    "duplicate-positions": Phantom(shape=(4, 20, 16), at_mm=(0, 3, 3, 6)),
    "four-dimensional": Phantom(shape=(6, 20, 16), at_mm=(0, 0, 3, 3, 6, 6)),
    "mixed-orientation": Phantom(change=_every_third_turned),
    "too-few-slices": Phantom(shape=(1, 20, 16)),
    "enhanced-multi-frame": Phantom(tags={"NumberOfFrames": 12}),
    "no-frame-of-reference": Phantom(tags={"FrameOfReferenceUID": ""}),
    "localizer": Phantom(change=_localizer),
}
