"""Convert decoded YAML or JSON to typed structs, and explain what does not fit.

An error states the path, what is wrong there, and what to write instead: the nearest known key and
all known keys, or all allowed values.
"""

import difflib
import json
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from node.conversion.kinds import (
    LIST,
    MOST_SHOWN,
    allowed,
    alternatives,
    expected,
    fields_of,
    item_of,
    shown,
)

T = TypeVar("T")
Decode = Callable[[type, object], object]
KeyPath = tuple[str | int, ...]

NEAR = 0.5  # least similarity of a key or value that is proposed instead
_PART = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


class NotValid(ValueError):
    """A document does not fit its type: the problem, its place, and what to write instead."""

    def __init__(
        self, problem: str, *, path: KeyPath = (), advice: str = "", line: int | None = None
    ) -> None:
        """Keep the problem, the path to it, the advice, and the line from 1 if known."""
        super().__init__(problem)
        self.problem, self.path, self.advice, self.line = problem, path, advice, line

    def about(self, name: str) -> str:
        """Return the message for the document `name`, without the advice."""
        line = "" if self.line is None else f" line {self.line}"
        path = f": {spelled(self.path)}" if self.path else ""
        return f"{name}{line}{path}: {self.problem}"


def spelled(path: KeyPath) -> str:
    """Return a path as people write it: rules[0].when.slices."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def convert(
    content: object,
    kind: type[T],
    decode: Decode | None = None,
    meanings: Mapping[str, str] = types.MappingProxyType({}),
    *,
    may_be_null: bool = True,
) -> T:
    """Convert `content` to `kind`.

    Args:
        content: what a YAML or JSON reader returned.
        kind: a msgspec struct.
        decode: msgspec's `dec_hook`, for types that read themselves from text.
        meanings: regular expression of a type -> what it means, for the message.
        may_be_null: whether null stands for None where `kind` allows None.

    Raises:
        NotValid: the content does not fit, with the first problem.
    """
    explanation = _Explanation(decode, meanings)
    try:
        converted = msgspec.convert(content, kind, dec_hook=decode)
    except msgspec.ValidationError as exc:
        raise explanation.of(str(exc), content, kind) from exc
    nulls = () if may_be_null else _nulls(content)
    for path in nulls:
        raise explanation.of_null(path, content, kind)
    return converted


def from_json(encoded: bytes, kind: type[T]) -> T:
    """Decode JSON and convert it to `kind`.

    Raises:
        NotValid: it is no JSON, a key stands twice in one object, or it does not fit.
    """
    try:
        content = msgspec.json.decode(encoded)
        # msgspec keeps the last of two equal keys
        repeated = next(_repeated(json.loads(encoded, object_pairs_hook=_Object)), None)
    except (ValueError, RecursionError) as exc:
        message = f"not valid JSON ({exc})"
        raise NotValid(message) from exc
    if repeated is not None:
        message = f"key {repeated[-1]!r} stands twice"
        raise NotValid(message, path=repeated, advice="Keep one of the two.")
    return convert(content, kind)


class _Object(list[tuple[str, object]]):
    """The members of a JSON object, in the order of the text."""


def _repeated(content: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of each key that its object has already."""
    if isinstance(content, _Object):
        names = set()
        for name, value in content:
            if name in names:
                yield (*path, name)
            names.add(name)
            yield from _repeated(value, (*path, name))
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from _repeated(value, (*path, index))


