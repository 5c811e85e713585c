"""Numbers out of bounds are refused, in a recipe and on the command line."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import yaml
from msgspec import inspect

from kd.commands import main
from kd.errors import BadDevice, BadRecipe
from kd.recipe import choices, read, sources, stages
from kd.recipe.bounds import Strict
from kd.recipe.read import read_recipe
from kd.training.trainer import pick_device
from tests.support.kd_phantoms import RECIPE, data_set

ANATOMY = {"targets": {2: 1}}
STRUCTS = [
    kind
    for module in (choices, read, sources, stages)
    for kind in vars(module).values()
    if isinstance(kind, type) and kind.__module__ == module.__name__ and issubclass(kind, Strict)
]


def numbers(kind: inspect.Type) -> Iterator[inspect.IntType | inspect.FloatType]:
    """Yield every number in a type, but not those of other structs."""
    match kind:
        case inspect.IntType() | inspect.FloatType():
            yield kind
        case inspect.UnionType(types):
            for part in types:
                yield from numbers(part)
        case inspect.VarTupleType(item_type):
            yield from numbers(item_type)
        case inspect.TupleType(item_types):
            for part in item_types:
                yield from numbers(part)
        case inspect.DictType(key_type, value_type):
            yield from numbers(key_type)
            yield from numbers(value_type)


def _recipe_with(where: str, value: object, folder: Path) -> Path:
    """Write a recipe whose key at the path `where` has another value."""
    chosen: dict[str, Any] = deepcopy(RECIPE)
    if where.startswith("generator"):
        chosen["generator"] = {"anatomy": ANATOMY}
    part, *keys = chosen, *where.split(".")
    for key in keys[:-1]:
        part = part.setdefault(key, {})
    part[keys[-1]] = value
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    return path


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda kind: kind.__name__)
def test_every_number_of_a_recipe_has_bounds(struct: type[msgspec.Struct]) -> None:
    described = inspect.type_info(struct)
    assert isinstance(described, inspect.StructType)
    for field in described.fields:
        for number in numbers(field.type):
            assert (number.ge is not None) or (number.gt is not None), field.name
            assert (number.le is not None) or (number.lt is not None), field.name


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("training.batch", 0),
        ("training.steps", -5),
        ("training.seed", -1),
        ("training.rate", 0.0),
        ("training.rate", float("nan")),
        ("training.clip_norm", float("inf")),
        ("training.ema", 1.0),
        ("training.patch_zyx", [16, 0, 16]),
        ("distillation.temperature", 0.0),
        ("sizes.small.base", 0),
        ("sizes.small.least_width", 321),
        ("augment.scale_share", 1.0),
        ("augment.noise_p", 1.5),
        ("gates.dice", {"small": 1.5}),
        ("data.partial", [0]),
        ("generator.fine", 0),
        ("generator.anatomy.targets", {-1: 1}),
        ("folds", 0),
        ("folds", 10**6),
        ("training.batch", 10**6),
        ("training.rate", 100.0),
        ("sizes.small.convolutions", 1000),
        ("augment.gamma_log", 1000.0),
        ("augment.low_resolution_least", 1e-9),
        ("augment.shift_voxels", 1e5),
        ("grid.spacing_mm_zyx", [1e-9, 1, 1]),
        ("grid.patch_zyx", [10**6, 16, 16]),
        ("generator.bias_knots", 10**6),
        ("stages.kernels_zyx", [[1000, 3, 3]]),
        ("strides_zyx", [[1, 1, 1], [0, 2, 2]]),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_its_path(
    tmp_path: Path, where: str, value: object
) -> None:
    with pytest.raises(BadRecipe) as caught:
        read_recipe(_recipe_with(where, value, tmp_path))
    assert where.split(".", maxsplit=1)[0] in caught.value.message


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--steps", "0"),
        ("--steps", "-5"),
        ("--steps", "many"),
        ("--minutes", "0"),
        ("--minutes", "nan"),
        ("--seed", "-1"),
        ("--slice-minutes", "-1"),
        ("--device", "gpu"),
    ],
)
@pytest.mark.parametrize("command", ["train", "teach", "distill", "family"])
def test_an_argument_out_of_bounds_ends_with_a_sentence(
    capsys: pytest.CaptureFixture[str], command: str, option: str, value: str
) -> None:
    words = [command, "recipe.yaml", "--data", "data", f"{option}={value}"]
    if command in ("train", "distill"):
        words += ["--size", "small", "--run", "run"]
    if command != "train":
        words += ["--runs", "runs"]
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert f"argument {option}: expected" in capsys.readouterr().err


RANGE = {"low": 3, "high": 1}


@pytest.mark.parametrize(
    ("where", "value", "complaint"),
    [
        ("segments", [], "segments must be numbered 1, 2, 3"),
        ("segments", RECIPE["segments"][::-1], "segments must be numbered 1, 2, 3"),  # type: ignore[index]
        ("segments", RECIPE["segments"][1:], "segments must be numbered 1, 2, 3"),  # type: ignore[index]
        ("input.spacing_mm", RANGE, "a range is reversed: 3 to 1"),
        ("input.slices", RANGE, "a range is reversed: 3 to 1"),
        ("expect", [{"what": "x", "segments": [1], "ml": RANGE}], "a range is reversed: 3 to 1"),
        ("expect", [{"what": "x", "segments": [9], "ml": RANGE}], "expect names segment 9"),
        ("regions", [{"step": "keep_largest", "segments": [9]}], "regions name segment 9"),
        ("intensity", [{"step": "clip", "low": 5, "high": 1}], "clips to nothing: 5 to 1"),
        ("intensity", [{"step": "clip_percentiles", "low": 9, "high": 9}], "clips to nothing"),
        ("data.test", "train", "data.train and data.test are the same split"),
        ("gates.dice", {"large": 0.5}, "gates names size large, which the recipe does not have"),
        ("gates.non_inferior", ["fast"], "gates names size fast"),
    ],
)
def test_contradictions_are_refused_before_anything_trains(
    tmp_path: Path, where: str, value: object, complaint: str
) -> None:
    """A package with them is refused by the node: hours later, if the recipe were accepted."""
    with pytest.raises(BadRecipe) as caught:
        read_recipe(_recipe_with(where, value, tmp_path))
    assert complaint in str(caught.value)


def test_what_does_not_fit_into_memory_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen: dict[str, Any] = deepcopy(RECIPE)
    chosen["grid"]["patch_zyx"] = [10_000, 10_000, 10_000]  # 4 TB
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    data = data_set(tmp_path / "balls", 2, 1)
    words = ["train", str(path), "--data", str(data), "--size", "small", "--device", "cpu"]
    assert main([*words, "--run", str(tmp_path / "run")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("kd: not enough memory")
    assert "Use a smaller batch, patch or network" in last


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_not_here_is_refused_by_name() -> None:
    with pytest.raises(BadDevice, match="device cuda is not available"):
        pick_device("cuda")
