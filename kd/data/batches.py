"""Batches of training patches on a device, from labelled cases or label maps.

All random numbers depend on the seed and the step alone: a resumed training gets the same batches.
Cases stay in the memory of the device, so that a GPU does not wait for transfers; cases that are
mapped from a cache stay on disk, and their patches are moved.
Shapes: B batch, K classes, Z Y X voxels (head, back, left).
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kd.data.augment import Batch, Edges, relative_edges, thinned, view
from kd.data.cases import Case
from kd.data.device import CPU, Random, moved
from kd.data.labelmaps import LabelMap
from kd.data.soft_targets import LEAST_PROBABILITY
from kd.data.synthesis import synthesise
from kd.networks.precision import autocast
from kd.networks.unet import UNet
from kd.recipe.choices import Augment, Generator, Training, Triple

MARGIN = 0.15  # share of a patch's edge around it: a rotated view reads image, not padding
PICKED = 4000  # foreground voxels kept per case, as centres of patches


class Source(Protocol):
    """An endless, repeatable sequence of batches."""

    def at(self, step: int, augment: Augment | None) -> Batch:
        """Return the batch of one step."""


class Batches:
    """Batches of labelled cases."""

    def __init__(
        self,
        cases: Sequence[Case],
        patch_zyx: Triple,
        choice: Training,
        device: torch.device,
        *,
        soft: Sequence[npt.NDArray[np.float16]] | None = None,
        spacing_mm_zyx: Edges = (1.0, 1.0, 1.0),
    ) -> None:
        """Move `cases` to `device`, unless they are mapped.

        Args:
            cases: prepared ones.
            patch_zyx: shape of the patches.
            choice: batch, seed and choice of the patches.
            device: of the batches.
            soft: log-probabilities [K, Z, Y, X] of each case.
            spacing_mm_zyx: of the model's grid.
        """
        self.patch, self.device = patch_zyx, device
        self.edges = relative_edges(spacing_mm_zyx)
        self.batch, self.seed = choice.batch, choice.seed
        self.foreground_share, self.is_thin = choice.foreground_share, choice.is_thin
        is_mapped = any(isinstance(c.image.array, np.memmap) for c in cases)
        home = CPU if is_mapped else device
        self._images = [torch.from_numpy(c.image.array).to(home) for c in cases]
        self._labels = [torch.from_numpy(c.labels.array).to(home) for c in cases]
        self._soft = None if soft is None else [torch.from_numpy(s).to(home) for s in soft]
        self._unknown = _unknown(cases)
        self._foreground = [_some_foreground(c.labels.array) for c in cases]

    def at(self, step: int, augment: Augment | None) -> Batch:
        """Return the batch of one step; without `augment`, the plain patches."""
        rng = np.random.default_rng((self.seed, step))
        share = 0.0 if augment is None else MARGIN
        z, y, x = (round(share * edge) for edge in self.patch)
        margin = (z, y, x)
        chosen = shuffled(len(self._images), self.batch, self.seed, step)
        places = [(c, self._origin(c, rng)) for c in chosen]
        image = torch.stack([self._cut(self._images[c], o, margin, 0.0) for c, o in places])
        labels = torch.stack([self._cut(self._labels[c], o, margin, 0.0) for c, o in places])
        soft = None
        if self._soft is not None:
            soft = torch.stack([_cut_soft(self._soft[c], o, self.patch, margin) for c, o in places])
            soft = moved(soft, self.device)
        unknown = None if self._unknown is None else moved(self._unknown[chosen], self.device)
        image, labels = moved(image, self.device), moved(labels, self.device)
        batch = Batch(image[:, None], labels, soft, unknown)
        if augment is not None:
            random = Random.seeded(self.device, int(rng.integers(2**62)))
            batch = view(batch, self.patch, augment, random, self.edges)
        return thinned(batch, thin_offset(self.seed, step)) if self.is_thin else batch

    def _origin(self, case: int, rng: np.random.Generator) -> Triple:
        """Return the first voxel of a patch; it is centred along axes shorter than the patch."""
        shape = self._images[case].shape
        near = None
        if rng.random() < self.foreground_share and len(self._foreground[case]):
            near = self._foreground[case][rng.integers(len(self._foreground[case]))]
        origin = []
        for axis, (n, p) in enumerate(zip(shape, self.patch, strict=True)):
            if n <= p:
                origin.append(-((p - n) // 2))
            elif near is not None:
                origin.append(int(np.clip(near[axis] - p // 2, 0, n - p)))
            else:
                origin.append(int(rng.integers(n - p + 1)))
        return (origin[0], origin[1], origin[2])

    def _cut(self, source: Tensor, origin: Triple, margin: Triple, fill: float) -> Tensor:
        return cut(source, origin, self.patch, margin, fill)


class SyntheticBatches:
    """Batches of images that are synthesised from label maps, new ones at every step."""

    def __init__(
        self,
        maps: Sequence[LabelMap],
        patch_zyx: Triple,
        choice: Training,
        generator: Generator,
        device: torch.device,
    ) -> None:
        """Move `maps` to `device`, where images are synthesised."""
        self.patch, self.generator, self.device = patch_zyx, generator, device
        self.batch, self.seed, self.is_thin = choice.batch, choice.seed, choice.is_thin
        self._maps = [each.to(device) for each in maps]

    def at(self, step: int, _augment: Augment | None) -> Batch:
        """Return the batch of one step; the generator has its own augmentation."""
        seed = int(np.random.default_rng((self.seed, step)).integers(2**62))
        random = Random.seeded(self.device, seed)
        chosen = shuffled(len(self._maps), self.batch, self.seed, step)
        views = [synthesise(self._maps[c], self.patch, self.generator, random) for c in chosen]
        image = torch.cat([view.image_bczyx for view in views])
        batch = Batch(image, torch.cat([view.labels_bzyx for view in views]))
        return thinned(batch, thin_offset(self.seed, step)) if self.is_thin else batch


class DistillationBatches:
    """Batches of another source with the teachers' soft targets, computed at every step.

    Synthetic images exist for one step, so their soft targets cannot be computed beforehand.
    """

    def __init__(self, source: Source, teachers: Sequence[nn.Module], device: torch.device) -> None:
        """Use the mean probability of `teachers`."""
        self.source, self.teachers, self.device = source, teachers, device

    def at(self, step: int, augment: Augment | None) -> Batch:
        """Return the source's batch with the teachers' log-probabilities."""
        batch = self.source.at(step, augment)
        with torch.no_grad(), autocast(self.device):
            probabilities = [
                _logits_of(teacher, batch).float().softmax(1) for teacher in self.teachers
            ]
        mean = torch.stack(probabilities).mean(0).clamp_min(LEAST_PROBABILITY)
        return replace(batch, soft_bkzyx=mean.log())


def _logits_of(teacher: nn.Module, batch: Batch) -> Tensor:
    """Return the teacher's logits at the voxels that have labels in the batch."""
    if isinstance(teacher, UNet):
        return teacher.finest(batch.image_bczyx, batch.at_zyx)
    logits: Tensor = teacher(batch.image_bczyx)
    if batch.at_zyx is None:
        return logits
    z, y, x = batch.at_zyx
    return logits[:, :, z::2, y::2, x::2]


