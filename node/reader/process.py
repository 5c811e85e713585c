"""Keep one reader process warm, ask it, and replace it after its death.

A request that runs out of processor time or memory ends the process. So does one that gets no
answer in time although the process computed. If it did not compute, the fault is the machine's,
such as a share that hangs.
"""

import contextlib
import errno
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from node.errors import ReaderKilled, rebuild
from node.pipes import PIPE_BYTES, Child, encode
from node.process import Failed, ProcessLimits
from node.reader import messages
from node.reader.deaths import ADVICE
from node.reader.messages import (
    MOST_MESSAGE_BYTES,
    OUT_OF_MEMORY,
    Compared,
    CompareRequest,
    DiskFailed,
    FileIdentity,
    Identified,
    IdentifyRequest,
    Message,
    Request,
    SeriesReading,
    SurveyRequest,
)

NICENESS = 5  # behind the listener, before the segmentation
START_S = 120.0  # imports took 1 s on an idle machine
KILL_S = 5.0  # a process that waits for a share cannot be killed at once
IDLE_SHARE = 0.1  # of the processor time of a request; with less, the process waited for the disk
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
SUBJECT = "the process that reads the images"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
log = logging.getLogger("node.reader")


@dataclass(frozen=True)
class ReaderLimits:
    """Limits of the reader process: of its memory, and of the time for one request."""

    memory_bytes: int = 1 << 30  # an Enhanced CT of 5000 frames took 600 MiB
    cpu_s: float = 20.0
    cpu_s_per_file: float = 0.02  # reading one header takes 2 ms
    cpu_s_per_mib: float = 0.1  # comparing decoded pixels takes 20 ms
    most_wait: float = 6.0  # times the processor time: the processor may be busy


class Reader:
    """One reader process. Not safe for several threads, except `interrupt`."""

    def __init__(self, limits: ReaderLimits | None = None, log_level: str = "INFO") -> None:
        """Start nothing yet; the first request does, or `start`."""
        self._limits = limits or ReaderLimits()
        self._log_level = log_level
        self._child: _Child | None = None
        self._is_closed = False

    def __enter__(self) -> "Reader":
        """Return the reader."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _at: TracebackType | None,
    ) -> None:
        """Close the reader."""
        self.close()

    def start(self) -> None:
        """Start the process, so that it is warm when images arrive."""
        if self._child is None or not self._child.is_alive:
            self._end()
            self._child = _Child(self._limits, self._log_level)

    def survey(self, folder: Path, files: Sequence[str], part: int | None = None) -> SeriesReading:
        """Survey the files of one series, or those of one part (`node.series.parts`).

        Raises:
            ReaderKilled: reading them killed the process.
            OSError: the disk fails, or nothing answers in time; another try may work.
        """
        cpu_s = self._limits.cpu_s + self._limits.cpu_s_per_file * len(files)
        request = SurveyRequest(folder=str(folder), files=tuple(files), part=part, cpu_s=cpu_s)
        answer = self._ask(request)
        assert isinstance(answer, SeriesReading), answer
        return answer

    def same_image(self, one: Path, other: Path) -> bool:
        """Compare two files as `series.same_image` does.

        Raises:
            ReaderKilled, OSError: as `survey`.
        """
        mib = sum(path.stat().st_size for path in (one, other)) / (1 << 20)
        cpu_s = self._limits.cpu_s + self._limits.cpu_s_per_mib * mib
        answer = self._ask(CompareRequest(one=str(one), other=str(other), cpu_s=cpu_s))
        assert isinstance(answer, Compared), answer
        return answer.is_same

    def identify(self, folder: Path, files: Sequence[str]) -> tuple[FileIdentity, ...]:
        """Return the UIDs of each file below `folder`, or why it is no DICOM instance.

        Raises:
            ReaderKilled, OSError: as `survey`.
        """
        cpu_s = self._limits.cpu_s + self._limits.cpu_s_per_file * len(files)
        answer = self._ask(IdentifyRequest(folder=str(folder), files=tuple(files), cpu_s=cpu_s))
        assert isinstance(answer, Identified), answer
        return answer.files

    @property
    def pid(self) -> int:
        """The process that would take the next request; 0 if none runs."""
        return self._child.pid if self._child is not None and self._child.is_alive else 0

    def interrupt(self) -> None:
        """Refuse further requests; one that runs in another thread raises OSError."""
        self._is_closed = True
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the process."""
        self._is_closed = True
        self._end()

    def _ask(self, request: Request) -> Message:
        self._await_start()
        assert self._child is not None
        cpu_before_s = self._child.cpu_s()
        wait_s = request.cpu_s * self._limits.most_wait
        try:
            answer = self._child.ask(encode(request), time.monotonic() + wait_s)
        except _EndedError as exc:
            self._end()
            if self._is_closed:
                raise InterruptedError(errno.EINTR, "the reader was closed") from exc
            raise _killed(exc.status, request.cpu_s, self._limits) from exc
        except TimeoutError as exc:
            used_s = self._child.cpu_s() - cpu_before_s
            self._end()
            if used_s < IDLE_SHARE * request.cpu_s:
                raise
            how = f"did not answer within {wait_s:.0f} s"
            raise ReaderKilled(f"{SUBJECT} {how}", advice=ADVICE) from exc
        if isinstance(answer, DiskFailed):
            raise OSError(answer.errno, os.strerror(answer.errno))
        if isinstance(answer, Failed):
            raise rebuild(answer.code, answer.message, answer.advice)
        return answer

    def _await_start(self) -> None:
        """Wait until a process takes requests; a start that fails is no fault of a series."""
        if self._is_closed:
            raise InterruptedError(errno.EINTR, "the reader was closed")
        self.start()
        assert self._child is not None
        if self._child.is_ready:
            return
        try:
            self._child.ask(b"", time.monotonic() + START_S)
            self._child.is_ready = True
        except (_EndedError, TimeoutError) as exc:
            self._end()
            log.error("the reader process does not start")  # noqa: TRY400  the cause is in its log
            raise OSError(errno.EAGAIN, "the reader process does not start") from exc

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.close()


