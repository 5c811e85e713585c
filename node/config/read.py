"""YAML to `Config`, with errors that name the line, the key's path and the nearest known key."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import yaml

from node.config.structs import MEANINGS, Config, Name, Target, problems
from node.config.units import Between, Bytes, Pattern, Seconds
from node.errors import Misconfigured
from node.yaml_strict import NotYaml, parse

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
        content, tree = parse(text)
    except NotYaml as exc:
        where = "" if exc.line is None else f" line {exc.line}"
        message = f"{name}{where}: {exc}"
        raise Misconfigured(message) from exc
    try:
        config = msgspec.convert(content or {}, Config, dec_hook=_unit)
    except msgspec.ValidationError as exc:
        raise _explained(str(exc), content, tree, name) from exc
    for path, problem in problems(config):
        message = f"{name} line {_line(tree, path)}: {path}: {problem}"
        raise Misconfigured(message)
    return _resolved(config, base)


def _unit(kind: type, value: object) -> object:
    if kind is Path:
        return _folder(value)
    if kind in _UNITS:
        return kind.parse(value)
    message = f"{value!r} is not a {kind.__name__}"
    raise ValueError(message)


def _folder(value: object) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        message = "write the path of a folder"
        raise ValueError(message)
    try:
        return Path(value).expanduser()
    except RuntimeError as exc:
        message = f"{value!r} is of a user that this machine does not know"
        raise ValueError(message) from exc


def _explained(error: str, content: object, tree: yaml.Node | None, name: str) -> Misconfigured:
    """Turn msgspec's error into a sentence with line, path and the nearest known key."""
    said, in_key, path = _taken_apart(error)
    said = next((meaning for form, meaning in MEANINGS.items() if repr(form) in said), said)
    unknown = re.search(r"unknown field `([^`]*)`", said)
    advice = ""
    if unknown:
        key = unknown[1]
        path = f"{path}.{key}".lstrip(".")
        said = f"unknown key {key!r}"
        known = _keys_at(path.rpartition(".")[0])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        advice = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known)}."
    if isinstance(content, dict):
        path = _with_target(path, content.get("targets"), is_key=in_key)
    message = f"{name} line {_line(tree, path)}: {path or 'the file'}: {said}"
    return Misconfigured(message, advice=advice)


def _taken_apart(error: str) -> tuple[str, bool, str]:
    """Return what is wrong, whether it is a key of a mapping, and the path as in the file."""
    match = re.fullmatch(r"(?s)(.*) - at (`key` in )?`\$\.?(.*)`", error)
    return (error, False, "") if match is None else (match[1], bool(match[2]), match[3])


def _with_target(path: str, targets: object, *, is_key: bool) -> str:
    """Name the target that is wrong: msgspec writes `[...]` for any of them, or for its name."""
    if not isinstance(targets, dict) or not (is_key or path.startswith("targets[...]")):
        return path
    for key, value in targets.items():
        try:
            msgspec.convert(key, Name) if is_key else msgspec.convert(value, Target, dec_hook=_unit)
        except msgspec.ValidationError:
            return f"{path}.{key}" if is_key else path.replace("[...]", f".{key}", 1)
    return path


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
    line = 1
    for part in re.findall(r"[^.\[\]]+", path):
        child = next((child for key, child in _children(tree) if key == part), None)
        if child is None:
            break
        line, tree = child[0].start_mark.line + 1, child[1]
    return line


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