def thin_offset(seed: int, step: int) -> Triple:
    """Return the offset of `thinned` at `step`: all eight offsets take turns."""
    z, rest = divmod(shuffled(8, 1, seed, step)[0], 4)
    return (z, rest // 2, rest % 2)


def _unknown(cases: Sequence[Case]) -> Tensor | None:
    """Return which classes have no reference in each case, [cases, K]; None if all have one."""
    last = max((number for case in cases for number in case.unknown), default=0)
    if not last:
        return None
    table = torch.zeros(len(cases), last + 1, dtype=torch.bool)
    for row, case in enumerate(cases):
        table[row, list(case.unknown)] = True
    return table


def shuffled(n: int, batch: int, seed: int, step: int) -> list[int]:
    """Return the cases of a batch: every case is used once before any is used again."""
    chosen = []
    for k in range(step * batch, (step + 1) * batch):
        order = np.random.default_rng((seed, 2**31, k // n)).permutation(n)
        chosen.append(int(order[k % n]))
    return chosen


def cut(source_zyx: Tensor, origin: Triple, patch: Triple, margin: Triple, fill: float) -> Tensor:
    """Copy the window of `patch` at `origin`, `margin` voxels wider on each side; pad outside."""
    first = [o - m for o, m in zip(origin, margin, strict=True)]
    sizes = [p + 2 * m for p, m in zip(patch, margin, strict=True)]
    window = source_zyx.new_full(sizes, fill)
    lows = [max(f, 0) for f in first]
    highs = [min(f + s, n) for f, s, n in zip(first, sizes, source_zyx.shape, strict=True)]
    if all(low < high for low, high in zip(lows, highs, strict=True)):
        into = tuple(slice(lo - f, hi - f) for lo, hi, f in zip(lows, highs, first, strict=True))
        window[into] = source_zyx[tuple(slice(a, b) for a, b in zip(lows, highs, strict=True))]
    return window


def _cut_soft(soft_kzyx: Tensor, origin: Triple, patch: Triple, margin: Triple) -> Tensor:
    """Copy a window of soft targets; outside the image it is background."""
    channels = [
        cut(channel, origin, patch, margin, 0.0 if k == 0 else math.log(LEAST_PROBABILITY))
        for k, channel in enumerate(soft_kzyx)
    ]
    return torch.stack(channels).float()


def _some_foreground(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Return up to PICKED labelled voxels, evenly over the structures."""
    chosen = []
    for number in np.unique(labels[labels > 0]):
        places = np.argwhere(labels == number)
        every = max(1, len(places) * int(labels.max()) // PICKED)
        chosen.append(places[::every])
    return np.concatenate(chosen) if chosen else np.zeros((0, 3), np.int64)
