"""Keep one reader process warm, ask it, and replace it after its death.

A request that runs out of processor time or memory ends the process. So does one that gets no
answer in time although the process computed. If it did not compute, the fault is the machine's,
such as a share that hangs.

With `patience_s`, a request that takes long goes on in a process that does nothing else, and the
next request gets another process. So one series delays the others for a moment only.
"""

import errno
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from node.errors import ReaderKilled, rebuild
from node.pipes import encode
from node.process import Failed
from node.reader.connection import EndedError, ReaderChild
from node.reader.deaths import ADVICE
from node.reader.messages import (
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

START_S = 120.0  # imports took 1 s on an idle machine
IDLE_SHARE = 0.1  # of the processor time of a request; with less, the process waited for the disk
MOST_SLOW = 2  # requests that take long, each in a separate process
FORGOTTEN_S = 60.0  # nobody asks for the answer of a slow request: its series was deleted
SUBJECT = "the process that reads the images"
log = logging.getLogger("node.reader")


@dataclass(frozen=True)
class ReaderLimits:
    """Limits of the reader process: of its memory, and of the time for one request."""

    memory_bytes: int = 1 << 30  # an Enhanced CT of 5000 frames took 600 MiB
    cpu_s: float = 20.0  # to read headers
    cpu_s_per_file: float = 0.02  # reading one header takes 2 ms
    compare_cpu_s: float = 5.0  # to compare two files
    cpu_s_per_mib: float = 0.3  # of both files; decoding RLE takes the longest
    most_wait: float = 6.0  # times the processor time: the processor may be busy


class StillReading(Exception):
    """The answer takes longer than `patience_s`."""


@dataclass
class _Pending:
    """A request, and the process that will answer it."""

    request: Request
    child: ReaderChild
    cpu_before_s: float
    deadline: float  # monotonic


class Reader:
    """One reader process. Not safe for several threads, except `interrupt`."""

    def __init__(
        self,
        limits: ReaderLimits | None = None,
        log_level: str = "INFO",
        patience_s: float | None = None,
    ) -> None:
        """Start nothing yet; the first request does, or `start`.

        `patience_s` is how long a request may take before it raises `StillReading`; None: it never
        does.
        """
        self._limits = limits or ReaderLimits()
        self._log_level = log_level
        self._patience_s = patience_s
        self._child: ReaderChild | None = None
        self._slow: dict[str, _Pending] = {}  # by folder of the series
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
            self._child = ReaderChild(self._limits.memory_bytes, self._log_level)

    def survey(self, folder: Path, files: Sequence[str], part: int | None = None) -> SeriesReading:
        """Survey the files of one series, or those of one part (`node.series.parts`).

        Raises:
            ReaderKilled: reading them killed the process.
            StillReading: it goes on in a separate process; the same call returns the answer later.
            OSError: the disk fails, or nothing answers in time; another try may work.
        """
        cpu_s = self._limits.cpu_s + self._limits.cpu_s_per_file * len(files)
        request = SurveyRequest(folder=str(folder), files=tuple(files), part=part, cpu_s=cpu_s)
        answer = self._ask(request, str(folder))
        assert isinstance(answer, SeriesReading), answer
        return answer

    def same_image(self, one: Path, other: Path) -> bool:
        """Compare two files of one series as `series.same_image` does.

        Raises:
            ReaderKilled, StillReading, OSError: as `survey`.
        """
        mib = sum(path.stat().st_size for path in (one, other)) / (1 << 20)
        cpu_s = self._limits.compare_cpu_s + self._limits.cpu_s_per_mib * mib
        request = CompareRequest(one=str(one), other=str(other), cpu_s=cpu_s)
        answer = self._ask(request, str(one.parent))
        assert isinstance(answer, Compared), answer
        return answer.is_same

    def identify(self, folder: Path, files: Sequence[str]) -> tuple[FileIdentity, ...]:
        """Return the UIDs of each file below `folder`, or why it is no DICOM instance.

        Raises:
            ReaderKilled, StillReading, OSError: as `survey`.
        """
        cpu_s = self._limits.cpu_s + self._limits.cpu_s_per_file * len(files)
        request = IdentifyRequest(folder=str(folder), files=tuple(files), cpu_s=cpu_s)
        answer = self._ask(request, str(folder))
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
        for one in [child, *(slow.child for slow in list(self._slow.values()))]:
            if one is not None:
                one.kill()

    def close(self) -> None:
        """End the processes."""
        self._is_closed = True
        self._end()
        for slow in self._slow.values():
            _end(slow.child)
        self._slow = {}

    def _ask(self, request: Request, folder: str) -> Message:
        slow = self._slow.get(folder)
        if slow is not None:
            answer = self._answer_of_slow(slow, folder)
            if slow.request == request:
                return _checked(answer)
        self._await_start()
        assert self._child is not None
        wait_s = request.cpu_s * self._limits.most_wait
        self._child.begin(encode(request))
        now = time.monotonic()
        pending = _Pending(request, self._child, self._child.cpu_s(), now + wait_s)
        until = pending.deadline if self._patience_s is None else now + self._patience_s
        try:
            answer = self._answer(pending, until)
        except StillReading as exc:
            if self._set_aside(pending, folder):
                raise
            raise OSError(errno.EAGAIN, "too many series take long to read") from exc
        except (ReaderKilled, OSError):
            self._end()
            raise
        return _checked(answer)

    def _answer_of_slow(self, slow: _Pending, folder: str) -> Message:
        """Return the answer to an earlier request without waiting."""
        try:
            answer = self._answer(slow, time.monotonic())
        except StillReading:
            raise
        except (ReaderKilled, OSError):
            self._forget(folder)
            raise
        self._forget(folder)
        return answer

    def _forget(self, folder: str) -> None:
        _end(self._slow.pop(folder).child)

    def _set_aside(self, pending: _Pending, folder: str) -> bool:
        """Let a request go on in its process; return False if there is no place, and it ended."""
        for other, one in list(self._slow.items()):
            if time.monotonic() > one.deadline + FORGOTTEN_S:
                self._forget(other)
        has_place = len(self._slow) < MOST_SLOW
        if has_place:
            self._slow[folder], self._child = pending, None
        if not self._is_closed:
            self._end()
            self.start()
        return has_place

    def _answer(self, pending: _Pending, until: float) -> Message:
        """Wait for an answer until the monotonic time `until`, or the deadline of the request."""
        try:
            return pending.child.answer(min(until, pending.deadline))
        except EndedError as exc:
            if self._is_closed:
                raise InterruptedError(errno.EINTR, "the reader was closed") from exc
            raise _killed(exc.status, pending.request.cpu_s, self._limits) from exc
        except TimeoutError as exc:
            if time.monotonic() < pending.deadline:
                raise StillReading from exc
            cpu_s = pending.request.cpu_s
            if pending.child.cpu_s() - pending.cpu_before_s < IDLE_SHARE * cpu_s:
                raise
            how = f"did not answer within {cpu_s * self._limits.most_wait:.0f} s"
            raise ReaderKilled(f"{SUBJECT} {how}", advice=ADVICE) from exc

    def _await_start(self) -> None:
        """Wait until a process takes requests; a start that fails is no fault of a series."""
        if self._is_closed:
            raise InterruptedError(errno.EINTR, "the reader was closed")
        self.start()
        assert self._child is not None
        if self._child.is_ready:
            return
        try:
            self._child.answer(time.monotonic() + START_S)
            self._child.is_ready = True
        except (EndedError, TimeoutError) as exc:
            self._end()
            log.error("the reader process does not start")  # noqa: TRY400  the cause is in its log
            raise OSError(errno.EAGAIN, "the reader process does not start") from exc

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            _end(child)


def _end(child: ReaderChild) -> None:
    child.kill()
    child.close()


def _checked(answer: Message) -> Message:
    """Return an answer; raise the error that it reports."""
    if isinstance(answer, DiskFailed):
        raise OSError(answer.errno, os.strerror(answer.errno))
    if isinstance(answer, Failed):
        raise rebuild(answer.code, answer.message, answer.advice)
    return answer


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
