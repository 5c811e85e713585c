"""Real series of many vendors: each is read, or is unsuitable with its error.

The archives are not part of the project; without them these tests are skipped.
"""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEGLosslessSV1

from node import errors
from node.imaging import Labels
from node.imaging.orient import orient
from node.seg import to_bytes, verify
from node.series import read
from tests.support.enhanced import enhance
from tests.support.phantoms import Scan, chiral, package
from tests.support.real_series import ARCHIVES, present, unpacked
from tests.support.segs import encode_again

READABLE = {
    "mr_siemens_skyra_mprage": ((192, 256, 256), (0.9, 0.859, 0.859)),
    "mr_siemens_prisma_t1_2d_HFS": ((35, 256, 256), (4.8, 1.016, 1.016)),
    "mr_siemens_prisma_t1_2d_HFDR": ((35, 256, 256), (4.8, 1.016, 1.016)),
    "ct_philips_brilliance_neck_ce": ((80, 512, 512), (3.0, 0.516, 0.516)),
    "mr_ge_mr750_t1post_pgbm002": ((22, 512, 512), (6.5, 0.43, 0.43)),
    "mr_ge_pioneer_grid_phantom": ((130, 256, 256), (1.2, 0.938, 0.938)),
    "mr_hippocrop_1": ((32, 51, 35), (1.0, 1.0, 1.0)),
    "mr_hippocrop_2": ((35, 48, 36), (1.0, 1.0, 1.0)),
    "mr_siemens_xa30_enhanced_t1": ((96, 128, 128), (2.0, 2.0, 2.0)),
    "mr_philips_enhanced_asl": ((40, 96, 96), (4.0, 2.5, 2.5)),
}
UNSUITABLE: dict[str, type[errors.Unsuitable]] = {
    "ct_ge_hispeed_head_tilt_irregular": errors.GantryTilt,
    "ct_siemens_body_j2k": errors.NotAnImage,  # all UIDs were removed
    "mr_canon_galan_dti_classic": errors.FourDimensional,
    "mr_canon_galan_dti_enhanced": errors.FourDimensional,
    "mr_philips_enhanced_fieldmap": errors.FourDimensional,
    "mr_enhanced_minis": errors.FourDimensional,
    "mr_uih_dti_multiframe_like": errors.FourDimensional,
    "mr_siemens_compressed_epi": errors.FourDimensional,
}
MINIS: dict[str, type[errors.Unsuitable]] = {  # folders of `mr_ct_vendor_minis`
    "failing/gantrytilting/001": errors.GantryTilt,
    "failing/notavolume/001": errors.FourDimensional,
    "failing/slicecount/001": errors.NoFrameOfReference,
    "failing/sliceincrement/001": errors.MissingSlice,
    "failing/sliceincrement/002": errors.GantryTilt,
    "failing/sliceorientation/001": errors.MixedOrientation,
    "ge/dti/001": errors.FourDimensional,
    "generic/rgb/001": errors.SecondaryCapture,
    "philips_enhanced/dti/001": errors.FourDimensional,
} | dict.fromkeys(  # readable geometry, but no frame of reference for a result
    (
        "ge/anatomical/001", "generic/anatomical/001", "generic/anatomical/001_implicit",
        "generic/anatomical/002_non_isotropic", "generic/compressed/001",
        "generic/compressed_j2k/001", "generic/compressed_jpeg/001",
        "generic/compressed_jpegls/001",
        "generic/compressed_rle/001", "hitachi/anatomical/001", "hyperfine/anatomical/001",
        "philips/anatomical/001", "philips_enhanced/anatomical/001", "siemens/anatomical/001",
    ),
    errors.NoFrameOfReference,
)  # fmt: skip


