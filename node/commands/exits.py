"""The exit status of a command, and the message for an error of the operating system.

Statuses follow sysexits.h, so that scripts, systemd and container engines can distinguish errors.
"""

import errno

from node.errors import Defect, DiskLow, Misconfigured, NodeError, NotRunning, Transient, Unsuitable

OK, FAILED, USAGE = 0, 1, 2
UNSUITABLE, NOT_RUNNING, DEFECT, NO_ACCESS, TRY_LATER, MISCONFIGURED = 65, 69, 70, 74, 75, 78
DAMAGED = 76  # between `serve` and its loops only: the database is damaged

EPILOGUE = (
    "exit status: 0 success; 1 a check failed or nothing was found; 2 wrong usage; "
    "65 the input cannot be segmented; 69 a loop of the node is not running; "
    "70 an internal error, please report it; "
    "74 the operating system denied access to a file, a folder or a connection; "
    "75 a transient error, or the disk is full; 78 the configuration or a package is wrong"
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ADVICE = {
    errno.EACCES: "Grant this user access, or run the command as the node's user.",
    errno.EPERM: "Grant this user access, or run the command as the node's user.",
    errno.EROFS: "That file system is read-only: name a writable path.",
    errno.ENOENT: "Correct the path, or create the folder first.",
    errno.ENOTDIR: "There is a file where a folder is needed: correct the path.",
    errno.EISDIR: "There is a folder where a file is needed: correct the path.",
    errno.EEXIST: "It already exists: name another path.",
}


class NoAccess(NodeError):
    """The operating system denied access to a file, a folder or a connection."""

    code = "no-access"


def node_error_of(error: OSError) -> NodeError:
    """Return an error of the operating system as a message with an advice.

    The message quotes the path: the user typed it, or it lies in the data folder.
    """
    reason = error.strerror or str(error) or type(error).__name__
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    message = f"{' -> '.join(paths)}: {reason}" if paths else reason
    if error.errno in _NO_ROOM:
        return DiskLow(message, advice="Free some space, then run the command again.")
    advice = _ADVICE.get(
        error.errno or 0,
        "Fix the cause that the operating system names, then run the command again.",
    )
    return NoAccess(message, advice=advice)


_STATUSES: tuple[tuple[type[NodeError], int], ...] = (
    (Misconfigured, MISCONFIGURED),
    (Unsuitable, UNSUITABLE),
    (Transient, TRY_LATER),
    (Defect, DEFECT),
    (NoAccess, NO_ACCESS),
    (NotRunning, NOT_RUNNING),
)


def status_of(error: NodeError) -> int:
    """Return the exit status that belongs to the class of an error."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), FAILED)
