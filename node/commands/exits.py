"""How a command ends: its exit status, and the sentence that an error becomes.

Statuses follow sysexits.h, so that scripts, systemd and container engines can tell what happened.
"""

import errno

from node.errors import Defect, DiskLow, Misconfigured, NodeError, Transient, Unsuitable

OK, FAILED, USAGE = 0, 1, 2
UNSUITABLE, NOT_RUNNING, DEFECT, NO_ACCESS, TRY_LATER, MISCONFIGURED = 65, 69, 70, 74, 75, 78

EPILOGUE = (
    "exit status: 0 done; 1 a check failed or nothing was found; 2 wrong usage; "
    "65 the input cannot be segmented; 69 a loop of the node is not running; "
    "70 a defect, please report; 74 the operating system refused a file, a folder or a connection; "
    "75 try again later, or the disk is full; 78 the configuration or a package is wrong"
)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ADVICE = {
    errno.EACCES: "Give this user the right to it, or run the command as the node's user.",
    errno.EPERM: "Give this user the right to it, or run the command as the node's user.",
    errno.EROFS: "That file system is read-only: name a place that can be written.",
    errno.ENOENT: "Correct the path, or make the folder first.",
    errno.ENOTDIR: "A file stands where a folder is needed: correct the path.",
    errno.EISDIR: "A folder stands where a file is needed: correct the path.",
    errno.EEXIST: "Something stands there already: name another place.",
}


class NoAccess(NodeError):
    """The operating system refused a file, a folder or a connection."""

    code = "no-access"


def explained(error: OSError) -> NodeError:
    """Return what the operating system refused as a sentence with an advice.

    It quotes a path, which is for the person who typed it or lies in the data folder.
    """
    said = error.strerror or str(error) or type(error).__name__
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    message = f"{' -> '.join(paths)}: {said}" if paths else said
    if error.errno in _NO_ROOM:
        return DiskLow(message, advice="Free some space, then do it again.")
    advice = _ADVICE.get(error.errno or 0, "Mend what the operating system says, then do it again.")
    return NoAccess(message, advice=advice)


def status_of(error: NodeError) -> int:
    """Return the exit status that belongs to the class of an error."""
    match error:
        case Misconfigured():
            return MISCONFIGURED
        case Unsuitable():
            return UNSUITABLE
        case Transient():
            return TRY_LATER
        case Defect():
            return DEFECT
        case NoAccess():
            return NO_ACCESS
        case _:
            return FAILED
