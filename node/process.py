"""What every child process of the node needs: limits, messages of its errors, its peak memory.

Leaves to the callers: what the process computes.
"""

import errno
import os
import re
import resource
from pathlib import Path

import msgspec

from node.errors import DiskLow, NodeError, OutOfMemory
from node.private import keep_private
from node.queue import as_node_error

# libraries reserve memory for stacks and heaps that they never use; the limit counts it
RESERVED_BYTES = 1 << 30
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OUT_OF_MEMORY = re.compile(r"bad.?alloc|failed to allocate|cannot allocate", re.IGNORECASE)


class ProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that a child process sets for itself before it does anything else."""

    memory_bytes: int = 0  # 0: no limit
    niceness: int = 0
    threads: int
    log_level: str = "INFO"
    libraries: tuple[str, ...] = ()  # engines whose libraries are imported at the start


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """An error of a child process, in the parts that `errors.rebuild` takes."""

    code: str
    message: str
    advice: str


def failed(error: NodeError) -> Failed:
    """Return the message for `error`."""
    return Failed(error.code, error.message, error.advice)


def limit_process(limits: ProcessLimits) -> None:
    """Lower our CPU priority, cap memory, volunteer for the OOM killer, keep files private."""
    keep_private()
    os.nice(limits.niceness)
    if limits.memory_bytes:
        # RLIMIT_DATA counts writable memory; onnxruntime reserves far more address space than that
        most = limits.memory_bytes + RESERVED_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def as_child_error(error: Exception) -> NodeError:
    """Return the node's error for an exception of a library, such as a failed allocation."""
    is_memory = isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) is not None
    if is_memory and not isinstance(error, NodeError):
        advice = "Raise limits.memory, or choose a smaller size of the model."
        return OutOfMemory("the model needed more than limits.memory", advice=advice)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        advice = "Free some space; the job is retried automatically."
        return DiskLow("the disk of data.dir is full", advice=advice)
    return as_node_error(error)


def reset_peak() -> None:
    """Reset the peak that `peak_mb` returns."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5 resets VmHWM only


def peak_mb() -> float:
    """Return the peak resident memory of this process in MiB.

    `ru_maxrss` would include the parent's memory before exec.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return round(int(match[1]) / 1024, 1) if match else 0.0
