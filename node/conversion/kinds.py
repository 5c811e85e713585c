"""What a type of a struct allows, in words for a person; and the types of its parts."""

import enum
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

LIST, CHOICE = "a list", "one of the allowed values"
MOST_SHOWN = 80  # characters of a value in a message
_EXPECTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    Path: "the path of a folder",
    list: LIST,
    tuple: LIST,
    dict: "a section of names",
    Literal: CHOICE,
}


def shown(value: object) -> str:
    """Return a value as a person wrote it, for a message."""
    match value:
        case None:
            return "no value"
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return LIST if value else "an empty list"
        case dict():
            return "a section"
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def expected(kind: Any) -> Iterator[str]:
    """Yield what a person may write for a type."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from expected(inner)
    elif origin is Annotated:
        inner, *annotations = get_args(kind)
        bounds = [_bounds(one) for one in annotations if isinstance(one, msgspec.Meta)]
        yield from (f"{expected}{''.join(bounds)}" for expected in expected(inner))
    elif kind is not types.NoneType:
        yield _EXPECTED.get(origin or kind) or _expected_of_class(kind)


def _expected_of_class(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return CHOICE
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "a section of keys"
    return str(getattr(kind, "EXPECTED", "another value"))


def _bounds(meta: msgspec.Meta) -> str:
    if meta.ge is not None and meta.le is not None:
        return f" from {meta.ge} to {meta.le}"
    return f" of at least {meta.ge}" if meta.ge is not None else ""


def alternatives(kind: Any) -> Iterator[Any]:
    """Yield the members of a union, without the annotations."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from alternatives(get_args(kind)[0])
    elif origin in (Union, types.UnionType):
        for inner in get_args(kind):
            yield from alternatives(inner)
    else:
        yield kind


def item_of(kind: Any, index: int) -> Any:
    """Return the type of an item of a list or tuple."""
    for alternative in alternatives(kind):
        inner = get_args(alternative)
        if get_origin(alternative) in (list, tuple) and inner:
            is_fixed = get_origin(alternative) is tuple and inner[-1] is not Ellipsis
            return inner[index] if is_fixed and index < len(inner) else inner[0]
    return None


def fields_of(kind: Any, content: object) -> dict[str, Any]:
    """Return the keys of a struct with their types; of several structs, the one of the tag."""
    structs = [
        one
        for one in alternatives(kind)
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


def allowed(kind: Any) -> Iterator[str]:
    """Yield the values that a type allows, where they can be listed."""
    for one in alternatives(kind):
        if get_origin(one) is Literal:
            yield from (str(value) for value in get_args(one))
        elif isinstance(one, type) and issubclass(one, enum.Enum):
            yield from (str(value.value) for value in one)
        elif one is bool:
            yield from ("true", "false")
        elif get_origin(one) in (list, tuple) and one is not kind:  # beside other types
            yield LIST