class _EndedError(Exception):
    """The process has ended with `status`."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Child(Child):
    """The reader process."""

    def __init__(self, limits: ReaderLimits, log_level: str) -> None:
        settings = ProcessLimits(
            memory_bytes=limits.memory_bytes, niceness=NICENESS, threads=1, log_level=log_level
        )
        super().__init__("node.reader.child", settings, ONE_THREAD)
        os.set_blocking(self._stdin.fileno(), False)

    def ask(self, request: bytes, deadline: float) -> Message:
        """Write a request, and return the answer; `deadline` is monotonic.

        Raises:
            _EndedError: the process has ended, or its answer is no valid message.
            TimeoutError: there is no answer in time.
        """
        left, received = memoryview(request), bytearray()
        while not received.endswith(b"\n"):
            wait_s = deadline - time.monotonic()
            writers = [self._stdin] if left else []
            ready = select.select([self._stdout], writers, [], max(wait_s, 0.0))
            if not any(ready) and wait_s <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "the reader process does not answer")
            if ready[1]:
                left = self._write(left)
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

    def _ended(self) -> _EndedError:
        try:
            return _EndedError(self._process.wait(KILL_S))
        except subprocess.TimeoutExpired:
            self.kill()
            return _EndedError(-signal.SIGKILL)

    def kill(self) -> None:
        """Kill the process; do not wait longer than `KILL_S` for its end."""
        super().kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)


def _killed(status: int, cpu_s: float, limits: ReaderLimits) -> ReaderKilled:
    if status == OUT_OF_MEMORY:
        how = f"needed more than {limits.memory_bytes >> 20} MiB"
    elif status == -signal.SIGXCPU:
        how = f"took more than {cpu_s:.0f} s of processor time"
    elif status < 0:
        how = f"was killed by signal {-status}"
    else:
        how = f"ended with status {status}"
    return ReaderKilled(f"{SUBJECT} {how}", advice=ADVICE)
