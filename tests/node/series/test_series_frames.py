"""Enhanced multi-frame images give exactly the volume of their frames as single images."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    JPEG2000Lossless,
    JPEGLSLossless,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    RLELossless,
)

from node import errors
from node.series import read, read_headers, survey
from tests.support.enhanced import Change, another, enhance, frames, group, shared
from tests.support.phantoms import PLANES, Phantom, Scan, make

RESCALED = ((2.0, -50.0), (0.5, 10.0), (1.0, 0.0))  # another one for each of three frames


def one_file(folder: Path, change: Change | None = None, phantom: Phantom | None = None) -> Path:
    return enhance(make(folder / "classic", phantom), folder / "enhanced.dcm", change=change)


def same_volume(path: Path, scan: Scan) -> None:
    single, multi = read(scan.paths), read([path])
    np.testing.assert_array_equal(multi.volume.array, single.volume.array)
    np.testing.assert_array_equal(multi.volume.grid.affine, single.volume.grid.affine)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_one_file_gives_exactly_the_volume_of_its_single_frames(
    tmp_path: Path, plane: str, modality: str
) -> None:
    scan = make(tmp_path, Phantom(plane=plane, modality=modality, rescale=RESCALED))
    path = enhance(scan, tmp_path / "enhanced.dcm")
    same_volume(path, scan)
    assert read([path]).volume.grid.is_close(scan.grid, 1e-6)
    np.testing.assert_allclose(read([path]).volume.array, scan.values)


def test_a_frame_keeps_its_number_in_the_file(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    places = [
        f.FrameContentSequence[0].InStackPositionNumber for f in frames(pydicom.dcmread(path))
    ]
    surveyed = survey(read_headers(path))
    assert [h.frame for h in surveyed.headers] == [places.index(n) + 1 for n in range(1, 13)]
    assert {h.number_of_frames for h in surveyed.headers} == {12}
    assert surveyed.dropped == ()


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [
        ("MR", LegacyConvertedEnhancedMRImageStorage),
        ("CT", LegacyConvertedEnhancedCTImageStorage),
    ],
)
def test_converted_images_are_read_the_same_way(
    tmp_path: Path, modality: str, sop_class: UID
) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPClassUID = sop_class

    scan = make(tmp_path, Phantom(modality=modality))
    same_volume(enhance(scan, tmp_path / "enhanced.dcm", change=change), scan)


def test_shared_groups_may_be_per_frame_groups(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        for one in frames(dataset):
            one.update(shared(dataset))
        del dataset.SharedFunctionalGroupsSequence

    scan = make(tmp_path)
    same_volume(enhance(scan, tmp_path / "enhanced.dcm", change=change), scan)


def test_a_rescale_may_be_shared_or_absent(tmp_path: Path) -> None:
    def share(dataset: Dataset) -> None:
        for one in frames(dataset):
            del one.PixelValueTransformationSequence
        group(shared(dataset), "PixelValueTransformationSequence", RescaleSlope="2")

    scan = make(tmp_path)
    same_volume(enhance(scan, tmp_path / "none.dcm"), scan)
    shared_array = read([enhance(scan, tmp_path / "shared.dcm", change=share)]).volume.array
    np.testing.assert_array_equal(shared_array, 2 * scan.values)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("has_offsets", [True, False])
def test_compressed_frames_are_decoded(tmp_path: Path, syntax: UID, has_offsets: bool) -> None:
    scan = make(tmp_path, Phantom(shape=(5, 40, 32)))
    path = enhance(scan, tmp_path / "enhanced.dcm", syntax=syntax)
    if not has_offsets:
        dataset = pydicom.dcmread(path)
        encoded = list(generate_frames(dataset.PixelData, number_of_frames=5))
        dataset.PixelData = encapsulate(encoded, has_bot=False)
        dataset.save_as(path)
    same_volume(path, scan)


def test_a_frame_without_a_stack_id_belongs_to_the_stack(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        for at, groups in enumerate(frames(dataset)):
            group(groups, "FrameContentSequence", StackID="1" if at != 4 else None)

    scan = make(tmp_path / "classic")
    same_volume(enhance(scan, tmp_path / "enhanced.dcm", change=change), scan)


def test_padding_in_frames_is_replaced(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        values = np.frombuffer(dataset.PixelData, np.uint16).reshape(12, 20, 16).copy()
        values[:, 0] = 4095
        dataset.PixelData, dataset.PixelPaddingValue = values.tobytes(), 4095

    path = one_file(tmp_path, change, Phantom(modality="CT"))
    array = read([path]).volume.array
    assert (array[:, 0] == array[:, 1:].min()).all()


def test_one_volume_may_come_in_several_files(tmp_path: Path) -> None:
    scan = make(tmp_path)
    paths = [
        enhance(scan, tmp_path / "b.dcm", part=slice(0, 7)),
        enhance(scan, tmp_path / "a.dcm", part=slice(7, 12), change=another),
    ]
    both = read(paths)
    np.testing.assert_array_equal(both.volume.array, scan.values)
    assert both.volume.grid.is_close(scan.grid, 1e-6)


def test_the_same_file_twice_counts_once_and_is_listed_once(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    copy = Path(shutil.copy(path, tmp_path / "copy.dcm"))
    assert [d.reason for d in read([copy, path]).survey.dropped] == ["duplicate instance"]


def test_two_contents_with_one_uid_are_a_conflict(tmp_path: Path) -> None:
    path = one_file(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    other = tmp_path / "other.dcm"
    other.write_bytes(raw)
    with pytest.raises(errors.Conflicting):
        read([other, path])


def test_a_localizer_among_the_frames_is_left_out_and_listed(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        last = frames(dataset)[-1]
        kind = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
        group(last, "MRImageFrameTypeSequence", FrameType=kind)
        dataset.NumberOfFrames += 1
        dataset.PixelData += dataset.PixelData[: 20 * 16 * 2]
        dataset.PerFrameFunctionalGroupsSequence.append(copy.deepcopy(last))
        del last.MRImageFrameTypeSequence

    scan = make(tmp_path)
    path = enhance(scan, tmp_path / "enhanced.dcm", change=change)
    same_volume(path, scan)
    (dropped,) = read([path]).survey.dropped
    assert dropped.frame == 13
    assert "localizer" in dropped.reason
