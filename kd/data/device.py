"""Random numbers and transfers that never make the host wait for a GPU.

A number that decides a shape, an index or a branch is needed by the host, and so are small tables:
they are drawn on the host. Arrays are drawn on the device. On a CPU both come from one generator in
one order.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Random:
    """The generators of one batch; on a CPU they are the same one."""

    arrays: Generator  # on the device
    decisions: Generator  # on the host

    @classmethod
    def seeded(cls, device: torch.device, seed: int) -> Self:
        """Return the generators of a batch that is made on `device`."""
        arrays = Generator(device).manual_seed(seed)
        return cls(arrays, arrays if device.type == "cpu" else Generator().manual_seed(seed))


class Draws:
    """Random numbers of one batch on one device."""

    def __init__(self, n: int, device: torch.device, random: Random) -> None:
        """Draw for `n` cases on `device`; what `host` draws is on the CPU."""
        self.n, self.device, self._generator = n, device, random.arrays
        self.host = self
        if random.decisions is not random.arrays:
            self.host = Draws(n, CPU, Random(random.decisions, random.decisions))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Return one uniform number per case and element of `shape`."""
        raw = torch.rand((self.n, *shape), generator=self._generator, device=self.device)
        return low + (high - low) * raw

    def normal(self, *shape: int) -> Tensor:
        """Return one standard normal number per case and element of `shape`."""
        return torch.randn((self.n, *shape), generator=self._generator, device=self.device)

    def happens(self, p: float, axes: int) -> Tensor:
        """Return 1 for cases in which an effect of probability `p` takes place, else 0."""
        return (self.uniform(0, 1, *(1,) * axes) < p).float()


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` on `device`; the host does not wait until a GPU has them."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()  # a copy from other memory is a synchronisation
    return values.to(device, non_blocking=True)
