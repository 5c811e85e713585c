"""The head and neck package on CT of several sources: organs are plausible, or it is unsuitable."""

import json
import plistlib
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from node.commands.offline import series_files
from node.errors import GantryTilt, ImplausibleResult, NodeError, NotAnImage, UnevenSpacing
from node.imaging import Grid, Volume, nifti
from node.package import Package
from node.pipeline import dice
from node.series.compose import Labelling, compose
from tests.support.anatomy import centres_mm, released, segmented
from tests.support.real_series import SHARED, shared_volume, unpacked

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
CRANIUM = ROOT / ".venv" / "cranium" / "Cranium.inv3"  # tests/support/system-packages.sh brings it
CT = Labelling(modality="CT", body_part="HEADNECK")


@pytest.fixture(scope="module")
def package() -> Package:
    return released("headneck-ct")


@pytest.fixture(scope="module")
def size(package: Package) -> str:
    """Return the smallest size, which is the least accurate."""
    return list(package.manifest.sizes)[-1]


def written(volume: Volume, folder: Path) -> tuple[Path, ...]:
    return compose(volume, folder, CT, NOW).files


def check(at: dict[str, np.ndarray]) -> None:
    left, right = at["Left parotid gland"], at["Right parotid gland"]
    stem, cord, jaw = at["Brain stem"], at["Spinal cord"], at["Mandible"]
    assert left[0] > right[0] + 60, "sides"
    assert right[0] < jaw[0] < left[0]
    assert stem[2] > cord[2] + 20, "brain stem above the cord"
    assert jaw[1] < stem[1] - 30, "jaw in front of the brain stem"
    assert jaw[2] < stem[2], "jaw below the brain stem"


def test_the_average_patient_is_plausible_at_every_size(tmp_path: Path, package: Package) -> None:
    volume = nifti.read_volume(package.folder / package.manifest.reference.image)
    files = written(volume, tmp_path / "series")
    for size in package.manifest.sizes:
        check(centres_mm(segmented(files, package, size, tmp_path / size), package))


@pytest.mark.parametrize("orientation", ["axial", "sagittal", "coronal"])
def test_slices_of_any_plane_give_the_same_places(
    tmp_path: Path, package: Package, size: str, orientation: str
) -> None:
    axial = nifti.read_volume(package.folder / package.manifest.reference.image)
    turn = {"axial": (0, 1, 2), "sagittal": (2, 0, 1), "coronal": (1, 0, 2)}[orientation]
    array = np.ascontiguousarray(axial.array.transpose(turn))
    affine = axial.grid.affine[:, [*turn, 3]]
    turned = Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))
    check(
        centres_mm(
            segmented(written(turned, tmp_path / "s"), package, size, tmp_path / "o"), package
        )
    )


def test_a_real_case_as_dicom_agrees_with_its_contours(
    tmp_path: Path, package: Package, size: str
) -> None:
    """Compare one of the 20 held-out cases; the card has the results of all."""
    folder = SHARED / "openkbp_headneck_ct"
    if not folder.is_dir():
        pytest.skip("the data set is absent")
    case = json.loads((folder / "splits.json").read_text(encoding="utf-8"))["val"][0]
    image = nifti.read_volume(folder / "ct" / f"{case}_ct.nii.gz")
    truth = nifti.read_labels(folder / "seg" / f"{case}_seg.nii.gz")
    labels = segmented(written(image, tmp_path / "series"), package, size, tmp_path / "out")
    check(centres_mm(labels, package))
    for number, least in ((3, 0.6), (4, 0.6), (7, 0.7)):
        assert dice(labels.array == number, truth.array == number) > least, number


def cranium() -> Volume:
    """Return the head CT of Debian's invesalius-examples, 256 x 256 x 108, in HU."""
    with tarfile.open(CRANIUM) as tar:
        parts = {Path(member.name).name: member for member in tar.getmembers()}
        header, stored = (tar.extractfile(parts[name]) for name in ("main.plist", "matrix.dat"))
        assert header is not None
        assert stored is not None
        head = plistlib.loads(header.read())
        shape = tuple(head["matrix"]["shape"])
        array = np.frombuffer(stored.read(), np.int16).reshape(shape)[:, ::-1]  # nose first
    x, y, z = head["spacing"]
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], float)
    return Volume(np.ascontiguousarray(array, np.float32), Grid(shape, affine))


@pytest.mark.skipif(
    not CRANIUM.is_file(), reason="tests/support/system-packages.sh did not fetch it"
)
def test_a_head_that_ends_at_the_upper_jaw_is_implausible(
    tmp_path: Path, package: Package, size: str
) -> None:
    """Nearly all of the lower jaw lies outside the image: 5 ml remain."""
    files = written(cranium(), tmp_path / "series")
    with pytest.raises(ImplausibleResult, match="mandible"):
        segmented(files, package, size, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.dcm"))


UNSUITABLE: dict[str, tuple[type[NodeError], ...]] = {
    "ct_ge_hispeed_head_tilt_irregular": (GantryTilt, UnevenSpacing),
    "ct_siemens_body_j2k": (NotAnImage,),  # all UIDs were removed
}


@pytest.mark.parametrize("name", UNSUITABLE)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_real_series_that_is_not_a_neck_is_unsuitable(
    tmp_path: Path, package: Package, size: str, name: str
) -> None:
    folder = unpacked(name, tmp_path)
    with pytest.raises(UNSUITABLE[name]):  # some files are refused before there is a series
        segmented(series_files(folder, None), package, size, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.dcm"))


def test_a_torso_has_no_jaw(tmp_path: Path, package: Package, size: str) -> None:
    image = shared_volume("ct_torso_samples/ts_example_ct.nii.gz")
    files = written(image, tmp_path / "series")
    with pytest.raises(ImplausibleResult, match="mandible"):
        segmented(files, package, size, tmp_path / "out")
    assert not list(tmp_path.glob("out/*.dcm"))