def files_by_folder(root: Path) -> list[list[Path]]:
    folders = sorted({path.parent for path in root.rglob("*") if path.is_file()})
    return [
        sorted(p for p in folder.iterdir() if p.is_file() and p.suffix != ".txt")
        for folder in folders
    ]


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_good_series_is_read_and_its_seg_verifies(tmp_path: Path, name: str) -> None:
    shape, spacing = READABLE[name]
    series = read(files_by_folder(unpacked(name, tmp_path))[0])
    assert series.volume.array.shape == shape
    np.testing.assert_allclose(series.volume.grid.spacing_mm, spacing, atol=0.001)
    assert series.survey.dropped == ()
    labels = Labels(chiral(shape), series.survey.grid)
    model = package(tmp_path)
    seg = encode_again(series, labels, model)
    verify(to_bytes(seg), series, labels, model.manifest.segments)


@pytest.mark.parametrize("name", UNSUITABLE)
def test_a_series_that_is_not_a_volume_is_unsuitable(tmp_path: Path, name: str) -> None:
    for paths in files_by_folder(unpacked(name, tmp_path)):
        with pytest.raises(UNSUITABLE[name]) as caught:
            read(paths)
        assert type(caught.value) is UNSUITABLE[name]


def test_each_of_the_minis_is_unsuitable_with_its_error(tmp_path: Path) -> None:
    root = unpacked("mr_ct_vendor_minis", tmp_path)
    raised = {}
    for paths in files_by_folder(root):
        with pytest.raises(errors.Unsuitable) as caught:
            read(paths)
        raised[str(paths[0].parent.relative_to(root))] = type(caught.value)
    assert raised == MINIS


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_enhanced_head_has_its_anatomy_in_place(tmp_path: Path) -> None:
    (paths,) = files_by_folder(unpacked("mr_siemens_xa30_enhanced_t1", tmp_path))
    volume = read(paths).volume
    assert (volume.array.min(), volume.array.max()) == (0, 2927)
    canonical, _ = orient(volume)
    bright = canonical.array > 200
    head = np.flatnonzero(bright.mean(axis=(1, 2)) > 0.02)
    assert head[-1] < len(bright) - 1, "there is air above the head"
    # the neck reaches the lower edge of the image; the skull ends below the upper edge
    assert bright[0].mean() > 10 * bright[-1].mean()


def test_frames_of_jpeg_lossless_and_their_single_images_are_the_same_volume(
    tmp_path: Path,
) -> None:
    folder = unpacked("mr_ct_vendor_minis", tmp_path) / "generic" / "compressed_jpeg" / "001"
    paths = sorted(p for p in folder.iterdir() if p.is_file())
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.FrameOfReferenceUID = "1.2.3"
        dataset.save_as(path)
    single = read(paths)
    uids = [header.sop_instance_uid for header in single.survey.headers]
    scan = Scan(paths, np.zeros(0, np.uint8), single.volume.array, single.volume.grid.affine, uids)
    path = enhance(scan, tmp_path / "enhanced.dcm")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1  # its frames are encoded already
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.save_as(path)
    multi = read([path])
    np.testing.assert_array_equal(multi.volume.array, single.volume.array)
    np.testing.assert_array_equal(multi.volume.grid.affine, single.volume.grid.affine)


@pytest.mark.parametrize(
    "syntax", ["compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle"]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_vendors_compressed_series_decode_to_the_same_volume(tmp_path: Path, syntax: str) -> None:

    root = unpacked("mr_ct_vendor_minis", tmp_path) / "generic"

    def placed(folder: Path) -> np.ndarray:
        paths = sorted(p for p in folder.iterdir() if p.is_file())
        for path in paths:
            dataset = pydicom.dcmread(path)
            dataset.FrameOfReferenceUID = "1.2.3"
            dataset.save_as(path)
        return read(paths).volume.array

    reference = placed(root / "compressed" / "001")
    np.testing.assert_array_equal(placed(root / syntax / "001"), reference)


def test_each_archive_has_an_expected_decision() -> None:
    paths = present(ARCHIVES).glob("*.tar.xz")
    archives = {path.name.removesuffix(".tar.xz") for path in paths}
    assert archives
    assert archives <= READABLE.keys() | UNSUITABLE.keys() | {"mr_ct_vendor_minis"}
