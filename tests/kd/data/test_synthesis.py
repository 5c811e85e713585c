"""Synthetic images from label maps: repeatable, sides kept apart, statistics of the whole head."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from kd.data.cases import SYNTHETIC_IMAGES, read_anatomy, read_pair, read_pairs
from kd.data.device import CPU, Random
from kd.data.labelmaps import AIR, LabelMap
from kd.data.synthesis import synthesise, synthesise_scan
from kd.errors import BadCase, BadCheckpoint, BadRecipe, BadTeacher
from kd.recipe.choices import Anatomy, Generator
from kd.recipe.read import Recipe
from kd.training import steps
from kd.training.runs import fold_run, open_run
from kd.training.tasks import TrainingTask, student_task
from kd.training.trainer import Slice
from node.imaging import Grid, Volume
from node.imaging.nifti import write
from tests.support.kd_phantoms import RECIPE
from tests.support.kd_training import silent

SHAPE, PATCH = (32, 36, 40), (16, 16, 16)
LEFT, RIGHT, FLUID, SKIN = 2, 41, 24, 506
ANATOMY = Anatomy(targets={LEFT: 1, RIGHT: 2}, sides=((LEFT, RIGHT),), outside=(FLUID,))
STILL = Generator(
    anatomy=ANATOMY,
    mirror_p=0,
    rotate_degrees=0,
    scale_share=0,
    shear=0,
    elastic_voxels=0,
    alike_p=0,
    std_high=0.01,
    air_p=1,
    strip_p=0,
    bias_log=0,
    thick_p=0,
    smooth_p=0,
    noise_std=0,
    crop_p=0,
    air_share=0,
    scale_jitter=0,
    shift_jitter=0,
)


def head(folder: Path, name: str = "head_0", *, spacing: float = 1.0, add: float = 0.0) -> Path:
    """Write a round head: skin around fluid around two half brains, the left one larger."""
    z, y, x = np.indices(SHAPE)
    distance = np.sqrt((z - 16) ** 2 + (y - 18) ** 2 + (x - 20) ** 2)
    ids = np.where(distance < 15, SKIN, AIR)
    ids[distance < 12] = FLUID
    ids[distance < 10] = np.where(x >= 16, LEFT, RIGHT)[distance < 10]
    array = ids.astype(np.float32) + np.float32(add)
    affine = np.array([[0, 0, spacing, 0], [0, spacing, 0, 0], [spacing, 0, 0, 0], [0, 0, 0, 1.0]])
    path = folder / f"{name}.nii.gz"
    write(Volume(array, Grid(SHAPE, affine)), path)
    return path


def synthetic_recipe(generator: Generator = STILL, **training: object) -> Recipe:
    """Return the phantoms' recipe with synthetic images from label maps, at 2 mm."""
    chosen = RECIPE | {
        "training": RECIPE["training"] | training,  # type: ignore[operator]
        "data": {"labels": ".", "cases": {"train": ["head_0", "head_1"], "val": ["head_2"]}},
        "grid": {"spacing_mm_zyx": [2.0, 2.0, 2.0], "patch_zyx": list(PATCH), "overlap": 0.5},
        "folds": 1,
        "generator": msgspec.to_builtins(generator),
    }
    return msgspec.convert(chosen, Recipe)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three heads."""
    root = tmp_path_factory.mktemp("heads")
    for number in range(3):
        head(root, f"head_{number}")
    return root


@pytest.fixture(scope="module")
def anatomy(folder: Path) -> LabelMap:
    return read_anatomy(synthetic_recipe(), folder, "head_0")


def changed(**choices: object) -> Generator:
    """Return the still generator with some effects."""
    return msgspec.structs.replace(STILL, **choices)


def seeded(seed: int) -> Random:
    return Random.seeded(CPU, seed)


def test_one_seed_is_one_view_and_another_seed_another(anatomy: LabelMap) -> None:
    lively = Generator(anatomy=ANATOMY)
    first, again, other = (synthesise(anatomy, PATCH, lively, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first.image_bczyx, again.image_bczyx)
    assert torch.equal(first.labels_bzyx, again.labels_bzyx)
    assert not torch.equal(first.image_bczyx, other.image_bczyx)
    assert first.image_bczyx.shape == (1, 1, *PATCH)
    assert first.labels_bzyx.dtype == torch.uint8
    assert torch.isfinite(first.image_bczyx).all()


def test_left_stays_left_when_an_anatomy_is_mirrored(anatomy: LabelMap) -> None:
    """The larger half changes sides; its label does not go with it."""
    sizes = []
    for mirror_p in (0.0, 1.0):
        labels = synthesise(anatomy, PATCH, changed(mirror_p=mirror_p), seeded(3)).labels_bzyx[0]
        left, right = (torch.nonzero(labels == n)[:, 2].float() for n in (1, 2))
        assert left.mean() > right.mean()  # the last axis runs to the left
        sizes.append((len(left), len(right)))
    plain, mirrored = sizes
    assert plain[0] > 1.5 * plain[1]
    assert mirrored[1] > 1.5 * mirrored[0]


def test_skin_and_fluid_have_intensities_but_no_label(anatomy: LabelMap) -> None:
    image, labels = synthesise_scan(anatomy, changed(strip_p=0.0), 5)
    ids = anatomy.tissue_zyx.numpy()
    skin, fluid, air = ids == 4, ids == 2, ids == AIR
    assert not labels.array[skin | fluid | air].any()
    assert abs(image.array[skin].mean() - image.array[air].mean()) > 0.1
    stripped, _ = synthesise_scan(anatomy, changed(strip_p=1.0), 5)
    assert stripped.array[skin | fluid].std() < 1e-5
    assert stripped.array[skin].mean() == pytest.approx(stripped.array[air].mean(), abs=0.1)


def test_both_sides_have_one_intensity_and_groups_nearly_one(anatomy: LabelMap) -> None:
    for seed in range(4):
        image, labels = synthesise_scan(anatomy, STILL, seed)
        left, right = (image.array[labels.array == n].mean() for n in (1, 2))
        assert left == pytest.approx(right, abs=0.02)
    grouped = msgspec.structs.replace(ANATOMY, alike=((LEFT, RIGHT, FLUID),))
    gaps = {}
    for name, means in (("apart", ANATOMY), ("alike", grouped)):
        chosen = msgspec.structs.replace(
            STILL, anatomy=means, alike_p=1.0, alike_spread=0.01, std_high=0.011
        )
        tables = _tables(anatomy, means)
        gap = []
        for seed in range(8):
            image, labels = synthesise_scan(tables, chosen, seed)
            fluid = tables.tissue_zyx.numpy() == 2
            gap.append(abs(image.array[labels.array == 1].mean() - image.array[fluid].mean()))
        gaps[name] = float(np.median(gap))
    assert gaps["alike"] < gaps["apart"] / 3


def _tables(anatomy: LabelMap, means: Anatomy) -> LabelMap:
    from kd.data.labelmaps import _with_tables  # noqa: PLC0415 - the same voxels, other meanings

    ids = [AIR, LEFT, FLUID, RIGHT, SKIN]
    return _with_tables("head", anatomy.grid, anatomy.tissue_zyx, ids, means)


def test_statistics_are_those_that_the_node_will_compute(anatomy: LabelMap) -> None:
    for seed in range(4):
        image, _ = synthesise_scan(anatomy, changed(std_high=0.08), seed)
        assert image.array.mean() == pytest.approx(0, abs=0.05)
        assert image.array.std() == pytest.approx(1, abs=0.05)


def test_a_voxel_of_the_model_is_the_mean_of_the_fine_ones_in_it(anatomy: LabelMap) -> None:
    batch = synthesise(anatomy, (16, 18, 20), STILL, seeded(7))
    # levels are read from the view itself: deep inside, in a corner, and in between at a surface
    image, labels = batch.image_bczyx[0, 0], batch.labels_bzyx[0]
    inside = image[8, 9, 10]
    assert torch.isclose(image[8, 9, 8:12], inside, atol=0.2).all()
    air = image[0, 0, 0]
    between = (image - air).abs() / (inside - air).abs().clamp_min(1e-6)
    assert ((between > 0.1) & (between < 0.9)).sum() > 50
    # and the label is that of the anatomy in the middle of the voxel
    expected = np.zeros((16, 18, 20), np.uint8)
    fine = anatomy.target(anatomy.tissue_zyx).numpy()
    expected[:] = fine[::2, ::2, ::2]
    assert (labels.numpy() == expected).mean() > 0.97


def test_a_cropped_field_of_view_is_padding_without_labels(anatomy: LabelMap) -> None:
    cropped = 0
    for seed in range(6):
        batch = synthesise(anatomy, PATCH, changed(crop_p=1.0, crop_share=0.5), seeded(seed))
        padding = (batch.image_bczyx[0] == 0).all(0)
        cropped += int(padding.any())
        assert not batch.labels_bzyx[0][padding].any()
    assert cropped >= 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spacing": 1.5}, "has spacing"),
        ({"add": 0.5}, "not whole numbers"),
        ({"add": 1000}, "no voxel of its label map"),
        ({"add": -1}, "holds a negative id"),
        ({"add": float("nan")}, "not finite"),
    ],
)
def test_a_wrong_label_map_is_refused_by_name(
    tmp_path: Path, changes: dict[str, float], reason: str
) -> None:
    head(tmp_path, spacing=changes.get("spacing", 1.0), add=changes.get("add", 0.0))
    with pytest.raises(BadCase, match=f"head_0: .*{reason}"):
        read_anatomy(synthetic_recipe(), tmp_path, "head_0")


def test_a_missing_label_map_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadCase, match="head_0"):
        read_anatomy(synthetic_recipe(), tmp_path, "head_0")


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": {2: 1}, "sides": [[2, 41], [41, 3]]},
        {"targets": {2: 1}, "alike": [[2, 3], [3, 4]]},
        {"targets": {2: 9}},
    ],
)
def test_an_anatomy_that_contradicts_itself_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises((BadRecipe, msgspec.ValidationError)):
        synthetic_recipe(msgspec.structs.replace(STILL, anatomy=msgspec.convert(wrong, Anatomy)))


def test_a_synthetic_test_case_is_the_same_at_every_reading(folder: Path) -> None:
    first, again = (read_pair(synthetic_recipe(), folder, "head_2") for _ in range(2))
    assert np.array_equal(first.image.array, again.image.array)
    assert set(np.unique(first.labels.array)) == {0, 1, 2}
    assert not np.array_equal(
        first.image.array, read_pair(synthetic_recipe(), folder, "head_1").image.array
    )


@pytest.mark.slow
def test_a_resumed_training_on_synthetic_images_equals_an_uninterrupted_one(
    folder: Path, tmp_path: Path
) -> None:
    chosen = synthetic_recipe(Generator(anatomy=ANATOMY), steps=4)
    task = TrainingTask("small", ("head_0", "head_1"))

    def train(run: str, stop: int | None) -> tuple[float, ...]:
        run_folder, limits = tmp_path / run, Slice("cpu", stop_after_steps=stop)
        return steps.train(chosen, folder, task, run_folder, limits=limits, report=silent).losses

    assert train("killed", 2) + train("killed", None) == train("whole", None)


@pytest.mark.slow
def test_the_teacher_is_evaluated_on_the_students_images(folder: Path, tmp_path: Path) -> None:
    chosen = synthetic_recipe(Generator(anatomy=ANATOMY), steps=3)
    limits = Slice("cpu")
    assert steps.train_teacher(chosen, folder, steps.Runs(tmp_path), limits=limits)
    assert fold_run(tmp_path, 0).is_dir()
    task = student_task(chosen, "small", ("head_0", "head_1"), tmp_path, None)
    distilled = steps.train(chosen, folder, task, tmp_path / "small", limits=limits, report=silent)
    alone = TrainingTask("small", task.names)
    plain = steps.train(chosen, folder, alone, tmp_path / "alone", limits=limits, report=silent)
    assert distilled.losses[0] == plain.losses[0]  # the teacher's weight is ramped in from 0
    assert distilled.losses[1:] != plain.losses[1:]
    # another teacher is another training: its checkpoint is not gone on with
    other = msgspec.structs.replace(
        chosen, training=msgspec.structs.replace(chosen.training, seed=2)
    )
    assert steps.train_teacher(other, folder, steps.Runs(tmp_path / "other"), limits=limits)
    task = student_task(chosen, "small", task.names, tmp_path / "other", None)
    with pytest.raises(BadCheckpoint):
        steps.train(chosen, folder, task, tmp_path / "small", limits=limits, report=silent)


@pytest.mark.slow
def test_a_student_of_synthetic_images_inherits_its_teachers_cases(
    folder: Path, tmp_path: Path
) -> None:
    chosen, limits = synthetic_recipe(Generator(anatomy=ANATOMY), steps=2), Slice("cpu")
    assert steps.train_teacher(chosen, folder, steps.Runs(tmp_path), limits=limits)
    task = student_task(chosen, "small", ("head_0",), tmp_path, None)
    steps.train(chosen, folder, task, tmp_path / "small", limits=limits, report=silent)
    run = open_run(chosen, "small", tmp_path / "small", torch.device("cpu"))[1]
    assert run.cases == ("head_0",)
    assert run.cases_used == {"head_0", "head_1"}


def test_a_student_without_a_fold_has_the_teacher_without_that_fold(tmp_path: Path) -> None:
    chosen = msgspec.structs.replace(synthetic_recipe(), folds=2)
    all_of_them = student_task(chosen, "small", ("head_0",), tmp_path, None)
    assert all_of_them.teachers == (fold_run(tmp_path, 0), fold_run(tmp_path, 1))
    one = student_task(chosen, "small", ("head_0",), tmp_path, None, without_fold=1)
    assert one.teachers == (fold_run(tmp_path, 1),)


def test_every_held_out_map_gives_several_test_images(folder: Path) -> None:
    chosen = synthetic_recipe(Generator(anatomy=ANATOMY))
    synthetic = read_pairs(chosen, folder, ["head_2", "head_1"])
    assert len(synthetic) == len({pair.name for pair in synthetic}) == 2 * SYNTHETIC_IMAGES
    assert [pair.subject for pair in synthetic] == ["head_2"] * SYNTHETIC_IMAGES + [
        "head_1"
    ] * SYNTHETIC_IMAGES
    first = read_pair(chosen, folder, "head_2")
    assert synthetic[0].name == "head_2"
    assert np.array_equal(synthetic[0].image.array, first.image.array)
    for other in synthetic[1:SYNTHETIC_IMAGES]:
        assert not np.array_equal(other.image.array, first.image.array)
    again = read_pairs(chosen, folder, ["head_2"])
    assert np.array_equal(again[5].image.array, synthetic[5].image.array)


def test_synthetic_images_have_no_soft_targets(folder: Path, tmp_path: Path) -> None:
    chosen = synthetic_recipe(steps=2)
    with pytest.raises(BadTeacher, match="synthetic"):
        student_task(chosen, "small", ("head_0",), None, tmp_path)
    task = TrainingTask("teacher", ("head_0",), tmp_path)
    with pytest.raises(BadTeacher, match="synthetic"):
        steps.soften(chosen, folder, task, [tmp_path], limits=Slice("cpu"))
