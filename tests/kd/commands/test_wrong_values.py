"""Wrong values of every key and every option: each ends with one sentence and status 1 or 2."""

import argparse
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import inspect

from kd.commands import main, parser
from kd.recipe.read import Recipe
from tests.support.kd_phantoms import RECIPE, data_set, write_recipe

pytestmark = pytest.mark.slow  # hundreds of calls

WRONG_TEXT = {"a": [1]}  # neither text, number, list nor one of several structs
NUMBERS: tuple[object, ...] = (float("nan"), float("inf"), -1e30, 1e30, "many", True)
ALIEN = "no such key"
COMPLETE: dict[str, Any] = RECIPE | {
    "generator": {
        "anatomy": {"targets": {2: 1}, "sides": [[1, 2]], "alike": [[1, 2]], "outside": [5]},
        "contrasts": [{"name": "T1", "share": 0.5, "means": [0.5]}],
    },
    "external": [{"name": "other", "images": "i", "labels": "l", "subjects": {"a": "b"}}],
    "unlabelled": [{"name": "more", "images": "i"}],
    "expect": [{"what": "all", "segments": [1], "ml": {"low": 1, "high": 2}}],
    "sharpen": {},
    "intensity": [
        {"step": "clip", "low": 0, "high": 1},
        {"step": "clip_percentiles", "low": 1, "high": 99},
        {"step": "standardise", "mean": 0, "std": 1},
        {"step": "z_score"},
    ],
    "regions": [
        {"step": "keep_largest", "segments": [1]},
        {"step": "keep_largest_each", "segments": [1]},
        {"step": "remove_small", "segments": [1], "ml": 1},
        {"step": "keep_near", "segments": [1], "mm": 20},
        {"step": "replace_islands", "segments": [1], "ml": 1},
    ],
    "stages": {
        "widths": [8, 16],
        "kernels_zyx": [[3, 3, 3], [3, 3, 3]],
        "convolutions": [2, 2],
        "decoder_convolutions": [2],
    },
}

WRITTEN = ("run", "runs", "out", "soft", "into", "models", "cache")  # folders that a command makes
Path_ = tuple[str | int, ...]


def _structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    """Yield the structs that a type may hold."""
    match kind:
        case inspect.StructType():
            yield kind
        case inspect.UnionType(types):
            for part in types:
                yield from _structs(part)
        case inspect.VarTupleType(item_type):
            yield from _structs(item_type)
        case inspect.DictType(value_type=value_type):
            yield from _structs(value_type)


def _value_at(content: Any, kind: inspect.Type) -> Iterator[tuple[Path_, inspect.StructType]]:
    """Yield the place of each struct of `content` that `kind` describes, with its type."""
    match kind:
        case inspect.StructType() if isinstance(content, dict):
            yield (), kind
        case inspect.UnionType(types):
            for part in types:
                tag = getattr(part, "tag", None)
                if tag is None or (isinstance(content, dict) and content.get("step") == tag):
                    yield from _value_at(content, part)
        case inspect.VarTupleType(item_type) if isinstance(content, list):
            for number, one in enumerate(content):
                for path, struct in _value_at(one, item_type):
                    yield (number, *path), struct
        case inspect.DictType(value_type=value_type) if isinstance(content, dict):
            for key, one in content.items():
                for path, struct in _value_at(one, value_type):
                    yield (key, *path), struct


def _keys(content: Any, struct: inspect.StructType) -> Iterator[tuple[Path_, inspect.Field]]:
    """Yield every key of a recipe, those of its parts too, with its description."""
    for field in struct.fields:
        yield (field.encode_name,), field
        if isinstance(content, dict) and field.encode_name in content:
            inner = content[field.encode_name]
        else:
            inner = {} if any(True for _ in _structs(field.type)) else None
        for path, part in _value_at(inner, field.type):
            at = inner
            for key in path:
                at = at[key]
            for rest, described in _keys(at, part):
                yield (field.encode_name, *path, *rest), described


def _has_number(kind: inspect.Type) -> bool:
    match kind:
        case inspect.IntType() | inspect.FloatType():
            return True
        case inspect.UnionType(types):
            return any(_has_number(part) for part in types)
        case _:
            return False


def _recipe_type() -> inspect.StructType:
    described = inspect.type_info(Recipe)
    assert isinstance(described, inspect.StructType)
    return described


