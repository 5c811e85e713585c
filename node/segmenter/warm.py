"""Keep one child process warm: start it before it is needed, watch it while it works.

A child that finished its request serves again, because a start costs two seconds of processor time
and its networks stay open. Its memory is checked between requests, which bounds memory leaks.
"""

import contextlib
import logging
import os
import select
import time
from collections.abc import Callable, Iterable

from node.config import Limits
from node.errors import ChildKilled, NodeError, OutOfMemory, TimedOut, Unsuitable, rebuild
from node.pipes import PIPE_BYTES, Child, Ready, encode
from node.process import Failed, ProcessLimits
from node.segmenter import messages
from node.segmenter.messages import (
    Done,
    Message,
    RehearsalRequest,
    Rehearsed,
    Request,
    SegmentRequest,
    Stage,
    Unsuited,
)

START_S = 120.0  # imports took 2 s on an idle machine; after this the child cannot start
TICK_S = 0.2
MOST_REQUESTS = 100  # per child
IDLE_SHARE = 0.5  # of limits.memory that a child may hold between two requests
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
log = logging.getLogger("node.segmenter")


class WarmChild:
    """Keeps one child process ready."""

    def __init__(
        self, limits: Limits, log_level: str = "INFO", libraries: tuple[str, ...] = ()
    ) -> None:
        """Start the first child, which imports the engines' libraries; `ready` waits for it."""
        self._limits = limits
        self._libraries = libraries
        self._log_level = log_level
        self._child = self._start()
        self._may_rehearse = True
        self._rehearsals: list[RehearsalRequest] = []  # not sent yet

    def reconfigure(self, limits: Limits, libraries: tuple[str, ...]) -> None:
        """Change the limits and libraries, while there is no job; a new child begins with them."""
        is_changed = (limits, libraries) != (self._limits, self._libraries)
        self._limits, self._libraries = limits, libraries
        if is_changed:
            self._renew()
        self._may_rehearse, self._rehearsals = True, []

    def ready(self) -> None:
        """Wait until a child can take a request.

        Raises:
            ChildKilled: it cannot start. This is not the fault of a job: claim none.
        """
        if not self._child.is_alive:
            self._renew()
        deadline = time.monotonic() + START_S
        while not self._child.is_ready:
            if time.monotonic() > deadline:
                self._child.kill()
                message = f"the model's process was not ready after {START_S:.0f} s"
                raise ChildKilled(message)
            self._child.receive(TICK_S)

    def segment(self, request: SegmentRequest, tick: Callable[[Stage], None]) -> Done | Unsuited:
        """Let the child segment; `tick` is called several times a second and may raise.

        Return the result, or the notice that the series cannot be segmented.

        Raises:
            NodeError: the error that the child reported, or TimedOut, OutOfMemory, ChildKilled.
        """
        child = self._child
        child.requests += 1
        try:
            done = _watch(child, request, self._limits, tick, self._log_rehearsal)
        except Unsuitable:
            if not child.is_idle:  # raised by `tick`: the child still works
                self._renew()
            raise
        except BaseException:
            self._renew()  # the state of a child after an error is unknown
            raise
        if child.requests >= MOST_REQUESTS or child.rss_bytes() > IDLE_SHARE * self._limits.memory:
            self._renew()
        return done

    def rehearse(self, requests: Callable[[], Iterable[RehearsalRequest]]) -> None:
        """Let a new child rehearse; call this while there is no job.

        It returns at once. A request that is sent meanwhile ends the rehearsal at its next step.
        The successor of a child that died during a rehearsal does not rehearse.
        """
        child = self._child
        if self._may_rehearse and child.is_ready and not child.requests:
            self._may_rehearse = False
            self._rehearsals = list(requests())
        elif child.is_rehearsing:
            with contextlib.suppress(ChildKilled):  # `ready` starts the next one
                self._log_rehearsal(child.receive(0))
        if self._rehearsals and not child.is_rehearsing:
            child.send(self._rehearsals.pop(0))
            child.is_rehearsing = True

    def _log_rehearsal(self, message: Message | None) -> None:
        """Log the result of a rehearsal; ignore other messages."""
        if isinstance(message, Rehearsed):
            self._child.is_rehearsing = False
            if message.is_interrupted:
                log.info("the rehearsal was interrupted by a series")
            elif message.problem:
                log.warning("the rehearsal failed: %s", message.problem)
            else:
                log.info("rehearsed in %.1f s", message.seconds)

    def close(self) -> None:
        """Kill the child."""
        self._child.kill()

    @property
    def pid(self) -> int:
        """The process that would take the next request."""
        return self._child.pid

    def _renew(self) -> None:
        """Replace the child now, so that the next one is warm when it is needed."""
        self._may_rehearse, self._rehearsals = not self._child.is_rehearsing, []
        self._child.kill()
        self._child = self._start()

    def _start(self) -> "ChildProcess":
        return ChildProcess(
            ProcessLimits(
                memory_bytes=int(self._limits.memory),  # a plain int: JSON has no units
                niceness=self._limits.niceness,
                threads=self._limits.threads,
                log_level=self._log_level,
                libraries=self._libraries,
            )
        )


