"""Which content of an instance that came with several: a person says so, never the node."""

from collections.abc import Sequence
from enum import StrEnum

from node.inbox import InstanceFile


class Content(StrEnum):
    """What a person takes of each instance that came more than once."""

    FIRST = "first"
    LAST = "last"


def choose(files: Sequence[InstanceFile], content: Content | None) -> tuple[InstanceFile, ...]:
    """Return one file of each instance, by when it came; all of them if nobody chose."""
    if content is None:
        return tuple(files)
    if content is Content.FIRST:  # of equal keys, a dictionary keeps what came to it last
        in_time = sorted(files, key=lambda file: file.first_ns, reverse=True)
    else:
        in_time = sorted(files, key=lambda file: file.last_ns)
    chosen = {file.sop_key: file for file in in_time}
    return tuple(sorted(chosen.values(), key=lambda file: file.path.name))
