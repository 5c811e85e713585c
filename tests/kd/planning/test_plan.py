"""Plans of data sets: patch, strides, splits, and layouts that are recognised or refused."""

import gzip
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from kd.commands import main
from kd.data.cases import read_pairs
from kd.data.splits import names_of
from kd.errors import BadCase, BadRecipe
from kd.planning.dataset import layout
from kd.planning.plan import plan_folder
from kd.planning.shapes import LARGEST_PATCH_VOXELS, patch_and_strides, thick_stages, within_limit
from kd.recipe.read import Recipe, read_recipe
from kd.release.provenance import published
from node.imaging.intensity import Clip, Standardise
from tests.support.kd_phantoms import data_set
from tests.support.kd_phantoms import recipe as phantoms


def test_an_isotropic_patch_is_halved_alike() -> None:
    patch, strides = patch_and_strides((36, 50.5, 35), (1, 1, 1))
    assert patch == (40, 56, 40)
    assert strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))


def test_thick_slices_are_halved_later() -> None:
    patch, strides = patch_and_strides((20, 256, 256), (5, 1, 1))
    assert strides[:4] == ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert all(p % d == 0 for p, d in zip(patch, np.prod(np.array(strides), axis=0), strict=True))


def test_kernels_are_flat_until_slices_are_no_longer_thick() -> None:
    _, strides = patch_and_strides((20, 256, 256), (5, 1, 1))
    stages = thick_stages(32, strides, (5, 1, 1))
    assert stages is not None
    assert stages.kernels_zyx[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert stages.widths[:3] == (32, 64, 128)
    assert thick_stages(32, ((1, 1, 1), (2, 2, 2)), (1.5, 1, 1)) is None


@pytest.mark.parametrize("shape", [(200, 200, 200), (97, 97, 97), (600, 40, 40), (10, 500, 500)])
def test_a_patch_stays_within_its_limit(shape: tuple[float, ...]) -> None:
    patch, strides = patch_and_strides(shape, (1, 1, 1))
    divisor = np.prod(np.array(strides), axis=0)
    assert np.prod(patch) <= LARGEST_PATCH_VOXELS
    assert all(p % d == 0 for p, d in zip(patch, divisor, strict=True))
    assert within_limit(patch, strides) == patch


def test_nnunets_raw_layout_is_planned_with_a_split_beside_the_recipe(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "Dataset001_Balls", 5, 1)
    (folder / "splits.json").unlink()
    (folder / "images").rename(folder / "imagesTr")
    (folder / "labels").rename(folder / "labelsTr")
    for path in (folder / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", "_0000.nii.gz")))
    described = {"labels": {"background": 0, "bright": 1, "dark": 2}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(described), encoding="utf-8")
    recipe = plan_folder(folder, "balls", "CT", tmp_path / "balls.yaml")
    assert [part.label for part in recipe.segments] == ["bright", "dark"]
    clip, standardise = recipe.intensity
    assert isinstance(clip, Clip)
    assert isinstance(standardise, Standardise)
    splits = json.loads((tmp_path / "balls.splits.json").read_text(encoding="utf-8"))
    assert len(splits["train"]) + len(splits["val"]) == 6


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="no layout that kd can read"):
        layout(tmp_path)


MSD = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "bright", "2": "dark"}}
NNUNET = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "bright": 1, "dark": 2}}


def raw_folder(root: Path, described: object, *, channel: str = "_0000") -> Path:
    """Write four training cases in nnU-Net's or the Decathlon's layout."""
    folder = data_set(root / "Dataset001_Balls", 3, 1)
    (folder / "splits.json").unlink()
    (folder / "images").rename(folder / "imagesTr")
    (folder / "labels").rename(folder / "labelsTr")
    for path in (folder / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii.gz", f"{channel}.nii.gz")))
    content = described if isinstance(described, str) else json.dumps(described)
    (folder / "dataset.json").write_text(content, encoding="utf-8")
    return folder


def move_to_test(folder: Path, name: str) -> None:
    """Make a training case a case of imagesTs and labelsTs."""
    for kind in ("images", "labels"):
        (folder / f"{kind}Ts").mkdir()
        for path in (folder / f"{kind}Tr").glob(f"{name}*"):
            path.rename(folder / f"{kind}Ts" / path.name)


def test_the_decathlons_dataset_json_is_read(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, MSD, channel="")
    recipe = plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")
    assert [part.label for part in recipe.segments] == ["bright", "dark"]
    assert recipe.data.image_ending == ".nii.gz"


def test_nnunets_test_folders_are_the_test_split(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, NNUNET)
    move_to_test(folder, "ball_3")
    recipe = plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")
    assert names_of(recipe, folder, recipe.data.train) == ("ball_0", "ball_1", "ball_2")
    test = names_of(recipe, folder, recipe.data.test)
    assert test == ("ball_3",)
    (pair,) = read_pairs(recipe, folder, test)
    assert pair.labels.array.any()
    image = "ball_3_0000.nii.gz"
    shutil.copyfile(folder / "imagesTs" / image, folder / "imagesTr" / image)
    with pytest.raises(BadCase, match="ball_3 is in imagesTr and in imagesTs"):
        read_pairs(recipe, folder, test)


def test_images_without_test_labels_are_no_test_split(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, NNUNET)
    move_to_test(folder, "ball_3")
    shutil.rmtree(folder / "labelsTs")
    assert layout(folder)[0].test_images is None


def test_the_label_ignore_is_no_structure(tmp_path: Path) -> None:
    labels = {"background": 0, "bright": 1, "dark": 2, "ignore": 3}
    folder = raw_folder(tmp_path, NNUNET | {"labels": labels})
    recipe = plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")
    assert [part.label for part in recipe.segments] == ["bright", "dark"]


def test_voxels_labelled_ignore_are_refused(tmp_path: Path) -> None:
    labels = {"background": 0, "bright": 1, "ignore": 2}
    folder = raw_folder(tmp_path, NNUNET | {"labels": labels})
    with pytest.raises(BadCase, match=r"label 2 is nnU-Net's 'ignore'.*ball_0, ball_1"):
        plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"background": 0, "bright": 1}, "label 2 is not named in dataset.json: ball_0, "),
        (
            {"background": 0, "bright": 1, "dark": 2, "third": 3},
            r"label 3 \(third\) is in no training case",
        ),
    ],
)
def test_labels_of_the_cases_are_those_of_dataset_json(
    tmp_path: Path, labels: dict[str, int], complaint: str
) -> None:
    folder = raw_folder(tmp_path, NNUNET | {"labels": labels})
    with pytest.raises(BadCase, match=complaint):
        plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")


