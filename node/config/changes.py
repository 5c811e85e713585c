"""Compare two configurations, and say which changes need a restart."""

from collections.abc import Mapping

import msgspec

from node.config.structs import Config
from node.conversion import KeyPath

# a process cannot change these while it works; every other key is taken over by `segnode reload`
FIXED: tuple[KeyPath, ...] = (
    ("node", "ae_title"),
    ("node", "host"),
    ("node", "port"),
    ("node", "uid_root"),
    ("data", "dir"),
    ("data", "database"),
    ("data", "index"),
    ("tls",),
)


def changed_keys(before: Config, after: Config) -> list[KeyPath]:
    """Return the keys whose values differ: of a section, of a target, or a whole list."""
    return _differences((), _plain(before), _plain(after))


def needs_restart(key: KeyPath) -> bool:
    """Return whether a change of this key needs a restart of the node."""
    return any(key[: len(fixed)] == fixed for fixed in FIXED)


def _differences(
    path: KeyPath, before: Mapping[str, object], after: Mapping[str, object]
) -> list[KeyPath]:
    keys: list[KeyPath] = []
    for name in dict.fromkeys([*before, *after]):
        key, one, other = (*path, name), before.get(name), after.get(name)
        if one == other:
            continue
        is_section = isinstance(one, dict) and isinstance(other, dict) and not path
        keys += _differences(key, _section(one), _section(other)) if is_section else [key]
    return keys


def _section(value: object) -> Mapping[str, object]:
    return msgspec.convert(value, dict[str, object])


def _plain(config: Config) -> Mapping[str, object]:
    """Return the values as text, numbers, lists and mappings, which can be compared."""
    return _section(msgspec.to_builtins(config, enc_hook=str))
