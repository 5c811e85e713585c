"""Data sets on disk: nnU-Net's raw layout, the Medical Segmentation Decathlon's, or two folders.

Promises: a dataset.json that is broken, or that requires more than one label per voxel or one
channel per case, is refused by name. Leaves to `kd.planning.plan`: the properties of the images.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kd.data.cases import CHANNEL, ENDINGS
from kd.errors import BadRecipe
from kd.recipe.sources import Data

TRAIN_IMAGES, TEST_IMAGES, TEST_LABELS = "imagesTr", "imagesTs", "labelsTs"
IGNORE = "ignore"  # nnU-Net's name for voxels without a label; it is no structure
BACKGROUND = "background"
LARGEST_LABEL = 255  # labels are stored as bytes
SECOND_CHANNEL = "_0001"
ONE_CHANNEL = "Leave one channel in imagesTr and in dataset.json"
LABELS = 'Write "labels": {"background": 0, "NAME": 1}'


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
    if described.is_file() and (folder / TRAIN_IMAGES).is_dir():
        raw = read_dataset(described)
        channels = channels_of(raw, described)
        if len(channels) != 1:
            message = f"{folder.name} has {len(channels)} channels per case, and a series has one"
            raise BadRecipe(message, advice=ONE_CHANNEL)
        data = raw_data(folder, ending_of(raw, described))
        _refuse_further_channels(folder, data)
        return data, labels_of(raw, described)
    images, labels = folder / "images", folder / "labels"
    if images.is_dir() and labels.is_dir():
        return Data(image_ending=_ending_in(images), label_ending=_ending_in(labels)), Labels({})
    message = f"{folder.name} has no layout that kd can read"
    raise BadRecipe(
        message, advice="Give images/ and labels/, or nnU-Net's imagesTr/ and labelsTr/"
    )


def _ending_in(folder: Path) -> str:
    """Return the ending of the NIfTI files in `folder`: uncompressed only if no other is there."""
    names = [path.name for path in folder.iterdir()]
    is_compressed = any(name.endswith(".nii.gz") for name in names)
    return ".nii" if not is_compressed and any(n.endswith(".nii") for n in names) else ".nii.gz"


def read_dataset(path: Path) -> dict[str, Any]:
    """Read a dataset.json.

    Raises:
        BadRecipe: it is unreadable, names a key twice, or is no object with labels.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as exc:
        message = f"{where} cannot be read: {exc}"
        raise BadRecipe(message) from exc
    if not isinstance(raw, dict) or not isinstance(raw.get("labels"), dict) or not raw["labels"]:
        message = f"{where} has no labels"
        raise BadRecipe(message, advice=LABELS)
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; Python alone would keep the last value of a repeated key."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [key for key, _ in pairs]
        message = f"it has {next(key for key in names if names.count(key) > 1)!r} twice"
        raise ValueError(message)
    return content


def labels_of(raw: dict[str, Any], path: Path) -> Labels:
    """Return the structures of a dataset.json: name to number, or number to name (Decathlon).

    Raises:
        BadRecipe: regions as labels, or a value that is no label of its own.
    """
    labels: dict[str, Any] = raw["labels"]
    if all(str(key).isdecimal() and isinstance(name, str) for key, name in labels.items()):
        pairs = [(int(key), str(name)) for key, name in labels.items()]
    elif any(isinstance(value, list) for value in labels.values()):
        message = f"{path.parent.name} has regions as labels, and the node has one label per voxel"
        raise BadRecipe(message, advice="Give each label one number in dataset.json")
    else:
        pairs = [(_number(value, name, path), str(name)) for name, value in labels.items()]
    numbers = [number for number, _ in pairs]
    for number, name in pairs:
        if name == BACKGROUND and number != 0:
            message = f"{path.parent.name}/{path.name}: label 'background' is {number}, not 0"
            raise BadRecipe(message, advice=LABELS)
        if numbers.count(number) > 1:
            message = f"{path.parent.name}/{path.name} gives the number {number} to two labels"
            raise BadRecipe(message, advice="Give each label another number")
        if number > LARGEST_LABEL:
            message = f"{path.parent.name}/{path.name}: label {name!r} is {number}"
            raise BadRecipe(message, advice=f"Labels are numbers from 0 to {LARGEST_LABEL}")
    by_number = dict(pairs)
    ignore = next((n for n, name in pairs if name == IGNORE and n > 0), None)
    names = {n: name for n, name in by_number.items() if n > 0 and n != ignore}
    if not names:
        message = f"{path.parent.name}/{path.name} names no structure besides background"
        raise BadRecipe(message)
    return Labels(names, ignore)


