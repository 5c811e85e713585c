"""Data sets on disk: nnU-Net's raw layout, the Medical Segmentation Decathlon's, or two folders.

Promises: a dataset.json that is broken, or that requires more than one label per voxel or one
channel per case, is refused by name. Leaves to `kd.planning.plan`: the properties of the images.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kd.data.cases import CHANNEL
from kd.errors import BadRecipe
from kd.recipe.choices import Data

IGNORE = "ignore"  # nnU-Net's name for voxels without a label; it is no structure


@dataclass(frozen=True)
class Labels:
    """The structures of a data set by number, and the number of nnU-Net's label `ignore`."""

    names: dict[int, str]
    ignore: int | None = None


def layout(folder: Path) -> tuple[Data, Labels]:
    """Recognise the layout of a data set; return it with its labels, where they are named.

    Raises:
        BadRecipe: an unknown layout, or a dataset.json that cannot be used.
    """
    described = folder / "dataset.json"
    if described.is_file() and (folder / "imagesTr").is_dir():
        raw = read_dataset(described)
        channels = raw.get("channel_names", raw.get("modality", {"0": ""}))
        if len(channels) != 1:
            message = f"{folder.name} has {len(channels)} channels per case, and a series has one"
            raise BadRecipe(message, advice="Leave one channel in imagesTr and in dataset.json")
        return raw_data(folder, str(raw.get("file_ending", ".nii.gz"))), labels_of(raw, described)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return Data(), Labels({})
    message = f"{folder.name} has no layout that kd can read"
    raise BadRecipe(
        message, advice="Give images/ and labels/, or nnU-Net's imagesTr/ and labelsTr/"
    )


def read_dataset(path: Path) -> dict[str, Any]:
    """Read a dataset.json.

    Raises:
        BadRecipe: it is unreadable, or no object with labels.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        message = f"{where} cannot be read: {exc}"
        raise BadRecipe(message) from exc
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict) or not raw["labels"]:
        message = f"{where} has no labels"
        raise BadRecipe(message, advice='Add "labels": {"background": 0, "NAME": 1}')
    return raw


def labels_of(raw: dict[str, Any], path: Path) -> Labels:
    """Return the structures of a dataset.json: name to number, or number to name (Decathlon).

    Raises:
        BadRecipe: regions or lists as labels.
    """
    labels: dict[str, Any] = raw["labels"]
    if all(str(key).isdecimal() and isinstance(name, str) for key, name in labels.items()):
        by_number = {int(key): str(name) for key, name in labels.items()}
    elif all(isinstance(n, int) and not isinstance(n, bool) for n in labels.values()):
        by_number = {int(number): str(name) for name, number in labels.items()}
    else:
        message = f"{path.parent.name} has regions as labels, and the node has one label per voxel"
        raise BadRecipe(message, advice="Give each label one number in dataset.json")
    ignore = next((n for n, name in by_number.items() if name == IGNORE and n > 0), None)
    names = {n: name for n, name in by_number.items() if n > 0 and n != ignore}
    if not names:
        message = f"{path.parent.name}/{path.name} names no structure besides background"
        raise BadRecipe(message)
    return Labels(names, ignore)


def raw_data(folder: Path, ending: str) -> Data:
    """Return where the cases of an nnU-Net or Decathlon folder are.

    `imagesTs` is the test set where `labelsTs` has the labels of its images.
    """
    has_channels = any((folder / "imagesTr").glob(f"*{CHANNEL}{ending}"))
    data = Data(
        images="imagesTr",
        labels="labelsTr",
        image_ending=f"{CHANNEL}{ending}" if has_channels else ending,
        label_ending=ending,
    )
    if any((folder / "labelsTs").glob(f"*{ending}")):
        return msgspec.structs.replace(data, test_images="imagesTs", test_labels="labelsTs")
    return data


def case_names(folder: Path, images: str, ending: str) -> list[str]:
    """Return the name of every case with an image, sorted; hidden files are no cases."""
    paths = (folder / images).glob(f"*{ending}")
    return sorted(p.name.removesuffix(ending) for p in paths if not p.name.startswith("."))


def test_names(folder: Path, data: Data) -> list[str]:
    """Return the cases of the test folders that have an image and labels, sorted."""
    if data.test_images is None or data.test_labels is None:
        return []
    labelled = set(case_names(folder, data.test_labels, data.label_ending))
    images = case_names(folder, data.test_images, data.image_ending)
    return [name for name in images if name in labelled]
