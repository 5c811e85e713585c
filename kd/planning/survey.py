"""Facts of every case of a data set: geometry, intensities, label volumes, content.

Promises: all cases are read, one at a time; a case that cannot be used does not hide the next one.
Leaves to `kd.planning.findings`: what the facts mean.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from kd.data.cases import Pair, read_pair
from kd.data.content import content_of
from kd.errors import BadCase
from kd.recipe.read import Recipe
from node.imaging.orient import orient

SAMPLED = 2000  # labelled voxels of each case whose intensities are collected
SHARES = (0.0, 0.5, 50.0, 99.5, 100.0)  # percentiles of a case's intensities
REPORT_EVERY_CASES = 20

Sample = npt.NDArray[np.floating]


class Intensities(msgspec.Struct, frozen=True, kw_only=True):
    """Intensities of a whole image."""

    least: float
    low: float  # percentile 0.5
    median: float
    high: float  # percentile 99.5
    largest: float


class CaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one usable case; axes in canonical order (head, back, left)."""

    name: str
    split: str
    spacing_mm_zyx: tuple[float, float, float]
    shape_zyx: tuple[int, int, int]
    intensities: Intensities
    volumes_ml: dict[int, float]  # of each label that is present
    content: str  # `kd.data.content.content_of`

    @property
    def extent_mm_zyx(self) -> tuple[float, ...]:
        """Edges of the field of view."""
        return tuple(n * s for n, s in zip(self.shape_zyx, self.spacing_mm_zyx, strict=True))


class BadFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A case that cannot be used, and why."""

    name: str
    split: str
    problem: str


@dataclass(frozen=True, eq=False)
class Survey:
    """All cases of a data set."""

    cases: tuple[CaseFacts, ...]
    bad: tuple[BadFacts, ...]
    samples: Mapping[str, Sample]  # intensities of labelled voxels, by case

    def of(self, split: str) -> list[CaseFacts]:
        """Return the usable cases of one split."""
        return [case for case in self.cases if case.split == split]


def survey(
    recipe: Recipe,
    folder: Path,
    splits: Mapping[str, Iterable[str]],
    say: Callable[[str], None] = lambda _: None,
) -> Survey:
    """Read every case of every split.

    Args:
        recipe: where the cases are; it accepts every label.
        folder: the data set.
        splits: names of the cases.
        say: called every few cases.
    """
    cases, bad, samples = [], [], {}
    rng = np.random.default_rng(0)
    for split, names in splits.items():
        for name in names:
            try:
                pair = read_pair(recipe, folder, name)
            except BadCase as exc:
                bad.append(BadFacts(name=name, split=split, problem=exc.message))
                continue
            cases.append(_facts(pair, split))
            values = pair.image.array[pair.labels.array > 0]
            samples[name] = rng.choice(values, min(SAMPLED, len(values)), replace=False)
            if len(cases) % REPORT_EVERY_CASES == 0:
                say(f"{len(cases)} cases read")
    return Survey(tuple(cases), tuple(bad), samples)


def _facts(pair: Pair, split: str) -> CaseFacts:
    grid = orient(pair.image)[0].grid
    array = pair.image.array
    least, low, median, high, largest = (float(v) for v in np.percentile(array, SHARES))
    counts = np.bincount(pair.labels.array.ravel())
    volumes = {n: float(c) * grid.voxel_ml for n, c in enumerate(counts) if n and c}
    return CaseFacts(
        name=pair.name,
        split=split,
        spacing_mm_zyx=grid.spacing_mm,
        shape_zyx=grid.shape,
        intensities=Intensities(least=least, low=low, median=median, high=high, largest=largest),
        volumes_ml=volumes,
        content=content_of(pair.image),
    )
