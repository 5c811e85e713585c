"""Space and kind of the file system of a folder.

Promises: nothing is written. Leaves to the callers: what follows from too little space.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# an image of CT takes 512 KiB: with one inode per half of it, both limits hold as many images
BYTES_PER_FILE = 256 << 10
# SQLite's locks and shared memory do not work reliably on these
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "davfs")
NETWORK_IN_USER_SPACE = ("fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs")
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Space:
    """What an ordinary user may still write to a file system."""

    free_bytes: int
    free_files: int | None  # inodes; None: this file system does not limit them

    def shortage(self, least_bytes: int, coming_bytes: int = 0) -> str:
        """Describe what is below the limits; empty if nothing is.

        Args:
            least_bytes: `data.stop_accepting_below`.
            coming_bytes: the size of the next write.
        """
        if self.free_bytes - coming_bytes < least_bytes:
            coming = f" plus {coming_bytes >> 20} MiB to be written" if coming_bytes >> 20 else ""
            return (
                f"{self.free_bytes >> 20} MiB are free, {least_bytes >> 20} MiB are required"
                f"{coming}"
            )
        least_files = least_bytes // BYTES_PER_FILE
        if self.free_files is not None and self.free_files < least_files:
            return f"{self.free_files} inodes are free, {least_files} are required"
        return ""


def space(folder: Path) -> Space:
    """Return the free space of the file system that holds `folder`, or its nearest parent.

    Raises:
        OSError: the file system does not answer.
    """
    usage = os.statvfs(nearest(folder))
    return Space(
        free_bytes=usage.f_bavail * usage.f_frsize,
        free_files=usage.f_favail if usage.f_files else None,
    )


def nearest(path: Path) -> Path:
    """Return `path`, or its nearest parent that exists."""
    while not path.exists():
        path = path.parent
    return path


def network_file_system(path: Path, mounts: str | None = None) -> str:
    """Return the type of the network file system that holds `path`; empty if it is a local one.

    `mounts` is the content of /proc/self/mountinfo (default: of this process).
    """
    place = nearest(path).resolve()
    best, kind = -1, ""
    for line in (MOUNTS.read_text(encoding="utf-8") if mounts is None else mounts).splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(_unescaped(mount.split()[4]))
        # a later mount at the same place hides the earlier one
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), source.split()[0]
    return kind if kind in NETWORK or kind in NETWORK_IN_USER_SPACE else ""


def _unescaped(field: str) -> str:
    """Return a path of mountinfo, where blanks are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), field)
