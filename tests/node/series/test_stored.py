"""Bits and padding: which bits are the value, and which pixels are not believed to be padding."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from node.caveats import CaveatCode
from node.errors import WrongUnits
from node.series import read
from node.series.pixel_format import PixelFormat
from node.series.stored import stored_values
from tests.support.phantoms import Phantom, make

Pixels = Callable[[np.ndarray, int], np.ndarray]


def altered(pixels: Pixels, **values: object) -> Callable[[Dataset, int], None]:
    """Return the change that rewrites the stored values and some attributes."""

    def change(dataset: Dataset, z: int) -> None:
        stored = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        written = pixels(stored.copy(), z)
        dataset.PixelData = written.astype("<i4").astype("<u2").tobytes()
        for keyword, value in values.items():
            if keyword.startswith("Pixel") and isinstance(value, int) and "Padding" in keyword:
                is_signed = values.get("PixelRepresentation", 0) == 1
                tag = 0x00280120 if keyword == "PixelPaddingValue" else 0x00280121
                dataset.add_new(tag, "SS" if is_signed else "US", value)
            else:
                setattr(dataset, keyword, value)

    return change


def same(stored: np.ndarray, _z: int) -> np.ndarray:
    return stored


SIGNED = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}


@pytest.mark.parametrize(
    ("cells", "form", "expected", "cleared"),
    [
        ([0x0123, 0x0FFF], {"high_bit": 11}, [0x123, 0xFFF], []),
        ([0x1230, 0xFFF0], {"high_bit": 15}, [0x123, 0xFFF], []),
        ([0x1235, 0x1230], {"high_bit": 15}, [0x123, 0x123], [0]),
        ([0x8123, 0x0123], {"high_bit": 11}, [0x123, 0x123], [0]),
        ([0x0923], {"high_bit": None}, [0x923], []),
        ([-700, 700], {"high_bit": 11, "representation": 1}, [-700, 700], []),
        ([0x0D44, 0x0123], {"high_bit": 11, "representation": 1}, [-700, 0x123], []),
        ([0x4D44, 0x1123], {"high_bit": 11, "representation": 1}, [-700, 0x123], [0, 1]),
        ([0x5440 - 0x8000], {"high_bit": 15, "representation": 1}, [0xD44 - 0x1000], []),
        ([0x0486], {"high_bit": 12}, [0x243], []),
    ],
)
def test_the_value_lies_below_high_bit(
    cells: list[int], form: dict[str, int | None], expected: list[int], cleared: list[int]
) -> None:
    pixels = PixelFormat(
        samples_per_pixel=1,
        photometric="MONOCHROME2",
        bits_allocated=16,
        bits_stored=12,
        **{"representation": 0} | form,  # type: ignore[arg-type]
    )
    samples = np.array([cells], np.int16 if form.get("representation") else np.uint16)
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        values = stored_values(samples, pixels, syntax, overlays=0)
        assert values.values[0].tolist() == expected
        marked = [] if values.cleared is None else np.flatnonzero(values.cleared[0]).tolist()
        assert marked == cleared


def test_values_above_bits_stored_are_masked_and_noted(tmp_path: Path) -> None:
    change = altered(same, BitsStored=8, HighBit=7)
    scan = make(tmp_path, Phantom(change=change))
    series = read(scan.paths)
    np.testing.assert_array_equal(series.volume.array, scan.values.astype(int) & 0xFF)
    (caveat,) = series.caveats
    assert caveat.code is CaveatCode.BITS
    assert "of 9 images" in caveat.text


def test_a_sign_that_the_bits_above_it_contradict_is_noted(tmp_path: Path) -> None:
    change = altered(lambda stored, _z: stored + 1600, PixelRepresentation=1)
    (caveat,) = read(make(tmp_path / "wrong", Phantom(change=change)).paths).caveats
    assert caveat.code is CaveatCode.BITS
    assert "negative by Pixel Representation" in caveat.text
    change = altered(lambda stored, _z: stored.astype(int) - 300, PixelRepresentation=1)
    assert read(make(tmp_path / "right", Phantom(change=change)).paths).caveats == ()


def test_high_bit_of_a_whole_series_is_read(tmp_path: Path) -> None:
    change = altered(lambda stored, _z: stored << 4, HighBit=15)
    scan = make(tmp_path, Phantom(change=change))
    series = read(scan.paths)
    np.testing.assert_array_equal(series.volume.array, scan.values)
    assert series.caveats == ()


def test_a_declared_overlay_above_the_value_is_no_note(tmp_path: Path) -> None:
    def change(dataset: Dataset, z: int) -> None:
        altered(lambda stored, _z: stored | 0x8000)(dataset, z)
        dataset.add_new(0x60000100, "US", 16)
        dataset.add_new(0x60000102, "US", 15)

    scan = make(tmp_path, Phantom(change=change))
    series = read(scan.paths)
    np.testing.assert_array_equal(series.volume.array, scan.values)
    assert series.caveats == ()


def hounsfield(stored: np.ndarray, z: int) -> np.ndarray:
    """A body of 0 to 1300 HU in air of -1000 HU, with some water of exactly 0 HU inside."""
    values = stored.astype(int) - 100
    values[:3], values[-3:], values[:, :3], values[:, -3:] = -1000, -1000, -1000, -1000
    values[8:11, 6:9] = 0
    return values


def test_padding_of_0_hu_inside_the_body_is_not_believed(tmp_path: Path) -> None:
    change = altered(hounsfield, **SIGNED, PixelPaddingValue=0)
    scan = make(tmp_path, Phantom(modality="CT", change=change))
    series = read(scan.paths)
    assert (series.volume.array[:, 8:11, 6:9] == 0).all()
    assert [caveat.code for caveat in series.caveats] == [CaveatCode.PADDING]


def test_padding_of_0_hu_around_the_body_is_believed(tmp_path: Path) -> None:
    def padded(stored: np.ndarray, z: int) -> np.ndarray:
        values = hounsfield(stored, z)
        values[:2], values[:, :2] = 0, 0
        return values

    change = altered(padded, **SIGNED, PixelPaddingValue=0)
    scan = make(tmp_path, Phantom(modality="CT", change=change))
    array = read(scan.paths).volume.array
    assert (array[:, :2] == -1000).all()
    assert (array[:, 8:11, 6:9] == 0).all()


def test_a_padding_range_over_tissue_is_not_believed(tmp_path: Path) -> None:
    change = altered(hounsfield, **SIGNED, PixelPaddingValue=-3000, PixelPaddingRangeLimit=400)
    plain = make(tmp_path / "plain", Phantom(modality="CT", change=altered(hounsfield, **SIGNED)))
    series = read(make(tmp_path / "padded", Phantom(modality="CT", change=change)).paths)
    np.testing.assert_array_equal(series.volume.array, read(plain.paths).volume.array)
    assert [caveat.code for caveat in series.caveats] == [CaveatCode.PADDING]


@pytest.mark.parametrize(("value", "limit"), [(-2000, None), (-2000, -1500), (-1500, -2000)])
def test_padding_below_all_values_is_believed_everywhere(
    tmp_path: Path, value: int, limit: int | None
) -> None:
    def padded(stored: np.ndarray, z: int) -> np.ndarray:
        values = hounsfield(stored, z)
        values[8:11, 6:9] = -2000  # a hole inside the body, as after the removal of a face
        if limit is not None:
            values[8, 6] = -1700
        return values

    limits = {} if limit is None else {"PixelPaddingRangeLimit": limit}
    change = altered(padded, **SIGNED, PixelPaddingValue=value, **limits)
    scan = make(tmp_path, Phantom(modality="CT", change=change))
    series = read(scan.paths)
    assert (series.volume.array[:, 8:11, 6:9] == -1000).all()
    assert series.caveats == ()


def _unsigned_ct(pixels: Callable[[np.ndarray], np.ndarray], **attributes: object) -> Phantom:
    """Return a CT with 16 unsigned bits: the stored values of a phantom, changed by `pixels`."""
    change = altered(
        lambda stored, _z: pixels(stored.astype(np.int32)),
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        RescaleIntercept="-1024",
        **attributes,
    )
    return Phantom(modality="CT", change=change)


def test_a_value_above_those_of_any_ct_is_noted(tmp_path: Path) -> None:
    """It may be padding without its attribute."""

    def padded(stored: np.ndarray) -> np.ndarray:
        stored[:2] = 63536
        return stored

    (caveat,) = read(make(tmp_path, _unsigned_ct(padded)).paths).caveats
    assert caveat.code is CaveatCode.BITS
    assert "above 32767 HU" in caveat.text


def test_a_range_of_padding_may_have_many_values(tmp_path: Path) -> None:
    def padded(stored: np.ndarray) -> np.ndarray:
        stored[:2] = 63000 + np.arange(2 * stored.shape[1]).reshape(2, -1)
        return stored

    phantom = _unsigned_ct(padded, PixelPaddingValue=63000, PixelPaddingRangeLimit=65535)
    (caveat,) = read(make(tmp_path, phantom).paths).caveats
    assert caveat.code is CaveatCode.PADDING


def test_many_values_above_those_of_any_ct_are_no_padding(tmp_path: Path) -> None:
    """Negative values that a header calls unsigned are 65536 too high."""
    scan = make(tmp_path, _unsigned_ct(lambda stored: stored - 1024))
    with pytest.raises(WrongUnits, match="different values above 32767 HU"):
        read(scan.paths)