def _number(value: object, name: str, path: Path) -> int:
    """Return the number of one label; JSON has it as 1 or as "1"."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isdecimal():
        return int(text)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    message = f"{path.parent.name}/{path.name}: label {name!r} is {value!r}, not a whole number"
    raise BadRecipe(message, advice=LABELS)


def channels_of(raw: dict[str, Any], path: Path) -> tuple[str, ...]:
    """Return the names of the channels; one without a name where dataset.json lists none.

    Raises:
        BadRecipe: neither an object nor a list of names.
    """
    key = "channel_names" if "channel_names" in raw else "modality"
    channels = raw.get(key, {"0": ""})
    names = list(channels.values()) if isinstance(channels, dict) else channels
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    message = f"{path.parent.name}/{path.name}: {key} is {channels!r}"
    raise BadRecipe(message, advice=f'Give "{key}": {{"0": "T1"}}, one name for each channel')


def ending_of(raw: dict[str, Any], path: Path) -> str:
    """Return the end of the names of all files.

    Raises:
        BadRecipe: no ending of a NIfTI file.
    """
    ending = raw.get("file_ending", ".nii.gz")
    if ending in ENDINGS:
        return str(ending)
    message = f"{path.parent.name}/{path.name}: file_ending is {ending!r}"
    raise BadRecipe(message, advice=f"kd reads {' and '.join(ENDINGS)}: convert the files")


def _refuse_further_channels(folder: Path, data: Data) -> None:
    """Refuse images of a second channel that dataset.json does not list.

    Raises:
        BadRecipe: there is one; the message names it.
    """
    if not data.image_ending.startswith(CHANNEL):
        return
    more = data.image_ending.replace(CHANNEL, SECOND_CHANNEL)
    for path in sorted((folder / data.images).glob(f"*{more}")):
        name = path.name.removesuffix(more)
        if (folder / data.images / f"{name}{data.image_ending}").exists():
            message = f"{folder.name}: case {name} has a second channel, {path.name}"
            raise BadRecipe(message, advice=ONE_CHANNEL)


def raw_data(folder: Path, ending: str) -> Data:
    """Return where the cases of an nnU-Net or Decathlon folder are.

    `imagesTs` is the test set where `labelsTs` has the labels of its images.
    """
    has_channels = any((folder / TRAIN_IMAGES).glob(f"*{CHANNEL}{ending}"))
    data = Data(
        images=TRAIN_IMAGES,
        labels="labelsTr",
        image_ending=f"{CHANNEL}{ending}" if has_channels else ending,
        label_ending=ending,
    )
    if any((folder / TEST_LABELS).glob(f"*{ending}")):
        return msgspec.structs.replace(data, test_images=TEST_IMAGES, test_labels=TEST_LABELS)
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


def left_out(folder: Path, data: Data) -> dict[str, list[str]]:
    """Return files that belong to no case, by what they lack; the files are left as they are.

    Keys are sentences for a person; values are names of cases.
    """
    images = set(case_names(folder, data.images, data.image_ending))
    labels = set(case_names(folder, data.labels, data.label_ending))
    pairs = {"labels without an image": labels - images}
    if (folder / TEST_IMAGES).is_dir() and data.images == TRAIN_IMAGES:
        images = set(case_names(folder, TEST_IMAGES, data.image_ending))
        labels = set(case_names(folder, TEST_LABELS, data.label_ending))
        pairs["test images without labels are no test cases"] = images - labels
        pairs["test labels without an image"] = labels - images
    return {words: sorted(names) for words, names in pairs.items() if names}
