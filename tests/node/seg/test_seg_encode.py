"""The attributes of a SEG besides its voxels."""

import copy
import datetime
import io
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor

from node import durable
from node.colours import display_colours
from node.errors import VerificationFailed
from node.imaging import Grid, Labels
from node.package import Package
from node.seg import Encoding, encode, repairs_of, to_bytes, verify
from tests.support.phantoms import PLANES, Phantom, package
from tests.support.segs import CREATED, IDENTITY, encode_again, result

ENCODINGS = [
    Encoding(kind=kind, omit_empty_frames=omit)
    for kind in ("binary", "labelmap")
    for omit in (True, False)
]


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_plane_and_encoding_verifies(tmp_path: Path, plane: str, encoding: Encoding) -> None:
    r = result(tmp_path, Phantom(plane=plane), encoding)
    verify(to_bytes(r.seg), r.series, r.labels, r.package.manifest.segments)
    assert r.repairs == ()


def test_it_belongs_to_the_study_of_its_source(tmp_path: Path) -> None:
    r = result(tmp_path)
    source = pydicom.dcmread(r.scan.paths[0])
    for keyword in (
        "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "PatientBirthDate",
        "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime", "Rows", "Columns",
        "StudyDescription", "BodyPartExamined",
    ):  # fmt: skip
        assert r.seg[keyword].value == source[keyword].value, keyword
    assert [q.SeriesInstanceUID for q in r.seg.ReferencedSeriesSequence] == [
        source.SeriesInstanceUID
    ]


def test_its_description_algorithm_and_equipment(tmp_path: Path) -> None:
    seg = result(tmp_path, Phantom(tags={"TimezoneOffsetFromUTC": "+0000"})).seg
    assert seg.SeriesDescription == "AI SEG phantom-mr 0.1 small of 3 T1 axia - not for diagnosis"
    assert seg.SeriesDescription.isascii()
    assert seg.SegmentationType == "BINARY"
    assert seg.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert (seg.SeriesNumber, seg.InstanceNumber) == (90031, 1)
    assert seg.ContentLabel == "PHANTOM_MR 3"
    assert (str(seg.SeriesDate), str(seg.SeriesTime)) == ("20260102", "030405")
    assert seg.TimezoneOffsetFromUTC == "+0000"
    assert list(seg.SoftwareVersions) == ["segnode 0.1.0", "phantom-mr/0.1 small"]
    ours = seg.ContributingEquipmentSequence[1]
    assert ours.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert "ab" * 32 in ours.ContributionDescription


def test_each_segment_is_coded_coloured_and_tracked(tmp_path: Path) -> None:
    r = result(tmp_path)
    first, second = r.seg.SegmentSequence
    assert [first.SegmentNumber, second.SegmentNumber] == [1, 2]
    assert first.SegmentLabel == "Anterior hippocampus"
    kind = first.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("5366008", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert (
        "SegmentedPropertyTypeModifierCodeSequence"
        not in (second.SegmentedPropertyTypeCodeSequence[0])
    )
    colour = CIELabColor.from_dicom_value(tuple(first.RecommendedDisplayCIELabValue)).to_rgb()
    assert np.abs(np.array(colour) - (220, 60, 40)).max() <= 1
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("phantom-mr small", "0.1")
    assert first.TrackingUID != second.TrackingUID


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    r = result(tmp_path)
    again = encode_again(r.series, r.labels, r.package)
    assert to_bytes(again) == to_bytes(r.seg)


def test_uids_depend_on_labels_package_encoding_and_root(tmp_path: Path) -> None:
    r = result(tmp_path)
    other_labels = r.labels.array.copy()
    other_labels[0, 0, 0] = 1
    changed = encode_again(r.series, Labels(other_labels, r.labels.grid), r.package)
    assert changed.SeriesInstanceUID == r.seg.SeriesInstanceUID
    assert changed.SOPInstanceUID != r.seg.SOPInstanceUID
    repackaged = Package(r.package.manifest, r.package.folder, "cd" * 32)
    other_model = encode_again(r.series, r.labels, repackaged)
    assert other_model.SeriesInstanceUID != r.seg.SeriesInstanceUID
    labelmap = encode_again(r.series, r.labels, r.package, Encoding(kind="labelmap"))
    assert labelmap.SeriesInstanceUID != r.seg.SeriesInstanceUID
    rooted = msgspec.structs.replace(IDENTITY, uid_root="1.2.826.0.1.3680043.10.1")
    own = encode_again(r.series, r.labels, r.package, identity=rooted)
    assert own.SOPInstanceUID.startswith("1.2.826.0.1.3680043.10.1.")


def test_an_empty_mask_is_a_result(tmp_path: Path) -> None:
    r = result(tmp_path)
    nothing = Labels(np.zeros_like(r.labels.array), r.labels.grid)
    for encoding in ENCODINGS:
        seg = encode_again(r.series, nothing, r.package, encoding)
        verify(to_bytes(seg), r.series, nothing, r.package.manifest.segments)
        assert "nothing detected" in seg.ContentDescription


def test_an_absent_segment_is_still_described(tmp_path: Path) -> None:
    r = result(tmp_path)
    only_second = Labels(np.where(r.labels.array == 2, 2, 0).astype(np.uint8), r.labels.grid)
    seg = encode_again(r.series, only_second, r.package)
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1, 2]
    numbers = {
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        for frame in seg.PerFrameFunctionalGroupsSequence
    }
    assert numbers == {2}
    verify(to_bytes(seg), r.series, only_second, r.package.manifest.segments)


