"""The optimiser: AdamW, or Muon for convolutions and AdamW for the other weights.

Muon (Jordan et al. 2024) makes the momentum of a weight matrix orthogonal, so that the step has
the same length in every direction. A convolution is a matrix of output channels by input channels
and taps. With the scale of Liu et al. 2025 (arXiv 2502.16982) its learning rates are those of
AdamW.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from kd.recipe.choices import Kind


class Optimiser:
    """One or two of torch's optimisers that share a rate."""

    def __init__(self, network: nn.Module, kind: Kind, rate: float, weight_decay: float) -> None:
        """Take all parameters of `network` that are trained, which must not be moved afterwards."""
        convolutions = _convolutions(network) if kind == "muon" else []
        taken = {id(weight) for weight in convolutions}
        rest = [w for w in network.parameters() if w.requires_grad and id(w) not in taken]
        self._matrices = [(weight, _matrix(weight)) for weight in convolutions]
        self._parts: list[Optimizer] = [AdamW(rest, rate, weight_decay=weight_decay)]
        if convolutions:
            matrices = [matrix for _, matrix in self._matrices]
            muon = Muon(matrices, rate, weight_decay, adjust_lr_fn="match_rms_adamw")
            self._parts.append(muon)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for weight, matrix in self._matrices:
            weight.grad = matrix.grad = None
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the weights from their gradients."""
        for weight, matrix in self._matrices:
            matrix.grad = None if weight.grad is None else _as_matrix(weight.grad, weight)
        for part in self._parts:
            part.step()

    def state(self) -> list[dict[str, Any]]:
        """Return everything that the next step depends on besides the weights.

        Momentum is stored in its weight's shape, independent of the memory format: a resumed
        training may have another one.
        """
        saved = [part.state_dict() for part in self._parts]
        if self._matrices:
            saved[-1] = self._changed(saved[-1], _as_weight)
        return saved

    def restore(self, state: list[dict[str, Any]]) -> None:
        """Continue from what `state` returned.

        Raises:
            ValueError: it belongs to other parameters.
        """
        if self._matrices:
            state = [*state[:-1], self._changed(state[-1], _as_matrix)]
        for part, saved in zip(self._parts, state, strict=True):
            part.load_state_dict(saved)

    def _changed(
        self, saved: dict[str, Any], change: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Any]:
        """Return the state of the convolutions with `change` applied to each momentum."""
        weights = [weight for weight, _ in self._matrices]
        changed = {
            number: {key: change(value, weights[number]) for key, value in state.items()}
            for number, state in saved["state"].items()
        }
        return saved | {"state": changed}


def _convolutions(network: nn.Module) -> list[Tensor]:
    """Return the weights of all convolutions but the heads, whose rows are classes."""
    return [
        layer.weight
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)
        and layer.weight.requires_grad
        and not name.startswith("heads.")
    ]


def _matrix(weight: Tensor) -> nn.Parameter:
    """Return `weight` as a matrix in the same memory."""
    matrix = _as_matrix(weight.detach(), weight)
    assert matrix.data_ptr() == weight.data_ptr()  # a step on a copy would not reach the network
    return nn.Parameter(matrix, requires_grad=False)


def _as_matrix(values: Tensor, weight: Tensor) -> Tensor:
    """Return [rows, others] of [rows, columns, Z, Y, X], in the order of the weight's memory.

    Muon does not depend on the order of the columns.
    """
    if weight.is_contiguous():
        return values.reshape(values.shape[0], -1)
    return values.permute(0, 2, 3, 4, 1).reshape(values.shape[0], -1)


def _as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    """Return [rows, columns, Z, Y, X] of a matrix in the order of the weight's memory."""
    if weight.is_contiguous():
        return matrix.reshape(weight.shape)
    rows, columns, z, y, x = weight.shape
    return matrix.reshape(rows, z, y, x, columns).permute(0, 4, 1, 2, 3).contiguous()
