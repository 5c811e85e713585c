"""Every key of a YAML or JSON file that is read into structs, as a dotted path."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec


def keys_of(kind: Any, before: str = "") -> Iterator[str]:
    """Yield the path of each field of a struct; `*` stands for a name that the author chooses."""
    for part in _parts(kind):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            tag = part.__struct_config__.tag_field
            if tag:
                yield f"{before}{tag}"
            for field in msgspec.structs.fields(part):
                yield f"{before}{field.encode_name}"
                yield from keys_of(field.type, f"{before}{field.encode_name}.")
        elif get_origin(part) is dict:
            yield from keys_of(get_args(part)[1], f"{before}*.")


def values_of(kind: Any) -> set[str]:
    """Return every word that a `Literal` anywhere in the fields of a struct allows."""
    values: set[str] = set()
    for part in _parts(kind):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            for field in msgspec.structs.fields(part):
                values |= values_of(field.type)
        elif get_origin(part) is dict:
            values |= values_of(get_args(part)[1])
        elif get_origin(part) is Literal:
            values |= {value for value in get_args(part) if isinstance(value, str)}
    return values


def _parts(kind: Any) -> Iterator[Any]:
    """Yield the types inside unions, annotations and sequences."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _parts(get_args(kind)[0])
    elif origin in (Union, types.UnionType, tuple, list, frozenset, set):
        for part in get_args(kind):
            yield from _parts(part)
    else:
        yield kind
