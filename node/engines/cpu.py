"""Identify the CPU: measurements and compiled networks of another CPU are not valid here."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

# flags of processors with bfloat16 instructions; elsewhere it is emulated and slow
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


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
    """Return the number of computing threads; 0 configures one per core."""
    return configured or len(os.sched_getaffinity(0))


@lru_cache(maxsize=1)
def _fields() -> dict[str, str]:
    """Return the fields of the first core in /proc/cpuinfo."""
    first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
