"""Strict YAML for node.yaml and recipes: no value is silently something else.

A key that stands twice is an error with both lines. 0104 is no octal number, 11:12 no sexagesimal
one and 2024-13-01 no date, unlike in YAML 1.1: they stay text, and a key that takes a number
refuses them. No tag makes an object.
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import BaseResolver

from node.conversion import Decode, KeyPath, NotValid, convert

T = TypeVar("T")

_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f]")
_DIRECTIVE = re.compile(r"\ufeff?(?:[ \t]*(?:#[^\n]*)?\r?\n)*%")
MOST_DIGITS = 400  # of a number; Python refuses to convert some thousands
_TAG = "tag:yaml.org,2002:"
_PLAIN_VALUES = (  # tag, form, first characters
    ("bool", "yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
     "yYnNtTfFoO"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?"
     r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+0123456789."),
    ("merge", "<<", "<"),
    ("null", "~|null|Null|NULL|", ("~", "n", "N", "")),
)  # fmt: skip
_PLAIN_TAGS = {_TAG + name for name in ("str", "seq", "map", *(name for name, *_ in _PLAIN_VALUES))}


class _Resolver(BaseResolver):
    """The types of values without quotes: decimal integers only, and no dates."""

    def __init__(self, version: Any = None, loader: Any = None) -> None:
        del version
        super().__init__(loader)

    @property
    def processing_version(self) -> tuple[int, int]:
        """The version whose syntax is read; a file cannot choose another one."""
        return (1, 2)


for _name, _form, _first in _PLAIN_VALUES:
    _Resolver.add_implicit_resolver_base(_TAG + _name, re.compile(f"(?:{_form})$"), list(_first))


@dataclass(frozen=True)
class Document:
    """The content of a YAML file, and where it stands."""

    content: object
    tree: Node | None

    def line(self, path: KeyPath) -> int:
        """Return the line, from 1, of the deepest part of `path` that the file has."""
        line, tree = 1, self.tree
        for part in path:
            child = next((two for key, *two in _children(tree) if key == str(part)), None)
            if child is None:
                break
            line, tree = child[0].start_mark.line + 1, child[1]
        return line


def parse(text: str) -> Document:
    """Read YAML.

    Raises:
        NotValid: the text is no YAML, or a key stands twice.
    """
    _refuse_characters(text)
    yaml = _yaml()
    try:
        constructor, _ = yaml.get_constructor_parser(text)
        tree = constructor.composer.get_single_node()
        _refuse_repeated(tree)
        _refuse_tags(tree)
        content = None if tree is None else constructor.construct_document(tree)
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        message = f"not valid YAML ({getattr(exc, 'problem', None) or exc})"
        raise NotValid(message, line=mark.line + 1 if mark else None) from exc
    except RecursionError as exc:
        message = "not valid YAML (nested too deeply)"
        raise NotValid(message) from exc
    _refuse_repeated(tree)  # again: merge keys have been replaced by what they stand for
    return Document(content, tree)


def read(
    text: str,
    kind: type[T],
    decode: Decode | None = None,
    meanings: Mapping[str, str] = MappingProxyType({}),
    *,
    may_be_null: bool = True,
) -> tuple[T, Document]:
    """Read YAML and convert it to `kind`; an empty file is an empty mapping. See `convert`.

    Raises:
        NotValid: as `parse` and `convert`, with the line.
    """
    document = parse(text)
    content = {} if document.content is None else document.content
    try:
        return convert(content, kind, decode, meanings, may_be_null=may_be_null), document
    except NotValid as exc:
        exc.line = document.line(exc.path)
        raise


def dump(content: object, *, flow: bool | None = False) -> str:
    """Write plain values as YAML that `parse` reads back; `flow=None` writes short lists inline."""
    yaml = _yaml()
    yaml.default_flow_style = flow
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    buffer = io.StringIO()
    yaml.dump(content, buffer)
    return buffer.getvalue()


def _yaml() -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    return yaml


def _refuse_characters(text: str) -> None:
    """Refuse control characters, which YAML does not allow, and directives before the document."""
    control = _CONTROL.search(text)
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        problem = f"not valid YAML (the control character U+{ord(control[0]):04X} is not allowed)"
        raise NotValid(problem, line=line)
    directive = _DIRECTIVE.match(text)
    if directive is not None:
        line = text.count("\n", 0, directive.end()) + 1
        problem = "not valid YAML (a directive, %..., is not read: remove the line)"
        raise NotValid(problem, line=line)


def _refuse_repeated(tree: Node | None) -> None:
    for key, first in _repeated(tree):
        line = key.start_mark.line + 1
        problem = f"key {key.value!r} stands here and in line {first.start_mark.line + 1}"
        raise NotValid(problem, line=line)


def _refuse_tags(tree: Node | None) -> None:
    """Refuse tags that make anything but plain values, and values that do not fit their tag."""
    for node in _nodes(tree):
        line, name = node.start_mark.line + 1, str(node.tag).removeprefix(_TAG)
        if f"{_TAG}{name}" not in _PLAIN_TAGS:
            problem = f"not valid YAML (the tag {name} is not allowed: write a plain value)"
            raise NotValid(problem, line=line)
        forms = [form for tag, form, _ in _PLAIN_VALUES if tag == name]
        if forms and not (isinstance(node, ScalarNode) and _fits(node.value, forms[0])):
            problem = "not valid YAML (a value is not of the kind that it claims to be)"
            raise NotValid(problem, line=line)


def _fits(value: str, form: str) -> bool:
    return len(value) <= MOST_DIGITS and re.fullmatch(form, value) is not None


def _repeated(tree: Node | None) -> Iterator[tuple[Node, Node]]:
    """Yield each key that its mapping has already, with the first one."""
    for node in _nodes(tree):
        known: dict[tuple[str, str], Node] = {}
        for key, _ in node.value if isinstance(node, MappingNode) else ():
            if isinstance(key, ScalarNode):
                first = known.setdefault((str(key.tag), key.value), key)
                if first is not key:
                    yield key, first


def _nodes(tree: Node | None) -> Iterator[Node]:
    """Yield each node once, however often aliases name it."""
    waiting, visited = [] if tree is None else [tree], set()
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        yield node
        if isinstance(node, SequenceNode):
            waiting += node.value
        if isinstance(node, MappingNode):
            waiting += [part for pair in node.value for part in pair]


def _children(node: Node | None) -> Iterator[tuple[str, Node, Node]]:
    """Yield (key or index, node of the key, node of the value)."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield str(key.value), key, value
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield str(index), value, value
