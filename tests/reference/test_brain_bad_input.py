"""The brain package on what is no whole head of a healthy adult: refused, or sent with a caveat.

Nothing plausible is sent for an object that is not a brain. Every volume goes through the pipeline
of the node as a DICOM series, with size small.
"""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from scipy.ndimage import binary_dilation

from node.caveats import CaveatCode
from node.commands.offline import OfflineJob, run_job, series_files
from node.commands.terminal import Progress
from node.errors import ImplausibleResult, NodeError, Unsuitable
from node.imaging import Grid, Labels, Volume, nifti
from node.package import Package
from node.pipeline import open_student, segment
from node.segmenter import SegmentedSeries
from node.series.compose import Labelling, compose
from tests.support import not_a_brain
from tests.support.anatomy import released
from tests.support.real_series import shared_volume, unpacked

pytestmark = pytest.mark.slow
NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
HEAD = Path(__file__).parents[2] / "node" / "commands" / "demo" / "colin27_head.nii.gz"
SIZE = "small"


@pytest.fixture(scope="module")
def package() -> Package:
    return released("brain-mr")


@pytest.fixture(scope="module")
def head() -> Volume:
    return nifti.read_volume(HEAD)


@pytest.fixture(scope="module")
def labels_of_head(head: Volume, package: Package) -> Labels:
    return segment(head, package, open_student(package, SIZE, threads=1)).labels


def run(files: tuple[Path, ...], package: Package, folder: Path) -> SegmentedSeries:
    job = OfflineJob(files, package, SIZE, folder / "out", threads=1)
    return run_job(job, Progress(quiet=True))


def sent(volume: Volume, package: Package, folder: Path, age: str = "") -> SegmentedSeries:
    """Segment a volume as a DICOM series of a patient of that age."""
    files = compose(volume, folder / "series", Labelling(), NOW).files
    if age:
        for path in files:
            dataset = pydicom.dcmread(path)
            dataset.PatientAge = age
            dataset.save_as(path)
    return run(files, package, folder)


def refused(volume: Volume, package: Package, folder: Path, kind: type[NodeError]) -> str:
    """Return the message of the refusal; no object is written."""
    with pytest.raises(kind) as caught:
        sent(volume, package, folder)
    assert not list(folder.glob("out/*.dcm"))
    assert caught.value.advice
    return str(caught.value)


def changed(head: Volume, array: np.ndarray) -> Volume:
    return Volume(array.astype(np.float32), head.grid)


def scaled(head: Volume, share: float) -> Volume:
    """Return a smaller head: the same voxels, nearer to each other."""
    affine = head.grid.affine.copy()
    affine[:3, :3] *= share
    return Volume(head.array, Grid(head.grid.shape, affine))


def part(head: Volume, axis: int, begin_share: float, end_share: float) -> Volume:
    """Return the part of a head between two shares of an axis, at its place."""
    edge = head.grid.shape[axis]
    begin, end = round(begin_share * edge), round(end_share * edge)
    array = np.ascontiguousarray(head.array.take(range(begin, end), axis))
    affine = head.grid.affine.copy()
    affine[:3, 3] += affine[:3, axis] * begin
    return Volume(array, Grid((array.shape[0], array.shape[1], array.shape[2]), affine))


@pytest.mark.parametrize("name", not_a_brain.OBJECTS)
def test_an_object_that_is_not_a_brain_is_refused(
    tmp_path: Path, package: Package, name: str
) -> None:
    message = refused(not_a_brain.OBJECTS[name](), package, tmp_path, ImplausibleResult)
    assert "as segmented" in message


def test_a_real_grid_phantom_is_refused(tmp_path: Path, package: Package) -> None:
    files = series_files(unpacked("mr_ge_pioneer_grid_phantom", tmp_path), None)
    with pytest.raises(Unsuitable):
        run(files, package, tmp_path)
    assert not list(tmp_path.glob("out/*.dcm"))


def test_a_real_abdomen_is_refused(tmp_path: Path, package: Package) -> None:
    refused(
        shared_volume("ct_torso_samples/ts_example_mr_sm.nii.gz"), package, tmp_path, Unsuitable
    )


