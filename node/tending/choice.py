"""Which content of an instance that came with several: a person says so, never the node."""

from collections.abc import Sequence
from enum import StrEnum

from node.inbox import InstanceFile


class Content(StrEnum):
    """What a person takes of each instance that came more than once."""

    FIRST = "first"
    LAST = "last"


def choose(files: Sequence[InstanceFile], content: Content | None) -> tuple[InstanceFile, ...]:
    """Return one file of each instance, by when it was stored; all of them if nobody chose."""
    if content is None:
        return tuple(files)
    in_time = sorted(files, key=lambda file: file.path.stat().st_mtime_ns)
    if content is Content.FIRST:
        in_time.reverse()  # of equal keys, a dictionary keeps what came to it last
    chosen = {file.sop_key: file for file in in_time}
    return tuple(sorted(chosen.values(), key=lambda file: file.path.name))
