"""YAML in which nothing is silently something else.

Promises: a key that stands twice is an error with both lines; 0104 is no octal number, 11:12 no
sexagesimal one and 2024-13-01 no date, as YAML 1.1 has it: they stay text, which whoever asked for
a number then refuses. No tag makes an object.
"""

import re
from collections.abc import Iterator

import yaml

_INT, _TIMESTAMP = "tag:yaml.org,2002:int", "tag:yaml.org,2002:timestamp"


class NotYaml(ValueError):
    """The text is no YAML, or says something twice."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        """Keep what is wrong, and the line, from 1, where that is known."""
        super().__init__(problem)
        self.line = line


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with decimal integers only, and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in found if tag not in (_INT, _TIMESTAMP)]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(0|[1-9][0-9]*)$"), list("-+0123456789"))


def parse(text: str) -> tuple[object, yaml.Node | None]:
    """Return the value of `text`, and the tree of nodes that knows its lines.

    Raises:
        NotYaml: as the class says.
    """
    loader = _Loader(text)
    try:
        tree = loader.get_single_node()
        value = None if tree is None else loader.construct_document(tree)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        problem = f"not valid YAML ({getattr(exc, 'problem', None) or exc})"
        raise NotYaml(problem, mark.line + 1 if mark else None) from exc
    except RecursionError as exc:
        message = "not valid YAML (nested too deeply)"
        raise NotYaml(message) from exc
    except ValueError as exc:  # a tag like !!int before something else, or thousands of digits
        message = "not valid YAML (a value is not of the kind that it claims to be)"
        raise NotYaml(message) from exc
    finally:
        loader.dispose()
    for key, first in _repeated(tree):
        line = key.start_mark.line + 1
        problem = f"key {key.value!r} stands here and in line {first.start_mark.line + 1}"
        raise NotYaml(problem, line)
    return value, tree


def _repeated(tree: yaml.Node | None) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield each key that its mapping has already, with the first one; aliases are read once."""
    waiting, seen = [] if tree is None else [tree], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            known: dict[tuple[str, str], yaml.Node] = {}
            for key, value in node.value:
                waiting += (key, value)
                if isinstance(key, yaml.ScalarNode):
                    first = known.setdefault((key.tag, key.value), key)
                    if first is not key:
                        yield key, first
