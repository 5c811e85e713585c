"""YAML to `Config`, with errors that name the line, the key's path and the nearest known key."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import yaml

from node.config.structs import Config, problems
from node.config.units import Between, Bytes, Pattern, Seconds
from node.errors import Misconfigured

LARGEST_FILE_BYTES = 1 << 20
_UNITS = (Seconds, Bytes, Between, Pattern)


def load(path: Path) -> Config:
    """Read a configuration file; relative folders in it are relative to the file.

    Raises:
        Misconfigured: the file is absent, not YAML, or says something that is not understood.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            message = f"{path} is larger than {LARGEST_FILE_BYTES} bytes"
            raise Misconfigured(message)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        message = f"{path} cannot be read: there is no such file"
        raise Misconfigured(message, advice="Write one with `segnode init`.") from exc
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        message = f"{path} cannot be read: {why}"
        raise Misconfigured(message, advice="Mend the file or its rights, then try again.") from exc
    return load_text(text, str(path), path.parent)


def load_text(text: str, name: str = "configuration", base: Path = Path()) -> Config:
    """Read a configuration from its text; `base` is what relative folders are relative to.

    Raises:
        Misconfigured: as `load`.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        message = f"{name}{where}: not valid YAML ({getattr(exc, 'problem', exc)})"
        raise Misconfigured(message) from exc
    try:
        config = msgspec.convert(content or {}, Config, dec_hook=_unit)
    except msgspec.ValidationError as exc:
        raise _explained(str(exc), tree, name) from exc
    for path, problem in problems(config):
        message = f"{name} line {_line(tree, path)}: {path}: {problem}"
        raise Misconfigured(message)
    return _resolved(config, base)


def _unit(kind: type, value: object) -> object:
    if kind is Path:
        return Path(str(value)).expanduser()
    if kind in _UNITS:
        return kind.parse(value)
    message = f"{value!r} is not a {kind.__name__}"
    raise ValueError(message)


def _explained(error: str, tree: yaml.Node | None, name: str) -> Misconfigured:
    """Turn msgspec's error into a sentence with line, path and the nearest known key."""
    said, _, path = error.partition(" - at `")
    path = path.rstrip("`").removeprefix("$").removeprefix(".")
    unknown = re.search(r"unknown field `([^`]*)`", said)
    advice = ""
    if unknown:
        key = unknown[1]
        path = f"{path}.{key}".lstrip(".")
        said = f"unknown key {key!r}"
        known = _keys_at(path.rpartition(".")[0])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        advice = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
    message = f"{name} line {_line(tree, path)}: {path or 'the file'}: {said}"
    return Misconfigured(message, advice=advice)


def _keys_at(path: str) -> list[str]:
    """Return the known keys of the struct at `path`, following dict values and list items."""
    kind: Any = Config
    for part in _parts(path):
        struct = next((k for k in _structs(kind)), None)
        if struct is None:
            return []
        kind = kind if part is None else get_type_hints(struct).get(part, kind)
    struct = next((k for k in _structs(kind)), None)
    return list(struct.__struct_fields__) if struct else []


def _parts(path: str) -> Iterator[str | None]:
    """Yield the names of a path; None for what is an index or any key of a mapping."""
    for part in re.findall(r"[^.\[\]]+|\[[^\]]*\]", path):
        yield None if part.startswith("[") else part


def _structs(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for inner in get_args(kind):
        yield from _structs(inner)


def _line(tree: yaml.Node | None, path: str) -> int:
    """Return the line of the deepest node of `path` that the file has."""
    return _deepest(tree, re.findall(r"\.\.\.|[^.\[\]]+", path))[1]


def _deepest(node: yaml.Node | None, parts: list[str], line: int = 1) -> tuple[int, int]:
    """Return (parts found, line); msgspec writes `...` for any key of a mapping: try them all."""
    best = (0, line)
    if parts:
        for key, child in _children(node):
            if parts[0] in (key, "..."):
                start = child[0].start_mark.line + 1
                found, at = _deepest(child[1], parts[1:], start)
                best = max(best, (found + 1, at), key=lambda pair: pair[0])
    return best


def _children(node: yaml.Node | None) -> Iterator[tuple[str, tuple[yaml.Node, yaml.Node]]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), (key, value)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), (value, value)


def _resolved(config: Config, base: Path) -> Config:
    data = msgspec.structs.replace(config.data, dir=(base / config.data.dir).resolve())
    model = msgspec.structs.replace(config.model, dir=(base / config.model.dir).resolve())
    return msgspec.structs.replace(config, data=data, model=model)
