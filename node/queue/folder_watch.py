"""Wait for changes of files in a folder by Linux's inotify(7), which the standard library lacks."""

import ctypes
import os
import select
from pathlib import Path

IN_MODIFY, IN_CREATE = 0x2, 0x100  # of linux/inotify.h
BUFFER_BYTES = 1 << 16


class FolderWatch:
    """The changes of files directly in one folder, since the watch began or the last wait."""

    def __init__(self, folder: Path) -> None:
        """Begin to watch.

        Raises:
            OSError: the system has no inotify, or no more of it, or there is no such folder.
        """
        self._descriptor = -1
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "inotify_init1"):
            message = "this system has no inotify"
            raise OSError(message)
        self._descriptor = int(libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor < 0:
            raise _last_error()
        place = os.fsencode(folder)
        if int(libc.inotify_add_watch(self._descriptor, place, IN_MODIFY | IN_CREATE)) < 0:
            raise _last_error()

    def wait(self, seconds: float) -> bool:
        """Wait until a file changes, or `seconds` are over; return whether one changed."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return False
        os.read(self._descriptor, BUFFER_BYTES)  # what is left wakes the next wait
        return True

    def __del__(self) -> None:
        """Release the descriptor: a system has few of them."""
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