def test_one_segment_alone_verifies(tmp_path: Path) -> None:
    r = result(tmp_path, Phantom(segments=1))
    verify(to_bytes(r.seg), r.series, r.labels, r.package.manifest.segments)


def test_all_frames_are_written_on_request(tmp_path: Path) -> None:
    r = result(tmp_path, encoding=Encoding(omit_empty_frames=False))
    assert r.seg.NumberOfFrames == 2 * 12


def test_the_source_never_changes(tmp_path: Path) -> None:
    r = result(tmp_path, Phantom(tags={"PatientSex": "X", "StudyDate": ""}))
    before = copy.deepcopy(r.series.datasets)
    seg, repairs = encode_again(r.series, r.labels, r.package), repairs_of(r.series)
    seg.PatientName = "Other"
    seg.ContributingEquipmentSequence[0].Manufacturer = "Other"
    assert repairs
    assert list(before) == list(r.series.datasets)


@pytest.mark.parametrize("offset", ["+0530", "-0800"])
def test_times_are_in_the_zone_of_the_source(tmp_path: Path, offset: str) -> None:
    seg = result(tmp_path, Phantom(tags={"TimezoneOffsetFromUTC": offset})).seg
    assert seg.TimezoneOffsetFromUTC == offset
    local = datetime.datetime.strptime(
        f"{seg.ContentDate}{seg.ContentTime}{offset}", "%Y%m%d%H%M%S%z"
    )
    assert local == CREATED


@pytest.fixture
def in_kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_kolkata")
@pytest.mark.parametrize("offset", [None, "", "CET", "+9900"])
def test_without_a_zone_of_the_source_times_are_local_and_no_zone_is_claimed(
    tmp_path: Path, offset: str | None
) -> None:
    r = result(tmp_path, Phantom(tags={} if offset is None else {"TimezoneOffsetFromUTC": offset}))
    report = r.report()
    for dataset in (r.seg, report):
        assert "TimezoneOffsetFromUTC" not in dataset, "it would date the study too"
        for prefix in ("Series", "Content", "InstanceCreation"):
            written = (str(dataset[f"{prefix}Date"].value), str(dataset[f"{prefix}Time"].value))
            assert written == ("20260102", "083405")
        for item in dataset.ContributingEquipmentSequence[1:]:  # the first is the scanner
            assert str(item.ContributionDateTime) == "20260102083405+0530", "an instant"
    verify(to_bytes(r.seg), r.series, r.labels)


