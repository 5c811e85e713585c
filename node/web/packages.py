"""The installed packages, with the evidence that they hold and the sizes measured here."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from node.errors import BadPackage
from node.package import Package, installed, models_in
from node.package.folder import MANIFEST
from node.package.validation import Measured, evidence
from node.status import ModelState


@dataclass(frozen=True)
class ShownSize:
    """One size: its accuracy, and its cost on this machine."""

    name: str
    parameters: int
    evidence: tuple[Measured, ...]
    cost: ModelState | None  # None: not measured here yet


@dataclass(frozen=True)
class ShownPackage:
    """One package, or why it cannot be used."""

    name: str
    package: Package | None
    sizes: tuple[ShownSize, ...]
    problem: BadPackage | None


def shown_packages(models: Path, costs: Sequence[ModelState]) -> list[ShownPackage]:
    """Return every package below `models`, the newest version of a task first."""
    return [_shown(folder, costs) for folder in reversed(models_in(models))]


def _shown(folder: Path, costs: Sequence[ModelState]) -> ShownPackage:
    name = f"{folder.parent.name}/{folder.name}"
    try:
        package = _verified(folder, (folder / MANIFEST).stat().st_mtime_ns)
        sizes = tuple(
            ShownSize(
                size,
                facts.parameters,
                tuple(evidence(package, size)),
                next((one for one in costs if (one.package, one.size) == (name, size)), None),
            )
            for size, facts in package.manifest.sizes.items()
        )
    except BadPackage as problem:
        return ShownPackage(name, None, (), problem)
    return ShownPackage(name, package, sizes, None)


@lru_cache(maxsize=32)  # the digests of a package are compared once, not at every look
def _verified(folder: Path, mtime_ns: int) -> Package:
    del mtime_ns  # a changed manifest is read again
    return installed(folder)