@pytest.mark.parametrize(
    ("axis", "end", "cut_structures", "whole_structures"),
    [
        (0, 0.7, ("Left cerebral white matter", "Right cerebral cortex"), ("Left thalamus",)),
        (1, 0.55, ("Left thalamus", "Left lateral ventricle"), ("Fourth ventricle",)),
    ],
    ids=["without its vertex", "without its forehead"],
)
def test_a_cut_head_is_sent_with_the_names_of_the_cut_structures(
    tmp_path: Path,
    package: Package,
    head: Volume,
    axis: int,
    end: float,
    cut_structures: tuple[str, ...],
    whole_structures: tuple[str, ...],
) -> None:
    result = sent(part(head, axis, 0.0, end), package, tmp_path)
    (cut,) = [caveat for caveat in result.done.caveats if caveat.code == CaveatCode.CUT]
    assert all(structure in cut.text for structure in cut_structures)
    assert not any(structure in cut.text for structure in whole_structures)


@pytest.mark.parametrize(
    ("axis", "begin", "end"),
    [(0, 0.35, 1.0), (0, 0.0, 0.6), (1, 0.45, 1.0), (2, 0.0, 0.55)],
    ids=["without its base", "a slab", "without its back", "half"],
)
def test_a_head_that_lacks_much_of_its_brain_is_refused(
    tmp_path: Path, package: Package, head: Volume, axis: int, begin: float, end: float
) -> None:
    refused(part(head, axis, begin, end), package, tmp_path, Unsuitable)


def test_a_head_with_a_tumour_is_sent_and_right_on_the_other_side(
    tmp_path: Path, package: Package, head: Volume, labels_of_head: Labels
) -> None:
    """A ring of 28 mm with a dark core and oedema, inside the left hemisphere."""
    white_matter = np.argwhere(labels_of_head.array == 1)
    centre = white_matter[np.argmin(abs(white_matter - white_matter.mean(0)).sum(1))]
    offsets = np.indices(head.grid.shape) - centre[:, None, None, None]
    spacing = np.array(head.grid.spacing_mm)[:, None, None, None]
    radius_mm = np.sqrt(((offsets * spacing) ** 2).sum(0))
    white = float(np.median(head.array[labels_of_head.array == 1]))
    values = [0.3 * white, 1.4 * white, 0.7 * white]
    tumour = np.select([radius_mm < 10, radius_mm < 14, radius_mm < 20], values, head.array)
    volumes_ml = sent(changed(head, tumour), package, tmp_path).done.volumes_ml
    healthy_ml = labels_of_head.volumes_ml(package.manifest.numbers)
    for segment_of in package.manifest.segments:
        if segment_of.label.startswith("Right ") and healthy_ml[segment_of.number] > 3:
            ratio = volumes_ml[segment_of.label] / healthy_ml[segment_of.number]
            assert 0.8 < ratio < 1.25, (segment_of.label, ratio)


def test_a_head_without_skull_is_sent(
    tmp_path: Path, package: Package, head: Volume, labels_of_head: Labels
) -> None:
    brain = (labels_of_head.array > 0) & (labels_of_head.array != 32)
    stripped = np.where(binary_dilation(brain, iterations=2), head.array, 0)
    volumes_ml = sent(changed(head, stripped), package, tmp_path).done.volumes_ml
    before_ml = labels_of_head.volumes_ml(package.manifest.numbers)
    for number, least, most in ((1, 0.9, 1.1), (3, 0.8, 1.2), (13, 0.8, 1.2), (31, 0.8, 1.2)):
        label = package.manifest.segments[number - 1].label
        assert least < volumes_ml[label] / before_ml[number] < most, label


def test_a_child_is_sent_with_a_caveat(tmp_path: Path, package: Package, head: Volume) -> None:
    """A head of 93 % of an adult's edges, as of six years."""
    result = sent(scaled(head, 0.93), package, tmp_path, age="006Y")
    (age,) = [caveat for caveat in result.done.caveats if caveat.code == CaveatCode.AGE]
    assert "18 to 120 years" in age.text
    assert 700 < result.done.sums_ml["The brain"] < 2000


def test_a_newborn_is_refused(tmp_path: Path, package: Package, head: Volume) -> None:
    """70 % of an adult's edges: the field of view is too small, or the brain is."""
    refused(scaled(head, 0.7), package, tmp_path, ImplausibleResult)


@pytest.mark.parametrize("name", ["pgbm01_pre", "pgbm05_post", "pgbm11_pre"])
def test_a_real_head_with_a_tumour_is_sent(tmp_path: Path, package: Package, name: str) -> None:
    image = shared_volume(f"brain_tumor_progression/{name}_t1post.nii.gz")
    assert sent(image, package, tmp_path).done.objects
