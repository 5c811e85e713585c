"""Lossy compression of the source: derived from all slices and from the transfer syntax."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from node.caveats import CaveatCode
from node.seg import to_bytes, verify
from node.series import read
from node.series.lossy import is_lossy
from tests.support.odd_headers import Edit, coded, image_type, in_slices, sets
from tests.support.phantoms import Phantom
from tests.support.segs import result


@pytest.mark.parametrize(
    ("syntax", "flag", "expected"),
    [
        (JPEGBaseline8Bit, None, True),
        (JPEG2000, None, True),
        (JPEG2000, "00", True),
        (JPEGLSNearLossless, None, True),
        (HTJ2K, None, True),
        (JPEG2000Lossless, None, False),
        (JPEGLSLossless, "00", False),
        (JPEGLosslessSV1, None, False),
        (RLELossless, None, False),
        (RLELossless, "01", True),
    ],
)
def test_the_flag_or_the_syntax_tells(syntax: UID, flag: str | None, expected: bool) -> None:
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    if flag is not None:
        dataset.LossyImageCompression = flag
    assert is_lossy(dataset) is expected


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (sets(LossyImageCompressionRatio="10"), True),
        (sets(LossyImageCompressionRatio=["1", "8.5"]), True),
        (sets(LossyImageCompressionRatio="1", LossyImageCompression="00"), False),
        (sets(LossyImageCompressionMethod="ISO_15444_1"), True),
        (sets(LossyImageCompression="1"), True),
        (image_type("DERIVED", "PRIMARY", "AXIAL", "JP2K LOSSY 6:1"), True),
        (image_type("DERIVED", "PRIMARY", "AXIAL", "JP2K LOSSLESS"), False),
        (coded("DerivationCodeSequence", "113040"), True),
        (coded("DerivationCodeSequence", "113072"), False),
    ],
)
def test_one_sign_of_lossy_compression_is_enough(edit: Edit, expected: bool) -> None:
    dataset = Dataset()
    edit(dataset)
    assert is_lossy(dataset) is expected


@pytest.mark.parametrize("slices", [None, (0,), (11,), (5, 6)])
def test_one_lossy_slice_makes_the_result_lossy(
    tmp_path: Path, slices: tuple[int, ...] | None
) -> None:
    lossy = sets(
        LossyImageCompression="01",
        LossyImageCompressionRatio="8.5",
        LossyImageCompressionMethod="ISO_10918_1",
    )
    r = result(tmp_path, Phantom(change=in_slices(lossy, slices)))
    assert r.seg.LossyImageCompression == "01"
    assert float(r.seg.LossyImageCompressionRatio) == 8.5
    assert r.seg.LossyImageCompressionMethod == "ISO_10918_1"
    assert CaveatCode.LOSSY in {caveat.code for caveat in r.series.caveats}
    verify(to_bytes(r.seg), r.series, r.labels)


def test_a_lossy_slice_without_ratio_makes_no_ratio_up(tmp_path: Path) -> None:
    r = result(tmp_path, Phantom(change=in_slices(sets(LossyImageCompression="01"), (3,))))
    assert r.seg.LossyImageCompression == "01"
    assert not r.seg.get("LossyImageCompressionRatio")


def test_a_lossless_source_gives_a_lossless_result(tmp_path: Path) -> None:
    r = result(tmp_path, Phantom(change=in_slices(sets(LossyImageCompression="00"))))
    assert r.seg.LossyImageCompression == "00"
    assert r.series.caveats == ()


def test_the_syntax_of_a_series_without_flag_counts(tmp_path: Path) -> None:
    scan = result(tmp_path, Phantom(shape=(3, 40, 32))).scan
    for path in scan.paths:
        dataset = pydicom.dcmread(path)
        dataset.compress(JPEG2000, j2k_cr=[4], generate_instance_uid=False)
        dataset.save_as(path)
    series = read(scan.paths)
    (caveat,) = [one for one in series.caveats if one.code is CaveatCode.LOSSY]
    assert "3 of 3 source images" in caveat.text
