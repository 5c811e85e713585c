"""Choose one version of each duplicated image; a person decides which, never the node."""

from collections.abc import Sequence

from node.inbox import InstanceFile
from node.states import Content


def choose(files: Sequence[InstanceFile], content: Content | None) -> tuple[InstanceFile, ...]:
    """Return one file of each instance, by time of arrival; all files without a choice."""
    if content is None:
        return tuple(files)
    if content is Content.FIRST:  # a dictionary keeps the last value of a key
        in_time = sorted(files, key=lambda file: file.first_ns, reverse=True)
    else:
        in_time = sorted(files, key=lambda file: file.last_ns)
    chosen = {file.sop_key: file for file in in_time}
    return tuple(sorted(chosen.values(), key=lambda file: file.path.name))
