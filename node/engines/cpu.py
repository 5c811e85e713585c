"""Identify the CPU: measurements and compiled networks of another CPU are not valid here."""

import hashlib
import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

# flags of processors with bfloat16 instructions; on others it is emulated and slow
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
GROUPS, GROUP_FILES = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
UNLIMITED = float(1 << 20)  # CPUs


def name() -> str:
    """Return the model's name and a digest of its flags, because virtual machines share names."""
    fields = _fields()
    model = fields.get("model name", "unknown CPU")
    flags = fields.get("flags") or fields.get("Features", "")
    return f"{model} {hashlib.sha256(flags.encode()).hexdigest()[:8]}"


def has_bf16() -> bool:
    """Return whether the CPU has bfloat16 instructions."""
    return not _BF16_FLAGS.isdisjoint(_fields().get("flags", "").split())


def threads(configured: int) -> int:
    """Return the number of computing threads; 0 configures one per CPU that we may use."""
    return configured or max(1, min(len(os.sched_getaffinity(0)), _quota()))


def _quota() -> int:
    """Return how many CPUs the quota of our control group and its parents allows, rounded up.

    More threads than that wait for each other whenever the quota of a period is used up.
    """
    limits = [_quota_of(folder) for folder in _control_groups()]
    return math.ceil(min(limits, default=UNLIMITED))


def _control_groups() -> Iterator[Path]:
    """Yield the folders of our control groups with a CPU limit, and of their parents."""
    try:
        lines = GROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:  # no control groups
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = GROUP_FILES / controllers  # version 2 has no controllers here
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            yield group
            group = group.parent


def _quota_of(group: Path) -> float:
    """Return the CPUs that one control group of version 2 or 1 allows."""
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            text = " ".join((group / file).read_text(encoding="ascii") for file in files)
        except OSError:
            continue  # another version, or a parent that a container does not show
        quota, period = text.split()
        return UNLIMITED if quota in ("max", "-1") else int(quota) / int(period)
    return UNLIMITED


@lru_cache(maxsize=1)
def _fields() -> dict[str, str]:
    """Return the fields of the first core in /proc/cpuinfo."""
    first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