@pytest.mark.usefixtures("in_kolkata")
def test_uids_do_not_depend_on_the_zone(tmp_path: Path) -> None:
    r = result(tmp_path)
    # a separate context: the fixture's undo would come first, and leave Kolkata to later tests
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        again = encode_again(r.series, r.labels, r.package)
    assert again.ContentDate != r.seg.ContentDate
    assert again.SOPInstanceUID == r.seg.SOPInstanceUID


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    r = result(tmp_path)
    shifted = r.labels.grid.affine.copy()
    shifted[0, 3] += 1
    elsewhere = Labels(r.labels.array, Grid(r.labels.grid.shape, shifted))
    with pytest.raises(ValueError, match="do not lie"):
        encode_again(r.series, elsewhere, r.package)
    strange = Labels(r.labels.array + np.uint8(1), r.labels.grid)
    with pytest.raises(ValueError, match="label 3"):
        encode_again(r.series, strange, r.package)
    with pytest.raises(ValueError, match="time zone"):
        encode(
            r.series, r.labels, r.package, "small", inputs_digest="", identity=IDENTITY,
            encoding=Encoding(), created=CREATED.replace(tzinfo=None),
        )  # fmt: skip


def test_a_long_name_still_fits_its_description(tmp_path: Path) -> None:
    r = result(tmp_path)
    manifest = msgspec.structs.replace(r.package.manifest, task="a" * 200)
    seg = encode_again(r.series, r.labels, Package(manifest, tmp_path, "ab" * 32))
    assert len(seg.SeriesDescription) == 60, "the one of the report has four characters more"
    assert seg.SeriesDescription.endswith("not for diagnosis")
    assert len(seg.ContentDescription) <= 64
    verify(to_bytes(seg), r.series, r.labels)


def test_writing_leaves_the_whole_file_and_nothing_else(tmp_path: Path) -> None:
    r = result(tmp_path)
    path = tmp_path / "out" / "seg.dcm"
    path.parent.mkdir()
    durable.write(path, to_bytes(r.seg))
    assert path.read_bytes() == to_bytes(r.seg)
    assert list(path.parent.iterdir()) == [path]
    verify(path, r.series, r.labels)


@pytest.mark.parametrize("segments", [1, 2])
def test_a_label_map_is_right_for_readers_that_go_by_index(tmp_path: Path, segments: int) -> None:
    encoding = Encoding(kind="labelmap", omit_empty_frames=False)
    r = result(tmp_path, Phantom(segments=segments), encoding)
    numbers = [int(item.SegmentNumber) for item in r.seg.SegmentSequence]
    assert numbers == [*range(1, segments + 1), 0], "the background does not shift the others"
    voxels = pydicom.dcmread(io.BytesIO(to_bytes(r.seg))).pixel_array
    images = r.seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    slices = [r.scan.uids.index(image.ReferencedSOPInstanceUID) for image in images]
    assert slices in ([*range(12)], [*reversed(range(12))]), "frames follow the normal"
    np.testing.assert_array_equal(voxels, r.scan.labels[slices])  # frame n shows image n


def test_a_background_before_the_segments_fails(tmp_path: Path) -> None:
    r = result(tmp_path, encoding=Encoding(kind="labelmap"))
    r.seg.SegmentSequence = [r.seg.SegmentSequence[-1], *r.seg.SegmentSequence[:-1]]
    with pytest.raises(VerificationFailed, match="segment numbers"):
        verify(to_bytes(r.seg), r.series, r.labels, r.package.manifest.segments)


def test_each_side_has_a_colour(tmp_path: Path) -> None:
    first, second = package(tmp_path).manifest.segments
    sides = [
        msgspec.structs.replace(first, label="Left hippocampus", colour_rgb=(220, 216, 20)),
        msgspec.structs.replace(second, label="Right hippocampus", colour_rgb=(220, 216, 20)),
    ]
    r = result(tmp_path)
    seg = encode_again(r.series, r.labels, package(tmp_path, sides))
    stored = [tuple(item.RecommendedDisplayCIELabValue) for item in seg.SegmentSequence]
    colours = [CIELabColor.from_dicom_value(value).to_rgb() for value in stored]
    expected = list(display_colours(sides).values())
    assert expected[0] == (220, 216, 20) != expected[1]
    assert np.abs(np.array(colours) - expected).max() <= 1
