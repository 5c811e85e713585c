"""Muon and AdamW together: every weight is updated once, by the right one."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.optim import AdamW

from kd.networks.unet import UNet
from kd.recipe.choices import Kind, uniform
from kd.training.optimiser import Optimiser
from kd.training.trainer import seeded

STRIDES = ((1, 1, 1), (2, 2, 2))
RATE, DECAY = 0.01, 0.05


def network(layout: torch.memory_format) -> UNet:
    with seeded(1):
        net = UNet(uniform(4, STRIDES, stem_stride=2), 3)
    net.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stub
    return net


def learn(net: UNet, optimiser: Optimiser | AdamW) -> None:
    """Leave a gradient of a repeatable loss and take a step."""
    x = torch.linspace(-1, 1, 16**3).view(1, 1, 16, 16, 16)
    for part in net.deep(x):
        part.square().mean().backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def orthogonal(gradient: Tensor) -> Tensor:
    """Return U V^T of the singular value decomposition of a gradient as a matrix."""
    u, _, v = torch.linalg.svd(gradient.flatten(1), full_matrices=False)
    return (u @ v).view_as(gradient)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_muon_updates_convolutions_nearly_orthogonally(
    layout: torch.memory_format,
) -> None:
    net = network(layout)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    learn(net, Optimiser(net, "muon", RATE, 0.0))
    moved = 0
    for name, weight in net.named_parameters():
        if weight.ndim != 5 or name.startswith("heads."):
            continue
        assert weight.grad is not None
        step = (before[name] - weight.detach()).flatten()
        expected = orthogonal(weight.grad).flatten()
        # five iterations bring singular values near 1, not to it
        assert torch.cosine_similarity(step, expected, dim=0) > 0.95, name
        rows, columns = weight.shape[0], weight[0].numel()
        size = RATE * 0.2 * max(rows, columns) ** 0.5
        ratio = step.norm() / (size * min(rows, columns) ** 0.5)
        assert 0.6 < ratio < 1.3, name
        moved += 1
    assert moved == 8  # the stem, two encoder stages, the upsampling and a decoder stage


def test_all_other_weights_are_updated_by_adamw() -> None:
    mine, plain = network(torch.contiguous_format), network(torch.contiguous_format)
    learn(mine, Optimiser(mine, "muon", RATE, DECAY))
    learn(plain, AdamW(plain.parameters(), RATE, weight_decay=DECAY))
    others = dict(plain.named_parameters())
    same = {name for name, p in mine.named_parameters() if torch.equal(p, others[name])}
    expected = {n for n, p in others.items() if p.ndim != 5 or n.startswith("heads.")}
    assert same == expected


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimiser_continues_exactly(kind: Kind) -> None:
    whole = network(torch.channels_last_3d)
    optimiser = Optimiser(whole, kind, RATE, DECAY)
    parts = network(torch.channels_last_3d)
    for _ in range(2):
        learn(whole, optimiser)
        optimiser.zero_grad()
    again = Optimiser(parts, kind, RATE, DECAY)
    parts.load_state_dict(whole.state_dict())
    again.restore(deepcopy(optimiser.state()))
    learn(whole, optimiser)
    learn(parts, again)
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    ("begun", "resumed"),
    [
        (torch.channels_last_3d, torch.contiguous_format),
        (torch.contiguous_format, torch.channels_last_3d),
    ],
)
def test_a_state_is_independent_of_the_memory_format(
    begun: torch.memory_format, resumed: torch.memory_format
) -> None:
    """The number of threads chooses the layout, and a resumed training may have another."""
    first, second = network(begun), network(resumed)
    optimiser, again = (Optimiser(net, "muon", RATE, DECAY) for net in (first, second))
    for _ in range(3):
        learn(first, optimiser)
        optimiser.zero_grad()
    second.load_state_dict(first.state_dict())
    again.restore(deepcopy(optimiser.state()))
    learn(first, optimiser)
    learn(second, again)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


def test_a_rate_of_zero_moves_nothing() -> None:
    net = network(torch.contiguous_format)
    before = [p.detach().clone() for p in net.parameters()]
    optimiser = Optimiser(net, "muon", RATE, DECAY)
    optimiser.set_rate(0.0)
    learn(net, optimiser)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
