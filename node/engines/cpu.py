"""What CPU this is: measurements and compiled networks of another one mean nothing here."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

# flags of processors that compute in bfloat16 themselves; elsewhere it is emulated, and slow
_BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


def name() -> str:
    """Return the model's name, and a digest of what it can do: virtual machines share names."""
    fields = _fields()
    model = fields.get("model name", "unknown CPU")
    able = fields.get("flags") or fields.get("Features", "")
    return f"{model} {hashlib.sha256(able.encode()).hexdigest()[:8]}"


def has_bf16() -> bool:
    """Tell whether it computes in bfloat16."""
    return not _BF16_FLAGS.isdisjoint(_fields().get("flags", "").split())


def threads(wanted: int) -> int:
    """Return how many threads compute where `wanted` are configured (0: one per core)."""
    return wanted or len(os.sched_getaffinity(0))


@lru_cache(maxsize=1)
def _fields() -> dict[str, str]:
    """Return what the kernel says of the first core."""
    first, _, _ = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