class _Explanation:
    """Follows msgspec's path through content and types at the same time."""

    def __init__(self, decode: Decode | None, meanings: Mapping[str, str]) -> None:
        self._decode, self._meanings = decode, meanings

    def of(self, error: str, content: object, kind: Any) -> NotValid:
        """Turn msgspec's message into ours."""
        match = re.fullmatch(r"(?s)(.*) - at (`key` in )?`\$\.?(.*)`", error)
        problem, is_key, parts = (
            (match[1], bool(match[2]), match[3]) if match else (error, False, "")
        )
        path: KeyPath = ()
        for part in _PART.findall(parts) + (["[...]"] if is_key else []):
            name, kind, content = self._descend(kind, content, part, is_key=is_key)
            path += (name,)
        if is_key and not isinstance(content, str):
            at = path if isinstance(content, int | float) else path[:-1]
            return NotValid("a key must be text", path=at, advice="Write it in quotes.")
        return self._about(problem, path, content, kind)

    def _about(self, problem: str, path: KeyPath, content: object, kind: Any) -> NotValid:
        """Explain msgspec's `problem` with the value or section at `path`."""
        if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
            key = unknown[1]
            return NotValid(
                f"unknown key {key!r}",
                path=(*path, key),
                advice=_advice(key, "Known keys", list(fields_of(kind, content))),
            )
        if missing := re.fullmatch(r"Object missing required field `(.*)`", problem):
            values = list(allowed(fields_of(kind, content).get(missing[1])))
            advice = f"Allowed values: {', '.join(values)}." if values else ""
            return NotValid(f"the key {missing[1]!r} is missing", path=path, advice=advice)
        for pattern, meaning in self._meanings.items():
            if repr(pattern) in problem:
                return NotValid(meaning, path=path)
        if problem.startswith(("Invalid enum value", "Invalid value")):
            problem = f"{shown(content)} is not allowed"
        if problem.startswith("Expected `"):  # a wrong type, length or number
            return _misfit(path, content, kind)
        return NotValid(
            problem, path=path, advice=_advice(content, "Allowed values", list(allowed(kind)))
        )

    def of_null(self, path: KeyPath, content: object, kind: Any) -> NotValid:
        """Explain that the key at `path` has no value."""
        for part in path:
            name = f"[{part}]" if isinstance(part, int) else part
            _, kind, content = self._descend(kind, content, name, is_key=False)
        return _misfit(path, None, kind)

    def _descend(
        self, kind: Any, content: Any, part: str, *, is_key: bool
    ) -> tuple[str | int, Any, Any]:
        """Return name, type and content of one part of a path; `[...]` is a value of a mapping."""
        if part == "[...]":
            return self._entry(kind, content, is_key=is_key)
        if part.startswith("["):
            index = int(part[1:-1])
            inner = content[index] if isinstance(content, list | tuple) else None
            return index, item_of(kind, index), inner
        inner = content.get(part) if isinstance(content, dict) else None
        of_value = next((get_args(k)[1] for k in alternatives(kind) if get_origin(k) is dict), None)
        return part, fields_of(kind, content).get(part, of_value), inner

    def _entry(self, kind: Any, content: Any, *, is_key: bool) -> tuple[str, Any, Any]:
        """Find the value, or the key, of a mapping that does not fit: msgspec does not name it."""
        mapping = next((k for k in alternatives(kind) if get_origin(k) is dict), None)
        if not isinstance(content, dict):
            return "...", None, None
        of_key, of_value = get_args(mapping) if mapping else (str, None)
        for key, value in content.items():
            if is_key and not self._fits(key, of_key):
                return str(key), of_key, key
            if not is_key and not self._fits(value, of_value):
                return str(key), of_value, value
        return "...", of_value, None

    def _fits(self, content: object, kind: Any) -> bool:
        try:
            msgspec.convert(content, kind, dec_hook=self._decode)
        except msgspec.ValidationError:
            return False
        return True


def _nulls(content: object, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the path of each null."""
    if content is None:
        yield path
    parts = content.items() if isinstance(content, dict) else ()
    items = enumerate(content) if isinstance(content, list) else ()
    for part, inner in (*parts, *items):
        yield from _nulls(inner, (*path, part))


def _misfit(path: KeyPath, content: object, kind: Any) -> NotValid:
    """Explain that a value is not of the type that its key takes."""
    forms = list(dict.fromkeys(expected(kind)))
    problem = f"expected {' or '.join(forms)}, found {shown(content)}"
    advice = []
    if str in alternatives(kind) and isinstance(content, bool | int | float):
        advice.append("Write text in quotes.")
    if content in (None, "", []) and path:
        advice.append("Write a value, or remove the key.")
    if isinstance(content, str) and LIST in forms:
        advice.append(f"Write a list, like [{content[:MOST_SHOWN]}].")
    if known := list(fields_of(kind, None)):
        advice.append(f"Known keys: {', '.join(known)}.")
    if (values := list(allowed(kind))) not in ([], [LIST]):
        advice.append(_advice(content, "Allowed values", values))
    return NotValid(problem, path=path, advice=" ".join(advice))


def _advice(given: object, heading: str, known: list[str]) -> str:
    """Propose the nearest known key or value, and list all of them."""
    if not known:
        return ""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(given).casefold(), by_folded, n=1, cutoff=NEAR)
    proposal = f"Did you mean {by_folded[near[0]]!r}? " if near else ""
    return f"{proposal}{heading}: {', '.join(known)}."
