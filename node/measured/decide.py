"""Decide the size of a rule with `size: auto`: once, from measurements of this machine."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from node.config import AUTO
from node.measured.choose import Choice, choose, largest_mb, offered
from node.measured.cost import MIB
from node.measured.store import Host, Measurement
from node.package import Manifest, Package, Use, smallest

USUAL = "small"  # the size that runs until the sizes of a package are measured


@dataclass(frozen=True)
class Candidate:
    """One size of one package with one engine."""

    package: Package
    size: str
    engine: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Package digest, size and engine: what a measurement is valid for."""
        return self.package.digest, self.size, self.engine


def candidates(uses: Iterable[Use], host: Host) -> list[Candidate]:
    """Return the sizes and engines among which rules choose, each once, the least accurate first.

    A rule with one size and one engine has no choice and needs no measurement.
    """
    distinct: dict[tuple[str, str, str], Candidate] = {}
    for use in uses:
        engines = [name for name in host.versions if use.engine in (AUTO, name)]
        sizes = offered(use.package)[::-1] if use.size == AUTO else [use.size]
        pairs = [(size, engine) for size in sizes for engine in engines]
        for size, engine in pairs if len(pairs) > 1 else ():
            candidate = Candidate(use.package, size, engine)
            distinct.setdefault(candidate.key, candidate)
    return list(distinct.values())


def size_until_measured(manifest: Manifest) -> str:
    """Return the size that `size: auto` runs before its decision: small, else the smallest."""
    return USUAL if USUAL in manifest.sizes else smallest(manifest)


def suggestion(use: Use, measured: Sequence[Measurement], host: Host) -> Choice | None:
    """Return the most accurate size that fits the limits of the rule on this machine.

    The reference case fits its deadline, and the largest series that the package accepts fits its
    memory. None until every size is measured with every engine of this machine: a size that is not
    measured yet could be the better one. None too if no measurement succeeded.
    """
    own = [one for one in measured if one.digest == use.package.digest]
    known = {(one.digest, one.size, one.engine) for one in own}
    if not all(candidate.key in known for candidate in candidates([use], host)):
        return None
    good = [one for one in own if not one.problem and use.engine in (AUTO, one.engine)]
    if not good:
        return None
    sizes, needs = {one.size for one in good}, largest_mb(use, good)
    allowed_mb = max(use.memory_bytes / MIB, min(needs[size] for size in sizes))
    fitting = [one for one in good if needs[one.size] <= allowed_mb]
    from node.imaging import nifti  # noqa: PLC0415  `status` needs no image library

    reference = use.package.folder / use.package.manifest.reference.image
    return choose(replace(use, step_down_above=None), nifti.read_volume(reference).grid, fitting)


def with_size(use: Use, chosen: str | None) -> Use:
    """Return a use with a named size: the chosen one of `size: auto`, if the package has it."""
    if use.size != AUTO:
        return use
    if chosen is not None and chosen in use.package.manifest.sizes:
        return replace(use, size=chosen, size_why=f"size {chosen} was chosen for this rule")
    size = size_until_measured(use.package.manifest)
    why = f"size {size} until the sizes are measured here"
    if chosen is not None:
        why = f"size {size}, because {use.package.name} lacks the chosen size {chosen}"
    return replace(use, size=size, size_why=why)
