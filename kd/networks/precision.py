"""Choose the precision of networks: bfloat16 where matrix units compute it, else float32."""

from contextlib import AbstractContextManager, nullcontext

import torch


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which networks run on `device`.

    On x86, bfloat16 needs AMX. A processor with AVX2 alone emulates it: with torch 2.13 and two
    threads, a training step of base 8 took 13 s instead of 0.5 s. With AVX-512 BF16 but without
    AMX, one thread and a batch of two patches of 96³, base 16 took 2.02 s (float32: 1.45 s) and
    base 32 took 5.3 s (3.5 s).
    """
    if not _has_bfloat16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("bf16"))  # x86; ARM
    return False