def test_numbers_in_quotes_are_labels(tmp_path: Path) -> None:
    labels = {"background": "0", "bright": "1", "dark": "2"}
    folder = raw_folder(tmp_path, NNUNET | {"labels": labels})
    assert layout(folder)[1].names == {1: "bright", 2: "dark"}


def test_an_image_of_a_second_channel_is_refused_by_name(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, NNUNET)
    images = folder / "imagesTr"
    shutil.copyfile(images / "ball_1_0000.nii.gz", images / "ball_1_0001.nii.gz")
    with pytest.raises(BadRecipe, match=r"ball_1 has a second channel, ball_1_0001\.nii\.gz"):
        layout(folder)


def test_files_that_belong_to_no_case_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = raw_folder(tmp_path, NNUNET)
    move_to_test(folder, "ball_3")
    (folder / "labelsTs" / "ball_3.nii.gz").rename(folder / "labelsTr" / "lost.nii.gz")
    words = ["plan", str(folder), "--task", "balls", "--modality", "MR"]
    assert main([*words, "--out", str(tmp_path / "balls.yaml")]) == 0
    written = capsys.readouterr().err
    assert "labels without an image: lost" in written
    assert "test images without labels are no test cases: ball_3" in written


@pytest.mark.parametrize(("cases", "folds"), [(2, 1), (3, 2), (9, 5)])
def test_few_cases_have_few_folds(tmp_path: Path, cases: int, folds: int) -> None:
    folder = data_set(tmp_path / "balls", cases, 0)
    (folder / "splits.json").unlink()
    assert plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml").folds == folds


def test_files_without_compression_are_found(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "balls", 3, 0)
    (folder / "splits.json").unlink()
    for path in folder.glob("images/*.nii.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    data = plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml").data
    assert (data.image_ending, data.label_ending) == (".nii", ".nii.gz")


@pytest.mark.parametrize("cases", [0, 1])
def test_too_few_cases_are_refused_by_their_number(tmp_path: Path, cases: int) -> None:
    folder = data_set(tmp_path / "balls", cases, 0)
    (folder / "splits.json").unlink()
    with pytest.raises(BadCase, match=rf"balls/images has too few .*: {cases}\. A plan needs 2"):
        plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")
    assert not (tmp_path / "balls.splits.json").exists()


@pytest.mark.parametrize(
    "described",
    [
        "",
        "{",
        "[]",
        {},
        {"labels": {}},
        {"labels": []},
        {"labels": {"background": 0}},
        {"labels": {"background": 0, "both": [1, 2]}},
        {"labels": {"0": "background", "1": 1}},
        {"labels": {"background": 0, "bright": -1, "dark": 2}},
        {"labels": {"background": 0, "bright": 1.5, "dark": 2}},
        {"labels": {"background": 0, "bright": None, "dark": 2}},
        {"labels": {"background": 0, "bright": 1, "dark": 1}},
        {"labels": {"background": 0, "bright": 1, "dark": 256}},
        {"labels": {"background": 1, "bright": 2}},
        '{"labels": {"background": 0, "bright": 1, "bright": 2}}',
        NNUNET | {"channel_names": None},
        NNUNET | {"channel_names": "MRI"},
        NNUNET | {"channel_names": {"0": 1}},
        NNUNET | {"file_ending": 5},
        NNUNET | {"file_ending": ".mha"},
    ],
)
def test_a_dataset_json_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, described: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = raw_folder(tmp_path, described)
    words = ["plan", str(folder), "--task", "balls", "--modality", "MR"]
    assert main([*words, "--out", str(tmp_path / "balls.yaml")]) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith("kd: ")
    assert "Dataset001_Balls" in complaint
    assert complaint.count("\n") == 1


def test_a_recipe_is_replaced_only_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = data_set(tmp_path / "balls", 3, 1), tmp_path / "balls.yaml"
    words = ["plan", str(folder), "--task", "balls", "--modality", "MR", "--out", str(out)]
    out.write_text("edited", encoding="utf-8")
    assert main(words) == 1
    assert "--force" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == "edited"
    assert main([*words, "--force"]) == 0
    assert read_recipe(out).task == "balls"


def test_a_partial_segment_must_exist() -> None:
    chosen = msgspec.to_builtins(phantoms())
    chosen["data"]["partial"] = [9]
    with pytest.raises(BadRecipe, match=r"data\.partial: there is no segment 9"):
        msgspec.convert(chosen, Recipe)


def test_a_published_recipe_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    folder = raw_folder(tmp_path, NNUNET)
    recipe = plan_folder(folder, "balls", "MR", tmp_path / "balls.yaml")
    assert str(tmp_path) in recipe.data.splits
    assert str(tmp_path) not in msgspec.json.encode(published(recipe)).decode()
