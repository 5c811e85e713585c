"""A few slices of real series by manufacturer, as datasets that a test may change and write.

The archives are not part of the project; tests that need them are skipped without them.
"""

import io
import tarfile
import tempfile
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from node.imaging import Volume
from node.imaging.nifti import read_volume
from tests.support.enhanced import enhance, frames, group
from tests.support.phantoms import Scan

SHARED = Path(__file__).parents[3] / "shared" / "data"
ARCHIVES = SHARED / "dicom_series"
FEW = 4
MOSAICS = ("MOSAIC", "VFRAME")  # values of Image Type: without them, a mosaic counts as one slice


@dataclass(frozen=True)
class Source:
    """Where the slices of one manufacturer are."""

    archive: str
    folder: str = ""
    first: int = 0  # of the images by name
    is_enhanced: bool = False


MINIS = "mr_ct_vendor_minis"
SOURCES = {
    "MR Siemens": Source(MINIS, "siemens/anatomical/001"),
    "MR GE": Source(MINIS, "ge/anatomical/001"),
    "MR Philips": Source(MINIS, "philips/anatomical/001"),
    "MR Hitachi": Source(MINIS, "hitachi/anatomical/001"),
    "MR Canon": Source("mr_canon_galan_dti_classic"),
    "MR UIH": Source("mr_uih_dti_multiframe_like"),
    "MR PMOD": Source(MINIS, "generic/anatomical/002_non_isotropic"),
    "MR unknown": Source("mr_hippocrop_1", first=12),
    "CT Philips": Source("ct_philips_brilliance_neck_ce", first=30),
    "CT Siemens": Source("ct_siemens_body_j2k"),
    "CT GE": Source("ct_ge_hispeed_head_tilt_irregular"),
    "MR Philips enhanced": Source(MINIS, "philips_enhanced/anatomical/001", is_enhanced=True),
    "MR Hyperfine enhanced": Source(MINIS, "hyperfine/anatomical/001", is_enhanced=True),
    "MR Siemens enhanced": Source("mr_siemens_xa30_enhanced_t1", is_enhanced=True),
    "CT Philips enhanced": Source("ct_philips_brilliance_neck_ce", first=30, is_enhanced=True),
}
CLASSIC_CT = "CT Philips"  # no archive holds an Enhanced CT: one is made of these slices


def present(path: Path) -> Path:
    """Return `path`, or skip the test where the data beside the project is absent."""
    if not path.exists():
        pytest.skip(f"{path.name} is absent")
    return path


def shared_volume(name: str) -> Volume:
    """Return a NIfTI volume of the data beside the project, or skip the test."""
    return read_volume(present(SHARED / name))


def unpacked(archive_name: str, folder: Path) -> Path:
    """Extract a whole real series below `folder`, or skip the test; return the series' folder."""
    with tarfile.open(present(ARCHIVES / f"{archive_name}.tar.xz")) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive_name


def slices_of(name: str) -> list[Dataset]:
    """Return new copies of a few slices, or of one multi-frame image, as one valid series."""
    return deepcopy(_slices(name))


@lru_cache(maxsize=len(SOURCES))
def _slices(name: str) -> list[Dataset]:
    source = SOURCES[name]
    if name.startswith("CT") and source.is_enhanced:
        return [as_one_image(_slices(CLASSIC_CT))]
    archive = present(ARCHIVES / f"{source.archive}.tar.xz")
    count = 1 if source.is_enhanced else FEW
    datasets = []
    with tarfile.open(archive) as tar:
        inside = f"{source.archive}/{source.folder}".rstrip("/")
        members = [m for m in tar.getmembers() if m.isfile() and m.name.startswith(f"{inside}/")]
        images = sorted((m for m in members if not m.name.endswith(".txt")), key=lambda m: m.name)
        for member in images[source.first : source.first + count]:
            content = tar.extractfile(member)
            assert content is not None
            datasets.append(pydicom.dcmread(io.BytesIO(content.read())))
    return [_valid(dataset, at, name) for at, dataset in enumerate(datasets)]


def _valid(dataset: Dataset, at: int, name: str) -> Dataset:
    """Give the identifiers that anonymisers removed, and one place per slice."""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        dataset.decompress(generate_instance_uid=False)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _uid(name, "study"), _uid(name, "series")
    dataset.FrameOfReferenceUID = _uid(name, "frame")
    dataset.SOPInstanceUID = _uid(name, str(at))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    if dataset.get("Modality") == "CT":
        dataset.SOPClassUID = CTImageStorage
    dataset.PatientID, dataset.PatientName = "CORPUS", "Corpus^Test"
    dataset.pop("IssuerOfPatientID", None)
    if SOURCES[name].is_enhanced:
        _keep_frames(dataset, FEW)
    else:
        dataset.InstanceNumber = at + 1
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-100, -100, 3 * at]
        dataset.ImageType = [value for value in dataset.ImageType if value not in MOSAICS]
        for keyword in ("NumberOfFrames", "TemporalPositionIdentifier"):
            dataset.pop(keyword, None)
    return dataset


def _keep_frames(dataset: Dataset, count: int) -> None:
    size = len(dataset.PixelData) // int(dataset.NumberOfFrames)
    dataset.PixelData = dataset.PixelData[: count * size]
    groups = dataset.PerFrameFunctionalGroupsSequence
    dataset.PerFrameFunctionalGroupsSequence = groups[:count]
    dataset.NumberOfFrames = count


def as_one_image(slices: list[Dataset]) -> Dataset:
    """Return slices, in the order of their places, as one Enhanced image."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write(deepcopy(slices), Path(folder))
        uids = [str(dataset.SOPInstanceUID) for dataset in slices]
        scan = Scan(paths, np.zeros(0, np.uint8), np.zeros(0, np.float32), np.eye(4), uids)
        path = enhance(scan, Path(folder) / "enhanced.dcm", change=_in_hounsfield_units)
        return pydicom.dcmread(io.BytesIO(path.read_bytes()))


def _in_hounsfield_units(dataset: Dataset) -> None:
    for groups in frames(dataset):
        group(groups, "PixelValueTransformationSequence", RescaleType="HU")


def _uid(*parts: str) -> str:
    return str(generate_uid(entropy_srcs=["corpus", *parts]))


def write(datasets: list[Dataset], folder: Path) -> list[Path]:
    """Write the datasets as Part 10 files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with pydicom.config.disable_value_validation():
        for at, dataset in enumerate(datasets):
            paths.append(folder / f"{at:03d}.dcm")
            dataset.save_as(paths[-1])
    return paths
