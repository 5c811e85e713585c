"""Make Enhanced multi-frame images from the slices of a classic phantom.

The frames are in shuffled order. Values that differ between slices are in per-frame functional
groups, common values in the shared ones, as scanners write them.
"""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from tests.support.phantoms import Scan, save

Change = Callable[[Dataset], None]

MOVED = (  # from the top of a classic image into functional groups
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "EchoTime", "AcquisitionNumber", "PixelData",
)  # fmt: skip


def enhance(
    scan: Scan,
    path: Path,
    *,
    part: slice = slice(None),
    change: Change | None = None,
    syntax: UID = ExplicitVRLittleEndian,
) -> Path:
    """Write the slices in `part` of a phantom, counted along the normal, as one Enhanced image.

    Args:
        scan: a classic series on disk.
        path: of the new file.
        part: which slices.
        change: called with the object before it is compressed and written.
        syntax: of the pixels.
    """
    by_uid = {dataset.SOPInstanceUID: dataset for dataset in map(pydicom.dcmread, scan.paths)}
    slices = [by_uid[uid] for uid in scan.uids][part]
    numbered = list(enumerate(slices, 1))
    random.Random(3).shuffle(numbered)
    dataset = _whole([one for _, one in numbered])
    dataset.PerFrameFunctionalGroupsSequence = [_of_frame(one, at) for at, one in numbered]
    if change is not None:
        change(dataset)
    return save(dataset, path, syntax)


def another(dataset: Dataset) -> None:
    """Give the object another instance UID."""
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[dataset.SOPInstanceUID])


def shared(dataset: Dataset) -> Dataset:
    """Return the shared functional groups."""
    groups: Dataset = dataset.SharedFunctionalGroupsSequence[0]
    return groups


def frames(dataset: Dataset) -> Sequence[Dataset]:
    """Return the functional groups of each frame."""
    groups: Sequence[Dataset] = dataset.PerFrameFunctionalGroupsSequence
    return groups


def group(groups: Dataset, keyword: str, **values: object) -> None:
    """Set one functional group, or values in it."""
    if keyword not in groups:
        setattr(groups, keyword, DicomSequence([Dataset()]))
    for name, value in values.items():
        setattr(groups[keyword].value[0], name, value)


def _whole(slices: Sequence[Dataset]) -> Dataset:
    first = slices[0]
    is_mr = first.Modality == "MR"
    dataset = Dataset()
    dataset.update({one.tag: one for one in first if one.keyword not in MOVED})
    dataset.SOPClassUID = EnhancedMRImageStorage if is_mr else EnhancedCTImageStorage
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, len(slices)
    dataset.PixelData = _joined(slices)
    dataset["PixelData"].VR = "OW"
    groups = Dataset()
    group(groups, "PlaneOrientationSequence", ImageOrientationPatient=first.ImageOrientationPatient)
    group(
        groups,
        "PixelMeasuresSequence",
        PixelSpacing=first.PixelSpacing,
        SliceThickness=first.get("SliceThickness"),
    )
    kind = "MRImageFrameTypeSequence" if is_mr else "CTImageFrameTypeSequence"
    group(groups, kind, FrameType=[*first.ImageType, "NONE"], VolumetricProperties="VOLUME")
    if is_mr:
        group(groups, kind, ComplexImageComponent="MAGNITUDE")
        group(groups, "MREchoSequence", EffectiveEchoTime=3.0)
    dataset.SharedFunctionalGroupsSequence = [groups]
    return dataset


def _joined(slices: Sequence[Dataset]) -> bytes:
    if not slices[0].file_meta.TransferSyntaxUID.is_encapsulated:
        return b"".join(one.PixelData for one in slices)
    encoded = [generate_frames(one.PixelData, number_of_frames=1) for one in slices]
    joined: bytes = encapsulate([frame for frames_of_one in encoded for frame in frames_of_one])
    return joined


def _of_frame(one: Dataset, place: int) -> Dataset:
    groups = Dataset()
    group(groups, "PlanePositionSequence", ImagePositionPatient=one.ImagePositionPatient)
    group(
        groups,
        "FrameContentSequence",
        StackID="1",
        InStackPositionNumber=place,
        TemporalPositionIndex=1,
    )
    group(
        groups,
        "PixelValueTransformationSequence",
        RescaleSlope=one.get("RescaleSlope", "1"),
        RescaleIntercept=one.get("RescaleIntercept", "0"),
        RescaleType=one.get("RescaleType", "US"),
    )
    return groups
