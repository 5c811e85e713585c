"""The process that does the work: `python -m node.segmenter.child BOUNDS`.

It imports everything before it says that it is ready, takes tasks as lines on its standard input
and answers on its standard output. When that input ends, its segmenter is gone, and so is it.
"""

import errno
import logging
import os
import queue
import re
import resource
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from node import engines, logs
from node.errors import DiskLow, NodeError, OutOfMemory
from node.queue import as_node_error
from node.segmenter import messages
from node.segmenter.messages import (
    Bounds,
    Failed,
    Message,
    Ready,
    RehearsalRequest,
    SegmentRequest,
    Stage,
)
from node.segmenter.rehearse import rehearse
from node.segmenter.work import segment_series

# Stacks and heaps of threads are reserved but not used; the limit counts them, we do not want to
RESERVED_BYTES = 1 << 30
REPORT_EVERY_S = 0.5
READ_BYTES = 1 << 16  # what a pipe holds
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_MEMORY = re.compile(r"bad.?alloc|failed to allocate|cannot allocate", re.IGNORECASE)
log = logging.getLogger("node.segmenter.child")


def main() -> None:
    """Answer tasks until the segmenter is gone."""
    bounds = msgspec.json.decode(sys.argv[1], type=Bounds)
    answers = private_output()
    humble(bounds)
    logs.start("segmenter-child", bounds.log_level)
    for engine in bounds.libraries:
        engines.import_library(engine)
    tasks: queue.SimpleQueue[SegmentRequest | RehearsalRequest] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), name="lifeline", daemon=True).start()
    _say(answers, Ready())
    while True:
        task = tasks.get()
        if isinstance(task, RehearsalRequest):
            _say(answers, rehearse(task, bounds.threads))
        else:
            _say(answers, _answer(task, bounds, answers))


def _answer(task: SegmentRequest, bounds: Bounds, answers: BinaryIO) -> Message:
    """Do one task; whatever goes wrong in it becomes an answer."""
    report = _Reporter(answers)
    forget_peak()
    try:
        done = segment_series(task, bounds.threads, report).done
        return msgspec.structs.replace(done, peak_mb=peak_mb())
    except Exception as exc:
        error = explained(exc)
        if not isinstance(exc, NodeError):
            log.exception("unexpected error", extra={"job": task.job})
        return Failed(error.code, error.message, error.advice)


class _Reporter:
    """Says where the work is, but not more often than anybody would look."""

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._stage, self._at = "", 0.0

    def __call__(self, stage: str, share: float) -> None:
        now = time.monotonic()
        if stage != self._stage or now - self._at > REPORT_EVERY_S:
            self._stage, self._at = stage, now
            _say(self._answers, Stage(stage, share))


def explained(error: Exception) -> NodeError:
    """Name what may be meant by a library that has no word for it."""
    is_memory = isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)) is not None
    if is_memory and not isinstance(error, NodeError):
        advice = "Raise limits.memory, or choose a smaller size of the model."
        return OutOfMemory("the model needed more than limits.memory", advice=advice)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return DiskLow("the disk of data.dir is full", advice="Free some space; it is tried again.")
    return as_node_error(error)


def _say(answers: BinaryIO, message: Message) -> None:
    answers.write(messages.encode(message))
    answers.flush()


def _listen(tasks: "queue.SimpleQueue[SegmentRequest | RehearsalRequest]") -> None:
    """Pass tasks on; end the process at once when nobody can send any more."""
    rest = b""
    try:
        # not sys.stdin: an interpreter that ends while another thread holds its lock aborts
        while heard := os.read(0, READ_BYTES):
            *lines, rest = (rest + heard).split(b"\n")
            for line in lines:
                tasks.put(messages.read_request(line))
    finally:
        os._exit(0)  # in the middle of whatever it is: the files it writes bear it


def private_output() -> BinaryIO:
    """Keep the answers' channel to ourselves: what a library prints goes to standard error."""
    channel = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(channel, "wb")


def humble(bounds: Bounds) -> None:
    """Take less than everybody else, be the first to die, and leave no picture of the memory."""
    os.nice(bounds.niceness)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold patients' images
    # what is counted is writable memory, not address space, of which onnxruntime takes a lot
    limit = bounds.memory_bytes + RESERVED_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def forget_peak() -> None:
    """Let `peak_mb` begin anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets VmHWM only


def peak_mb() -> float:
    """Return the largest resident memory; ru_maxrss would count the parent's before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(found[1]) / 1024, 1) if found else 0.0


if __name__ == "__main__":
    main()
