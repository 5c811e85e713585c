"""The parent's side of a reader process: a request that can be waited for several times."""

import contextlib
import errno
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import msgspec

from node.pipes import PIPE_BYTES, Child
from node.process import ProcessLimits
from node.reader import messages
from node.reader.messages import MOST_MESSAGE_BYTES, Message

NICENESS = 5  # behind the listener, before the segmentation
KILL_S = 5.0  # a process that waits for a share cannot be killed at once
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class EndedError(Exception):
    """The process has ended with `status`."""

    def __init__(self, status: int) -> None:
        """Set the exit status, which is negative after a signal."""
        super().__init__(status)
        self.status = status


class ReaderChild(Child):
    """The reader process."""

    def __init__(self, memory_bytes: int, log_level: str) -> None:
        """Start the process."""
        settings = ProcessLimits(
            memory_bytes=memory_bytes, niceness=NICENESS, threads=1, log_level=log_level
        )
        super().__init__("node.reader.child", settings, ONE_THREAD)
        os.set_blocking(self._stdin.fileno(), False)
        self._left, self._received = memoryview(b""), bytearray()

    def begin(self, request: bytes) -> None:
        """Take a request; `answer` sends it and waits. One request at a time."""
        self._left, self._received = memoryview(request), bytearray()

    def answer(self, until: float) -> Message:
        """Return the answer to the request; `until` is monotonic. It may be called again.

        Raises:
            EndedError: the process has ended, or its answer is no valid message.
            TimeoutError: there is no answer yet.
        """
        received = self._received
        while not received.endswith(b"\n"):
            wait_s = until - time.monotonic()
            writers = [self._stdin] if self._left else []
            ready = select.select([self._stdout], writers, [], max(wait_s, 0.0))
            if not any(ready) and wait_s <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "the reader process does not answer")
            if ready[1]:
                self._left = self._write(self._left)
            if ready[0]:
                part = os.read(self._stdout.fileno(), PIPE_BYTES)
                received += part
                if not part or len(received) > MOST_MESSAGE_BYTES:
                    raise self._ended()
        try:
            return messages.read_message(bytes(received))
        except msgspec.MsgspecError as exc:
            raise self._ended() from exc

    def _write(self, left: memoryview) -> memoryview:
        try:
            return left[os.write(self._stdin.fileno(), left[:PIPE_BYTES]) :]
        except BlockingIOError:
            return left
        except BrokenPipeError:  # its end is read next
            return memoryview(b"")

    def cpu_s(self) -> float:
        """Return the processor time of the process; 0 after its end."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace")
            user, system = stat.rpartition(")")[2].split()[11:13]
            return (int(user) + int(system)) / CLOCK_TICKS
        except (OSError, ValueError):
            return 0.0

    def _ended(self) -> EndedError:
        try:
            return EndedError(self._process.wait(KILL_S))
        except subprocess.TimeoutExpired:
            self.kill()
            return EndedError(-signal.SIGKILL)

    def kill(self) -> None:
        """Kill the process; do not wait longer than `KILL_S` for its end."""
        super().kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
