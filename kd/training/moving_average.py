"""The exponential moving average of a network's weights and buffers.

torch's `AveragedModel` is not used: it copies its counter to the device at every step, and the host
waits for that.
Buffers are averaged too: statistics of batch norms would need another pass over the training cases.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def move_average(averaged: nn.Module, current: nn.Module, decay: float) -> None:
    """Let `averaged` become decay * averaged + (1 - decay) * current; counters are copied."""
    mine: list[Tensor] = []
    theirs: list[Tensor] = []
    for old, new in zip(_tensors(averaged), _tensors(current), strict=True):
        if old.is_floating_point():
            mine.append(old)
            theirs.append(new)
        else:
            old.copy_(new)
    get_ema_multi_avg_fn(decay)(mine, theirs, 0)  # type: ignore[no-untyped-call]


def _tensors(network: nn.Module) -> Iterator[Tensor]:
    """Return the weights, without their gradients, and the buffers."""
    yield from (weight.detach() for weight in network.parameters())
    yield from network.buffers()
