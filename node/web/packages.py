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
class SizeRow:
    """One size: its accuracy, and its cost on this machine."""

    name: str
    parameters: int
    evidence: tuple[Measured, ...]
    cost: ModelState | None  # None: not measured here yet


@dataclass(frozen=True)
class PackageRow:
    """One package, or why it cannot be used."""

    name: str
    package: Package | None
    sizes: tuple[SizeRow, ...]
    problem: BadPackage | None


def package_rows(models: Path, costs: Sequence[ModelState]) -> list[PackageRow]:
    """Return every package below `models`, the newest version of a task first."""
    return [_row(folder, costs) for folder in reversed(models_in(models))]


def _row(folder: Path, costs: Sequence[ModelState]) -> PackageRow:
    name = f"{folder.parent.name}/{folder.name}"
    try:
        package = _verified(folder, (folder / MANIFEST).stat().st_mtime_ns)
        sizes = tuple(
            SizeRow(
                size,
                facts.parameters,
                tuple(evidence(package, size)),
                next((one for one in costs if (one.package, one.size) == (name, size)), None),
            )
            for size, facts in package.manifest.sizes.items()
        )
    except BadPackage as problem:
        return PackageRow(name, None, (), problem)
    return PackageRow(name, package, sizes, None)


@lru_cache(maxsize=32)  # the digests of a package are compared once, not for every request
def _verified(folder: Path, mtime_ns: int) -> Package:
    del mtime_ns  # a changed manifest is read again
    return installed(folder)