class ChildProcess(Child):
    """The process that segments."""

    def __init__(self, limits: ProcessLimits) -> None:
        """Start the process; it is not ready yet."""
        super().__init__("node.segmenter.child", limits)
        self._rest = b""
        self.is_idle = self.is_rehearsing = False
        self.requests = 0

    def send(self, request: Request) -> None:
        """Send a request; if the process has died, `receive` raises."""
        self.is_idle = False
        try:
            self._stdin.write(encode(request))
            self._stdin.flush()
        except BrokenPipeError:
            pass

    def receive(self, timeout_s: float) -> Message | None:
        """Return the next message, or None if none arrives in time.

        Raises:
            ChildKilled: the process has ended.
        """
        if b"\n" not in self._rest:
            if not select.select([self._stdout], [], [], timeout_s)[0]:
                return None
            received = os.read(self._stdout.fileno(), PIPE_BYTES)
            if not received:
                raise self._ended()
            self._rest += received
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return None
        self._rest = rest
        message = messages.read_message(line)
        self.is_ready = True
        self.is_idle = isinstance(message, Ready | Rehearsed | Done | Unsuited | Failed)
        return message

    def rss_bytes(self) -> int:
        """Return the resident memory; 0 when the process has ended."""
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:  # noqa: PTH123
                return int(file.read().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def kill(self) -> None:
        """Kill the process group, wait for its end, and close the pipes."""
        super().kill()
        self._process.wait()
        self.close()

    def _ended(self) -> ChildKilled:
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        advice = "Signal 9 without a command often means that the machine ran out of memory."
        return ChildKilled(f"the model's process {how}", advice=advice if status == -9 else "")


def _watch(
    child: ChildProcess,
    request: SegmentRequest,
    limits: Limits,
    tick: Callable[[Stage], None],
    on_rehearsed: Callable[[Message], None],
) -> Done | Unsuited:
    """Send a request and wait for its result, within the limits of time and memory."""
    child.send(request)
    deadline = time.monotonic() + limits.time
    stage = Stage("start")
    while True:
        message = child.receive(TICK_S)
        match message:
            case Done() | Unsuited():
                return message
            case Failed():
                raise rebuild(message.code, message.message, message.advice)
            case Rehearsed():
                on_rehearsed(message)
            case Stage():
                stage = message
        if child.rss_bytes() > limits.memory:
            raise _over_limit(OutOfMemory, f"needed more than {limits.memory >> 20} MiB", stage)
        if time.monotonic() > deadline:
            raise _over_limit(TimedOut, f"ran longer than {limits.time:g} s", stage)
        tick(stage)


def _over_limit(kind: type[NodeError], problem: str, stage: Stage) -> NodeError:
    where = f"{stage.name}, {stage.share:.0%}" if stage.share else stage.name
    limit = "limits.memory" if kind is OutOfMemory else "limits.time"
    advice = f"Raise {limit}, or choose a smaller size of the model."
    return kind(f"the model {problem} (stage {where})", advice=advice)
