"""Choose from measurements: the most accurate size that fits, never an engine that failed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from node.config import DataConfig
from node.imaging import Grid, Volume
from node.imaging.volume import FloatArray
from node.measured import Host, choose, estimate, largest_mb, read, workload
from node.measured.cost import largest_grid
from node.package import Package, Use, check_input, load, models_in
from node.package.manifest import Interval, Metrics, SizeName
from node.pipeline import open_student, segment
from tests.support.measuring import HOST, a_measurement, written
from tests.support.packages import make_tiny_package, phantom

GRID = phantom().grid
RELEASED = models_in(Path(__file__).parents[3] / "models")
MIB = 1 << 20


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(dir=tmp_path / "data")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    sizes: tuple[SizeName, ...] = ("teacher", "small", "tiny")
    return make_tiny_package(tmp_path_factory.mktemp("models"), sizes=sizes)


def use(package: Package, size: str = "auto", **changes: Any) -> Use:
    return Use("a", package, size, **changes)


def three(package: Package) -> list[Any]:
    """Return measurements of a slow teacher, a small and a tiny size: 12, 3 and 0.6 s."""
    patches = workload(package, GRID).patches
    costs = {"teacher": 12.0, "small": 3.0, "tiny": 0.6}
    return [
        a_measurement(package, size, patch_s=seconds / patches, voxel_s=0.0)
        for size, seconds in costs.items()
    ]


@pytest.mark.parametrize(("deadline_s", "size"), [(30.0, "teacher"), (4.0, "small"), (2.0, "tiny")])
def test_the_deadline_chooses_the_size(
    data: DataConfig, package: Package, deadline_s: float, size: str
) -> None:
    measurements = written(data, *three(package))
    choice = choose(
        use(package, deadline_s=deadline_s, memory_bytes=2048 * MIB), GRID, measurements
    )
    assert choice.size == size
    assert choice.why.startswith(f"the most accurate size that fits {deadline_s:g} s and 2048 MiB")


def test_without_limits_the_most_accurate_size_runs(data: DataConfig, package: Package) -> None:
    choice = choose(use(package), GRID, written(data, *three(package)))
    assert choice.size == "teacher"
    assert choice.why.startswith("the most accurate size there is: about ")
    timely = choose(use(package, deadline_s=1e6), GRID, written(data, *three(package)))
    assert timely.why.startswith("the most accurate size that fits 1e+06 s: about ")


def test_a_larger_series_gets_a_smaller_size(data: DataConfig, package: Package) -> None:
    measurements = written(data, *three(package))
    large = Grid((40, 20, 22), GRID.affine)
    assert choose(use(package, deadline_s=13.0), GRID, measurements).size == "teacher"
    assert choose(use(package, deadline_s=13.0), large, measurements).size == "small"


def test_memory_limits_as_time_does(data: DataConfig, package: Package) -> None:
    teacher, small, tiny = three(package)
    measurements = written(data, msgspec.structs.replace(teacher, peak_mb=3000.0), small, tiny)
    assert choose(use(package, memory_bytes=2048 * MIB), GRID, measurements).size == "small"


def test_without_a_size_that_fits_the_fastest_runs(data: DataConfig, package: Package) -> None:
    choice = choose(use(package, deadline_s=0.5), GRID, written(data, *three(package)))
    assert choice.size == "tiny"
    assert "no size fits 0.5 s" in choice.why
    assert "about 0.6 s" in choice.why


def test_without_measurements_the_smallest_size_runs(package: Package) -> None:
    choice = choose(use(package), GRID, [])
    assert (choice.size, choice.engine) == ("tiny", "onnxruntime")
    assert "nothing is measured on this machine yet, so the smallest size runs" in choice.why


def test_under_backlog_the_next_smaller_size_runs(data: DataConfig, package: Package) -> None:
    measurements = written(data, *three(package))
    fixed = use(package, "teacher", step_down_above=5)
    assert choose(fixed, GRID, measurements, waiting=5).size == "teacher"
    choice = choose(fixed, GRID, measurements, waiting=6)
    assert choice.size == "small"
    assert choice.why.startswith("6 queued, more than 5: small instead of teacher; ")
    by_deadline = use(package, deadline_s=4.0, step_down_above=5)
    assert choose(by_deadline, GRID, measurements, waiting=6).size == "tiny"
    assert (
        choose(use(package, "tiny", step_down_above=5), GRID, measurements, waiting=6).size
        == "tiny"
    )
    assert choose(use(package, "teacher"), GRID, measurements, waiting=10_000).size == "teacher"
    unmeasured = choose(fixed, GRID, [], waiting=6)
    assert (unmeasured.size, unmeasured.engine) == ("small", "onnxruntime")


def test_a_variant_is_chosen_by_what_is_measured(data: DataConfig, tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path, sizes=("teacher", "tiny", "fast"))
    patches = workload(package, GRID).patches
    costs = {"teacher": 12.0, "fast": 3.0, "tiny": 0.6}
    measurements = [
        a_measurement(package, size, patch_s=seconds / patches, voxel_s=0.0)
        for size, seconds in costs.items()
    ]
    dice: dict[SizeName, float] = {"teacher": 0.9, "fast": 0.88, "tiny": 0.8}
    interval = {size: Interval(mean=mean, ci=(0, 1)) for size, mean in dice.items()}
    metrics = {
        size: Metrics(cases=3, dice=dice, dice_per_segment={}) for size, dice in interval.items()
    }
    known = replace(package, manifest=msgspec.structs.replace(package.manifest, metrics=metrics))
    measured = written(data, *measurements)
    assert choose(use(known, deadline_s=4.0), GRID, measured).size == "fast"
    assert choose(use(known, deadline_s=1.0), GRID, measured).size == "tiny"
    under_backlog = use(known, "teacher", step_down_above=0)
    assert choose(under_backlog, GRID, measured, waiting=1).size == "tiny"


def test_accuracy_is_dice_where_it_is_known(data: DataConfig, package: Package) -> None:
    def metrics(mean: float) -> Metrics:
        return Metrics(cases=3, dice=Interval(mean=mean, ci=(0, 1)), dice_per_segment={})

    known_dice: dict[SizeName, Metrics] = {"teacher": metrics(0.88), "small": metrics(0.89)}
    better = replace(
        package, manifest=msgspec.structs.replace(package.manifest, metrics=known_dice)
    )
    choice = choose(use(better, deadline_s=30.0), GRID, written(data, *three(better)))
    assert choice.size == "small"


def test_the_fastest_verified_engine_runs(data: DataConfig, package: Package) -> None:
    measurements = written(
        data,
        a_measurement(package, "small", "onnxruntime", patch_s=0.2),
        a_measurement(package, "small", "openvino", patch_s=0.1),
    )
    choice = choose(use(package, "small"), GRID, measurements)
    assert (choice.size, choice.engine) == ("small", "openvino")
    assert "the fastest engine that reproduced the reference case here" in choice.why


def test_an_engine_that_failed_never_runs(data: DataConfig, package: Package) -> None:
    measurements = written(
        data,
        a_measurement(package, "small", "onnxruntime", patch_s=0.2),
        a_measurement(package, "small", "openvino", problem="the reference case reaches Dice 0.9"),
    )
    assert choose(use(package, "small"), GRID, measurements).engine == "onnxruntime"
    only = [one for one in measurements if one.problem]
    for size in ("small", "auto"):
        choice = choose(use(package, size), GRID, only)
        assert choice.engine == "onnxruntime"
        assert "no measurement on this machine succeeded" in choice.why


def test_a_configured_engine_is_kept(data: DataConfig, package: Package) -> None:
    measurements = written(
        data,
        a_measurement(package, "small", "onnxruntime", patch_s=0.2),
        a_measurement(package, "small", "openvino", patch_s=0.1),
    )
    for measured in (measurements, []):
        choice = choose(use(package, "small", engine="onnxruntime"), GRID, measured)
        assert choice.engine == "onnxruntime"
        assert "as configured" in choice.why


@pytest.mark.parametrize(
    "other",
    [
        Host("another CPU", HOST.threads, HOST.versions),
        Host(HOST.cpu, 1, HOST.versions),
        Host(HOST.cpu, HOST.threads, {"onnxruntime": "1.1"}),
    ],
)
def test_measurements_of_another_machine_are_ignored(
    data: DataConfig, package: Package, other: Host
) -> None:
    assert len(written(data, *three(package))) == 3
    assert not read(data, other)


def test_a_measurement_is_replaced_and_a_damaged_one_is_ignored(
    data: DataConfig, package: Package
) -> None:
    assert not read(data, HOST)
    first = a_measurement(package, "small")
    later = a_measurement(package, "small", seconds=2.0, at=first.at + 1)
    assert written(data, first, later) == [later]
    (file,) = (data.dir / "measured").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert not read(data, HOST)


def test_measurements_of_another_package_are_ignored(data: DataConfig, package: Package) -> None:
    measurements = written(data, *three(package))
    newer = replace(package, digest="0" * 64)
    assert "nothing is measured" in choose(use(newer), GRID, measurements).why


@pytest.mark.parametrize("shape", [(24, 20, 22), (40, 18, 33), (5, 60, 17)])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1)])
def test_patches_are_counted_as_the_pipeline_cuts_them(
    package: Package, shape: tuple[int, int, int], axes: tuple[int, int, int]
) -> None:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for index, (axis, spacing) in enumerate(zip(axes, (0.8, 1.0, 1.7), strict=True)):
        affine[2 - axis, index] = spacing
    grid = Grid(shape, affine)
    student = open_student(package, "small", 1)
    patches: list[FloatArray] = []

    class Counting:
        threads = 1

        def __call__(self, patch: FloatArray) -> FloatArray:
            patches.append(patch)
            return student(patch)

    segment(Volume(np.zeros(shape, np.float32), grid), package, Counting())  # type: ignore[arg-type]
    assert workload(package, grid).patches == len(patches)


def test_the_estimate_for_the_reference_case_is_its_measurement(package: Package) -> None:
    work = workload(package, GRID)
    one = a_measurement(package, "small", patch_s=0.5, voxel_s=1e-5)
    cost = estimate(one, work)
    assert cost.seconds == pytest.approx(work.patches * 0.5 + work.voxels * 1e-5)
    assert cost.peak_mb >= one.peak_mb


def test_the_largest_series_is_accepted(package: Package) -> None:
    for one in (package, *map(load, RELEASED)):
        check_input(one.manifest.input, largest_grid(one))


def test_the_memory_of_the_largest_series_is_known_before_any_measurement(
    data: DataConfig, package: Package
) -> None:
    for one in map(load, RELEASED):
        assert all(mb > 100 for mb in largest_mb(use(one), []).values())
        assert set(largest_mb(use(one), [])) == set(one.manifest.sizes)
    assert not largest_mb(use(package), [])  # its manifest has no peak_mb
    measurements = written(data, a_measurement(package, "tiny"))
    assert list(largest_mb(use(package), measurements)) == ["tiny"]
