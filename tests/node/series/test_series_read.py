"""Pixels: rescale, padding, odd bits, compressed syntaxes, damage."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from node.errors import Conflicting, UndecodablePixels, UnusableRescale
from node.imaging import Volume
from node.series import read
from node.series.compose import Labelling, compose
from tests.support.enhanced import enhance
from tests.support.packages import phantom
from tests.support.phantoms import PLANES, Phantom, make


@pytest.mark.parametrize("plane", PLANES)
def test_a_volume_has_the_values_and_the_place_of_the_phantom(tmp_path: Path, plane: str) -> None:
    scan = make(tmp_path, Phantom(plane=plane))
    series = read(scan.paths)
    assert series.volume.array.dtype == np.float32
    np.testing.assert_array_equal(series.volume.array, scan.values)
    assert series.volume.grid.is_close(scan.grid, 1e-6)
    assert [d.SOPInstanceUID for d in series.datasets] == scan.uids
    assert all("PixelData" not in dataset for dataset in series.datasets)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(rescale=((2.0, -50.0), (0.5, 10.0), (1.0, 0.0))))
    np.testing.assert_allclose(read(scan.paths).volume.array, scan.values)


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless],
)
def test_lossless_syntaxes_give_the_same_volume(tmp_path: Path, syntax: UID) -> None:
    scan = make(tmp_path, Phantom(shape=(3, 40, 32), syntax=syntax))
    np.testing.assert_array_equal(read(scan.paths).volume.array, scan.values)


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_monochrome1_changes_no_value(tmp_path: Path, modality: str) -> None:
    tags = {"PhotometricInterpretation": "MONOCHROME1"}
    scan = make(tmp_path, Phantom(modality=modality, tags=tags))
    np.testing.assert_array_equal(read(scan.paths).volume.array, scan.values)


def _signed(dataset: Dataset, _z: int) -> None:
    values = np.frombuffer(dataset.PixelData, np.uint16).astype(np.int16) - 1000
    values[:16] = -2000  # the first row lies outside the circular field of view
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
    dataset.PixelData = values.tobytes()


@pytest.mark.parametrize("padding", [-2000, 63536])
def test_padding_of_a_ct_takes_the_lowest_measured_value(tmp_path: Path, padding: int) -> None:
    def change(dataset: Dataset, z: int) -> None:
        _signed(dataset, z)
        dataset.add_new(0x00280120, "SS" if padding < 0 else "US", padding)

    scan = make(tmp_path, Phantom(modality="CT", change=change))
    array = read(scan.paths).volume.array
    np.testing.assert_array_equal(array[:, 1:], scan.values[:, 1:] - 1000)
    assert (array[:, 0] == array[:, 1:].min()).all()


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("representation", [0, 1], ids=["unsigned", "signed"])
def test_padding_outside_the_stored_bits_is_padding(
    tmp_path: Path, modality: str, representation: int
) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        values = np.frombuffer(dataset.PixelData, np.uint16).copy()
        values[:16] = 60536  # of 16 bits; the lower 12 of them alone would be 3192, or -904
        dataset.PixelData = values.tobytes()
        dataset.PixelRepresentation = representation
        dataset.RescaleIntercept = "-1000"  # an unsigned CT without it would have no air
        vr, padding = ("SS", -5000) if representation else ("US", 60536)
        dataset.add_new(0x00280120, vr, padding)

    scan = make(tmp_path, Phantom(modality=modality, change=change))
    array = read(scan.paths).volume.array
    np.testing.assert_array_equal(array[:, 1:], scan.values[:, 1:] - 1000)
    assert (array[:, 0] == array[:, 1:].min()).all()


def test_padding_of_zero_stays_zero_in_mr(tmp_path: Path) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        values = np.frombuffer(dataset.PixelData, np.uint16).copy()
        values[:16] = 0
        dataset.PixelData = values.tobytes()
        dataset.PixelPaddingValue = 0

    array = read(make(tmp_path, Phantom(change=change)).paths).volume.array
    assert (array[:, 0] == 0).all()


def test_bits_above_the_stored_ones_are_cleared(tmp_path: Path) -> None:
    def change(dataset: Dataset, _z: int) -> None:
        values = np.frombuffer(dataset.PixelData, np.uint16) | 0x8000  # an overlay, as of old
        dataset.PixelData = values.tobytes()

    scan = make(tmp_path, Phantom(change=change))
    np.testing.assert_array_equal(read(scan.paths).volume.array, scan.values)


def test_truncated_pixels_are_unsuitable_with_their_syntax(tmp_path: Path) -> None:
    scan = make(tmp_path)
    path = scan.paths[4]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UndecodablePixels, match="Explicit VR Little Endian") as caught:
        read(scan.paths)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize("frames", [False, True])
def test_more_pixels_than_rows_and_columns_are_unsuitable(tmp_path: Path, frames: bool) -> None:
    """A wrong number of rows would leave out a part of every image."""

    def halve(dataset: Dataset) -> None:
        dataset.Rows //= 2

    scan = make(tmp_path / "classic")
    paths = list(scan.paths)
    if frames:
        paths = [enhance(scan, tmp_path / "enhanced.dcm", change=halve)]
    else:
        for path in paths:
            dataset = pydicom.dcmread(path)
            halve(dataset)
            dataset.save_as(path)
    with pytest.raises(UndecodablePixels, match=r"Pixel Data has \d+ bytes, not \d+"):
        read(paths)


def test_padding_behind_the_pixels_is_left_out(tmp_path: Path) -> None:
    scan = make(tmp_path)
    for path in scan.paths:
        dataset = pydicom.dcmread(path)
        dataset.PixelData += bytes(512)
        dataset.save_as(path)
    np.testing.assert_array_equal(read(scan.paths).volume.array, scan.values)


def test_the_advice_about_uncompressed_pixels_names_no_compression(tmp_path: Path) -> None:
    scan = make(tmp_path)
    dataset = pydicom.dcmread(scan.paths[4])
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(scan.paths[4])
    with pytest.raises(UndecodablePixels, match="Pixel Data has 100 bytes") as caught:
        read(scan.paths)
    assert "compress" not in caught.value.advice


def test_damaged_frames_are_unsuitable_with_their_syntax(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(shape=(4, 40, 32), syntax=JPEG2000Lossless))
    path = scan.paths[2]
    raw = bytearray(path.read_bytes())
    raw[-200:] = b"\xaa" * 200
    path.write_bytes(raw)
    with pytest.raises(UndecodablePixels, match="JPEG 2000"):
        read(scan.paths)


def test_a_syntax_without_a_decoder_is_unsuitable(tmp_path: Path) -> None:
    scan = make(tmp_path, Phantom(syntax=RLELossless))
    for path in scan.paths:
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4
        dataset.save_as(path)
    with pytest.raises(UndecodablePixels, match="MPEG-4"):
        read(scan.paths)


@pytest.mark.parametrize("slope", ["0", "1e400"])
def test_an_invalid_rescale_is_unsuitable(tmp_path: Path, slope: str) -> None:
    scan = make(tmp_path, Phantom(modality="CT", tags={"RescaleSlope": slope}))
    with pytest.raises(UnusableRescale):
        read(scan.paths)


def test_a_copy_of_a_file_counts_once(tmp_path: Path) -> None:
    scan = make(tmp_path)
    copy = Path(shutil.copy(scan.paths[0], tmp_path / "copy.dcm"))
    np.testing.assert_array_equal(read([copy, *scan.paths]).volume.array, scan.values)


def test_two_contents_with_one_uid_are_a_conflict(tmp_path: Path) -> None:
    scan = make(tmp_path)
    raw = bytearray(scan.paths[0].read_bytes())
    raw[-1] ^= 1  # a pixel: the headers stay equal
    other = tmp_path / "other.dcm"
    other.write_bytes(raw)
    with pytest.raises(Conflicting):
        read([other, *scan.paths])


def test_a_composed_series_states_its_time_zone(tmp_path: Path) -> None:
    noon_in_tokyo = datetime.datetime(
        2026, 1, 2, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=9))
    )
    composed = compose(phantom(), tmp_path, Labelling(), noon_in_tokyo)
    dataset = pydicom.dcmread(composed.files[0])
    assert (dataset.StudyTime, dataset.TimezoneOffsetFromUTC) == ("030000", "+0000")


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (-1000, 766), (3000, 7000), (-5000, -3000)])
def test_whole_numbers_survive_the_round_trip_through_dicom(
    tmp_path: Path, low: int, high: int
) -> None:
    """A reference case is compared voxel by voxel, and rounding would decide ties differently."""
    grid = phantom().grid
    values = np.random.default_rng(0).integers(low, high, grid.shape, endpoint=True)
    values[0, 0, :2] = low, high
    volume = Volume(values.astype(np.float32), grid)
    now = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    files = compose(volume, tmp_path, Labelling(modality="CT"), now).files
    np.testing.assert_array_equal(read(list(files)).volume.array, volume.array)