KEYS = dict(_keys(COMPLETE, _recipe_type()))


def _written(root: Path, place: Path_, value: object) -> Path:
    """Write the complete recipe with one other value."""
    content = deepcopy(COMPLETE)
    at: Any = content
    for key in place[:-1]:
        at = at[key] if isinstance(key, int) else at.setdefault(key, {})
    at[place[-1]] = value
    path = root / "wrong.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail; return its one sentence."""
    try:
        status = main(words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    written = capsys.readouterr().err
    assert status in (1, 2), words
    assert "Traceback" not in written, words
    last = written.strip().splitlines()[-1]
    assert last.startswith("kd"), words
    assert len(last) > 15, words
    return last


def test_the_complete_recipe_is_valid() -> None:
    msgspec.convert(COMPLETE | {"generator": None}, Recipe)
    assert len(KEYS) > 150


@pytest.mark.parametrize("place", KEYS, ids=lambda path: ".".join(map(str, path)))
def test_wrong_values_of_a_key_are_refused_with_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: Path_
) -> None:
    kind = KEYS[place].type
    values: list[object] = [ALIEN if isinstance(kind, inspect.DictType) else WRONG_TEXT]
    if _has_number(kind):
        values += NUMBERS
    for value in values:
        path = _written(tmp_path, place, value)
        words = ["train", str(path), "--data", str(tmp_path), "--size", "small"]
        sentence = _refused([*words, "--run", str(tmp_path / "run")], capsys)
        names = [str(key) for key in place if isinstance(key, str)]
        assert any(name in sentence for name in names), (value, sentence)
    assert not (tmp_path / "run").exists()


def test_an_unknown_key_is_refused_wherever_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in {path[:-1] for path in KEYS}:
        path = _written(tmp_path, (*place, ALIEN), 1)
        words = ["teach", str(path), "--data", str(tmp_path), "--runs", str(tmp_path / "runs")]
        assert ALIEN in _refused(words, capsys)


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(commands.choices)


def _arguments(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return all arguments of a command that take a value."""
    return [a for a in command._actions if a.nargs != 0 and a.dest != "help"]


CASES = [
    (name, action.option_strings[-1] if action.option_strings else action.dest)
    for name, command in _commands().items()
    for action in _arguments(command)
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("wrong")
    data_set(root / "data", 4, 1)
    write_recipe(root / "recipe.yaml")
    (root / "file").write_text("a file where a folder should be", encoding="utf-8")
    return root


def _right(world: Path, action: argparse.Action) -> str:
    """Return a value that is right as far as it goes: what follows it fails early."""
    known = {
        "recipe": world / "recipe.yaml",
        "data": world / "data",
        "task": "balls",
        "modality": "MR",
        "out": world / "new" / "out.yaml",
        "size": "small",
        "version": "1.0",
        "fold": "0",
    }
    return str(known.get(action.dest, world / "none"))


def _wrong(world: Path, action: argparse.Action) -> list[str]:
    if action.dest in WRITTEN:  # a new folder is right
        return [str(world / "file" / "below")]
    if action.type is Path:
        return [str(world / "none" / "none"), str(world / "file" / "below")]
    if action.choices:
        return ["", "none", "-1"]
    if action.dest in ("task", "version", "size", "fold", "compare", "configuration", "split"):
        return ["", "../x", "-1", "Ä ö"]
    return ["", "none", "nan", "inf", "-1", "1e400", "0x10"]


@pytest.mark.parametrize(("command", "argument"), CASES, ids=str)
def test_wrong_values_of_an_argument_end_with_a_sentence(
    world: Path, capsys: pytest.CaptureFixture[str], command: str, argument: str
) -> None:
    actions = _arguments(_commands()[command])
    tried = next(a for a in actions if argument in (*a.option_strings, a.dest))
    for value in _wrong(world, tried):
        words, options = [command], []
        for action in actions:
            text = value if action is tried else _right(world, action)
            if not action.option_strings:
                words.append(text)
            elif action.required or action is tried:
                options.append(f"{action.option_strings[-1]}={text}")
        if command == "distill" and argument != "--soft":
            options.append(f"--runs={value if argument == '--runs' else world / 'none'}")
        _refused([*words, *options], capsys)
    assert not (world / "new").exists()
