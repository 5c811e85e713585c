"""The best evidence of accuracy that a package holds: external validation, else internal."""

import msgspec

from node.errors import BadPackage
from node.package import Package
from node.package.manifest import Interval

REPORT = "report.json"  # written by `kd release`; the manifest lists its digest


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Mean Dice of one size on one data set."""

    data_set: str
    is_external: bool  # a data set that no training used a part of
    cases: int
    dice: Interval


class _Dice(msgspec.Struct, frozen=True):
    mean: float
    ci: tuple[float, float]


class _Accuracy(msgspec.Struct, frozen=True):
    dice: _Dice


class _External(msgspec.Struct, frozen=True):
    name: str
    cases: int
    sizes: dict[str, _Accuracy]


class _Report(msgspec.Struct, frozen=True):
    """The part of a release report that is read here."""

    external: tuple[_External, ...] = ()


def evidence(package: Package, size: str) -> list[Measured]:
    """Return the measurements of one size: external data sets first, held-out cases last.

    Raises:
        BadPackage: the package's report cannot be read.
    """
    measured = [
        Measured(
            data_set=one.name,
            is_external=True,
            cases=one.cases,
            dice=Interval(mean=one.sizes[size].dice.mean, ci=one.sizes[size].dice.ci),
        )
        for one in _report(package).external
        if size in one.sizes
    ]
    for name, metrics in package.manifest.metrics.items():
        if name == size:
            data_set = "; ".join(package.manifest.provenance.data_sets)
            measured.append(
                Measured(
                    data_set=data_set, is_external=False, cases=metrics.cases, dice=metrics.dice
                )
            )
    return measured


def _report(package: Package) -> _Report:
    if REPORT not in package.manifest.files:
        return _Report()
    try:
        return msgspec.json.decode((package.folder / REPORT).read_bytes(), type=_Report)
    except (OSError, msgspec.MsgspecError) as exc:
        message = f"{package.folder / REPORT} cannot be read ({exc})"
        raise BadPackage(message, advice="Install the package again.") from exc
