"""The RT Structure Set: contours on the source images, which give the labels back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from node import durable, rtstruct
from node.errors import VerificationFailed
from node.imaging import Labels
from node.seg import to_bytes
from node.series import read
from tests.support.enhanced import enhance
from tests.support.phantoms import PLANES, Phantom
from tests.support.segs import Result, encode_again, result


def checked(r: Result, dataset: Dataset, folder: Path) -> None:
    path = folder / "rtstruct.dcm"
    durable.write(path, to_bytes(dataset))
    rtstruct.verify(path, r.series, r.labels, r.package.manifest.segments)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_its_contours_are_the_labels(tmp_path: Path, plane: str, modality: str) -> None:
    r = result(tmp_path, Phantom(plane=plane, modality=modality))
    checked(r, r.rtstruct(), tmp_path)


def test_holes_islands_and_single_voxels_come_back(tmp_path: Path) -> None:
    r = result(tmp_path)
    noise = np.random.default_rng(0).integers(0, 3, r.labels.array.shape).astype(np.uint8)
    noisy = result(tmp_path / "noise", labels=Labels(noise, r.labels.grid))
    checked(noisy, noisy.rtstruct(), tmp_path)


def test_each_frame_of_an_enhanced_image_is_named(tmp_path: Path) -> None:
    r = result(tmp_path)
    series = read([enhance(r.scan, tmp_path / "enhanced.dcm")])
    enhanced = Result(
        r.scan, series, r.labels, r.package, encode_again(series, r.labels, r.package)
    )
    dataset = enhanced.rtstruct()
    checked(enhanced, dataset, tmp_path)
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    assert contour.ContourImageSequence[0].ReferencedFrameNumber > 0


def test_an_empty_structure_is_listed_without_contours(tmp_path: Path) -> None:
    r = result(tmp_path)
    nothing = result(tmp_path / "b", labels=Labels(np.zeros_like(r.labels.array), r.labels.grid))
    dataset = nothing.rtstruct()
    checked(nothing, dataset, tmp_path)
    assert [item.ROIName for item in dataset.StructureSetROISequence] == [
        "Anterior hippocampus",
        "Posterior",
    ]
    assert not any("ContourSequence" in item for item in dataset.ROIContourSequence)


def test_it_is_unapproved_and_belongs_to_study_and_frame_of_reference(tmp_path: Path) -> None:
    r = result(tmp_path)
    dataset, source = r.rtstruct(), pydicom.dcmread(r.scan.paths[0])
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "AccessionNumber"):
        assert dataset[keyword].value == source[keyword].value, keyword
    assert (dataset.Modality, dataset.ApprovalStatus) == ("RTSTRUCT", "UNAPPROVED")
    assert dataset.SeriesNumber == 90035
    assert dataset.SeriesDescription.startswith("AI RT phantom-mr 0.1 small")
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == source.FrameOfReferenceUID
    first = dataset.RTROIObservationsSequence[0]
    kind = first.RTROIIdentificationCodeSequence[0]
    assert (kind.CodeValue, first.RTROIInterpretedType) == ("5366008", "ORGAN")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    volume_ml = r.labels.volumes_ml((1,))[1]
    assert float(dataset.StructureSetROISequence[0].ROIVolume) == pytest.approx(volume_ml, rel=1e-4)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    r = result(tmp_path)
    assert to_bytes(r.rtstruct()) == to_bytes(r.rtstruct())


def _shift(dataset: Dataset, axis: int, by_mm: float) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    values = [float(value) for value in contour.ContourData]
    values[axis::3] = [value + by_mm for value in values[axis::3]]
    contour.ContourData = [f"{value:.3f}" for value in values]


def _other_image(dataset: Dataset) -> None:
    contours = dataset.ROIContourSequence[0].ContourSequence
    contours[0].ContourImageSequence = contours[-1].ContourImageSequence


def _approve(dataset: Dataset) -> None:
    dataset.ApprovalStatus = "APPROVED"


def _drop(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[1].ContourSequence[0]


def _twice(dataset: Dataset) -> None:
    contours = dataset.ROIContourSequence[0].ContourSequence
    contours.append(contours[0])


def _other_frame(dataset: Dataset) -> None:
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"


def _swap(dataset: Dataset) -> None:
    first, second = dataset.StructureSetROISequence
    first.ROIName, second.ROIName = second.ROIName, first.ROIName


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda dataset: _shift(dataset, 0, 1.5), "voxels of Anterior hippocampus differ"),
        (lambda dataset: _shift(dataset, 2, 0.1), "off its image"),
        (_other_image, "off its image"),
        (_approve, "Approval Status"),
        (_drop, "voxels of Posterior differ"),
        (_twice, "overlap"),
        (_other_frame, "Frame of Reference"),
        (_swap, "structures"),
    ],
)
def test_a_difference_is_found(
    tmp_path: Path, damage: Callable[[Dataset], None], message: str
) -> None:
    r = result(tmp_path)
    dataset = r.rtstruct()
    damage(dataset)
    with pytest.raises(VerificationFailed, match=message):
        checked(r, dataset, tmp_path)
