"""Log a fault of a loop once, lengthen the pauses between its attempts, and call it in a thread."""

import errno
import logging
import os
import threading
from collections.abc import Callable

from node.errors import DiskFault, DiskLow, Misconfigured, NodeError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def disk_error(error: OSError) -> NodeError:
    """Return the node's error for a file that cannot be read or written, without its path."""
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    if error.errno in DISK_FULL:
        return DiskLow(reason, advice="Free some space; the work goes on automatically.")
    return DiskFault(
        reason, advice="See the kernel log; check the disk and the rights of data.dir."
    )


class FaultLog:
    """The faults of one loop: one line when a fault begins or changes, and one when it ends."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        """Start without a fault; `name` is the loop in the messages."""
        self._log, self._name = log, name
        self._state = ""
        self._pause_s = 0.0

    def failed(self, error: Exception) -> float:
        """Log the fault unless it is the one of the last attempt; return the pause in seconds."""
        known = disk_error(error) if isinstance(error, OSError) else error
        code = known.code if isinstance(known, NodeError) else type(known).__name__
        if code != self._state:
            self._state, self._pause_s = code, 0.0
            facts = {"stage": self._name, "code": code, "advice": getattr(known, "advice", "")}
            # the text of an unexpected exception could quote a data set
            if isinstance(known, NodeError):
                self._log.error("%s failed: %s", self._name, known.message, extra=facts)
            else:
                self._log.error("%s failed", self._name, exc_info=known, extra=facts)
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s or FIRST_PAUSE_S)
        return self._pause_s

    def worked(self) -> None:
        """Log that the fault is over, if there was one."""
        if self._state:
            self._log.warning(
                "%s works again", self._name, extra={"stage": self._name, "code": self._state}
            )
            self._state = ""


class PeriodicThread(threading.Thread):
    """Calls a function again and again, with growing pauses while it fails."""

    def __init__(
        self,
        name: str,
        pause_s: float,
        function: Callable[[], object],
        ended: threading.Event,
        log: logging.Logger,
    ) -> None:
        """Prepare the thread; it ends when `ended` is set."""
        super().__init__(name=name, daemon=True)
        self._pause_s, self._function, self._ended = pause_s, function, ended
        self._faults = FaultLog(log, name)
        self.error: Misconfigured | None = None  # it ended this thread; the main thread raises it

    def run(self) -> None:
        """Call the function; `Misconfigured` ends the thread: another try cannot help."""
        pause_s = self._pause_s
        while not self._ended.wait(pause_s):
            try:
                self._function()
            except Misconfigured as exc:  # such as a damaged database
                self.error = exc
                return
            except Exception as exc:  # noqa: BLE001  the loop: the function is called again
                pause_s = max(self._pause_s, self._faults.failed(exc))
            else:
                self._faults.worked()
                pause_s = self._pause_s
