"""Keep images, results and the database readable by the node's user only.

Promises: after `keep_private`, this process and its children create files with mode 0600 and
folders with mode 0700, and their core dumps hold no memory.
"""

import contextlib
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS = stat.S_IRWXO
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FILTER = Path("/proc/self/coredump_filter")


def keep_private() -> None:
    """Set umask 077 and disable core dumps, for this process and its children.

    The limit concerns files only: the kernel ignores it for a program that collects core dumps. The
    filter leaves the memory out of these too. PR_SET_DUMPABLE would do the same, but it takes away
    our own files in /proc, which the measurement of memory needs.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # a kernel without core dumps, or a read-only /proc
        _FILTER.write_text("0", encoding="ascii")


def wide_paths(folder: Path) -> Iterator[Path]:
    """Yield `folder` and the paths in it that other users may enter, read or write.

    Looks two levels deep: a folder of one series is reached through these only.
    """
    first = sorted(folder.iterdir())
    folders = [path for path in first if path.is_dir() and not path.is_symlink()]
    second = [path for each in folders for path in sorted(each.iterdir())]
    for path in (folder, *first, *second):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if not path.is_symlink() and is_wide(path):
                yield path


def is_wide(path: Path) -> bool:
    """Return whether other users may enter, read or write a path.

    The group of a path of another owner is not considered, because a volume of Kubernetes belongs
    to root and is shared by its group.
    """
    status = path.stat()
    is_ours = os.geteuid() in (0, status.st_uid)
    return bool(status.st_mode & (GROUP_AND_OTHERS if is_ours else OTHERS))
