"""Convert decoded YAML or JSON to typed structs, and explain what does not fit.

An error states the path, what is wrong there, and what to write instead: the nearest known key and
all known keys, or all allowed values.
"""

import difflib
import enum
import json
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

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
) -> T:
    """Convert `content` to `kind`.

    Args:
        content: what a YAML or JSON reader returned.
        kind: a msgspec struct.
        decode: msgspec's `dec_hook`, for types that read themselves from text.
        meanings: regular expression of a type -> what it means, for the message.

    Raises:
        NotValid: the content does not fit, with the first problem.
    """
    try:
        return msgspec.convert(content, kind, dec_hook=decode)
    except msgspec.ValidationError as exc:
        raise _Explanation(decode, meanings).of(str(exc), content, kind) from exc


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
        if is_key:
            content = path[-1]
        if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", problem):
            key = unknown[1]
            return NotValid(
                f"unknown key {key!r}",
                path=(*path, key),
                advice=_advice(key, "Known keys", list(_fields(kind, content))),
            )
        if missing := re.fullmatch(r"Object missing required field `(.*)`", problem):
            values = list(_allowed(_fields(kind, content).get(missing[1])))
            advice = f"Allowed values: {', '.join(values)}." if values else ""
            return NotValid(f"the key {missing[1]!r} is missing", path=path, advice=advice)
        for pattern, meaning in self._meanings.items():
            if repr(pattern) in problem:
                return NotValid(meaning, path=path)
        if problem.startswith(("Invalid enum value", "Invalid value")):
            problem = f"{content!r} is not allowed"
        return NotValid(
            problem, path=path, advice=_advice(content, "Allowed values", list(_allowed(kind)))
        )

    def _descend(
        self, kind: Any, content: Any, part: str, *, is_key: bool
    ) -> tuple[str | int, Any, Any]:
        """Return name, type and content of one part of a path; `[...]` is a value of a mapping."""
        if part == "[...]":
            return self._misfit(kind, content, is_key=is_key)
        if part.startswith("["):
            index = int(part[1:-1])
            inner = content[index] if isinstance(content, list | tuple) else None
            return index, _item(kind, index), inner
        inner = content.get(part) if isinstance(content, dict) else None
        return part, _fields(kind, content).get(part), inner

    def _misfit(self, kind: Any, content: Any, *, is_key: bool) -> tuple[str, Any, Any]:
        """Find the value, or the key, of a mapping that does not fit: msgspec does not name it."""
        mapping = next((k for k in _alternatives(kind) if get_origin(k) is dict), None)
        if mapping is None or not isinstance(content, dict):
            return "...", None, None
        of_key, of_value = get_args(mapping)
        for key, value in content.items():
            if is_key and not self._fits(key, of_key):
                return str(key), of_key, value
            if not is_key and not self._fits(value, of_value):
                return str(key), of_value, value
        return "...", of_value, None

    def _fits(self, content: object, kind: Any) -> bool:
        try:
            msgspec.convert(content, kind, dec_hook=self._decode)
        except msgspec.ValidationError:
            return False
        return True


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield the members of a union, without the annotations."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from _alternatives(inner)
    else:
        yield kind


def _item(kind: Any, index: int) -> Any:
    """Return the type of an item of a list or tuple."""
    for alternative in _alternatives(kind):
        inner = get_args(alternative)
        if get_origin(alternative) in (list, tuple) and inner:
            is_fixed = get_origin(alternative) is tuple and inner[-1] is not Ellipsis
            return inner[index] if is_fixed and index < len(inner) else inner[0]
    return None


def _fields(kind: Any, content: object) -> dict[str, Any]:
    """Return the keys of a struct with their types; of several structs, the one of the tag."""
    structs = [
        one
        for one in _alternatives(kind)
        if isinstance(one, type) and issubclass(one, msgspec.Struct)
    ]
    tagged = {one.__struct_config__.tag: one for one in structs if one.__struct_config__.tag}
    if not tagged:
        return get_type_hints(structs[0], include_extras=True) if structs else {}
    tag_field = str(next(iter(tagged.values())).__struct_config__.tag_field)
    tag = content.get(tag_field) if isinstance(content, dict) else None
    chosen = tagged.get(tag) if isinstance(tag, str) else None
    fields = {tag_field: Literal[tuple(tagged)]}
    return fields | (get_type_hints(chosen, include_extras=True) if chosen else {})


def _allowed(kind: Any) -> Iterator[str]:
    """Yield the values that a type allows, where they can be listed."""
    for one in _alternatives(kind):
        if get_origin(one) is Literal:
            yield from (str(value) for value in get_args(one))
        elif isinstance(one, type) and issubclass(one, enum.Enum):
            yield from (str(value.value) for value in one)
        elif one is bool:
            yield from ("true", "false")
        elif get_origin(one) in (list, tuple) and one is not kind:  # beside other types
            yield "a list"


def _advice(found: object, what: str, known: list[str]) -> str:
    """Propose the nearest known key or value, and list all of them."""
    if not known:
        return ""
    near = difflib.get_close_matches(str(found), known, n=1, cutoff=NEAR)
    proposal = f"Did you mean {near[0]!r}? " if near else ""
    return f"{proposal}{what}: {', '.join(known)}."
