"""Find the package, size and engine of each rule of the configuration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.config import AUTO, Config, Rule
from node.errors import BadPackage, Misconfigured
from node.package.folder import Package, installed, models_in, version_key


@dataclass(frozen=True)
class Use:
    """Package and size of one rule, and the limits for `size: auto`."""

    rule: str
    package: Package
    size: str
    engine: str = AUTO
    deadline_s: float = float("inf")  # for one series, from voxels to labels
    memory_bytes: float = float("inf")
    step_down_above: int | None = None  # number of queued segmentations
    size_why: str = ""  # why this size; empty if the configuration names it

    @property
    def key(self) -> tuple[str, str]:
        """Rule and task: what a chosen size belongs to."""
        return self.rule, self.package.manifest.task


def uses(config: Config) -> list[Use]:
    """Return the package and size of each rule with a model; verify all digests of the packages.

    Raises:
        BadPackage: a package of a named task is altered or incomplete, or a rule uses one whose
            digest is not in `model.digests`.
        Misconfigured: a rule names a missing package or size.
    """
    with_model = [rule for rule in config.rules if rule.use != "none"]
    tasks = {rule.use.partition("/")[0] for rule in with_model}
    folders = models_in(config.model.dir) if with_model else []
    packages = [installed(folder) for folder in folders if folder.parent.name in tasks]
    result = []
    for rule in with_model:
        package = resolve(rule.use, packages, _available(config.model.dir, folders))
        _check_digest(package, config.model.digests)
        size = rule.size or config.model.size
        if size != AUTO:
            package.size(size)
        result.append(_use(config, rule, package, size))
    return result


def _use(config: Config, rule: Rule, package: Package, size: str) -> Use:
    deadline = config.model.deadline if rule.deadline is None else rule.deadline
    memory = config.model.memory if rule.memory is None else rule.memory
    return Use(
        rule=rule.name,
        package=package,
        size=size,
        engine=config.model.engine,
        deadline_s=deadline,
        memory_bytes=min(memory, config.limits.memory),  # the child has no more
        step_down_above=rule.step_down_above,
    )


def _check_digest(package: Package, digests: Mapping[str, str]) -> None:
    """Refuse a package that the configuration does not pin; without pins, accept any."""
    pinned = digests.get(package.name)
    if not digests or pinned == package.digest:
        return
    line = f'{package.name}: "{package.digest}"'
    if pinned is None:
        message = f"package {package.name} is not in model.digests"
        advice = f"If you trust it, add the line {line}, or let the rule name another version."
    else:
        message = f"package {package.name} has the SHA-256 {package.digest}, not that of "
        message += f"model.digests, {pinned}"
        advice = f"Install the package again. If you trust this one, write {line}."
    raise BadPackage(message, advice=advice)


def resolve(use: str, packages: Sequence[Package], available: str = "") -> Package:
    """Find the package that `use` names: `task/version`, or the newest of `task`.

    Raises:
        Misconfigured: there is none; the advice is `available`, or the names of `packages`.
    """
    task, _, version = use.partition("/")
    matching = [
        package
        for package in packages
        if package.manifest.task == task and version in ("", package.manifest.version)
    ]
    if not matching:
        known = ", ".join(package.name for package in packages) or "none"
        message = f"no package {use!r}"
        raise Misconfigured(message, advice=available or f"Packages in model.dir: {known}.")
    return max(matching, key=lambda package: version_key(package.manifest.version))


def _available(models: Path, folders: Sequence[Path]) -> str:
    if not models.is_dir():
        return f"The folder {models} does not exist: correct model.dir."
    known = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders) or "none"
    return f"Packages in {models}: {known}."
