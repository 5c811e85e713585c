"""Which package, size and engine each rule of the configuration means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.config import AUTO, Config, Rule
from node.errors import Misconfigured
from node.package.folder import Package, installed, models_in, version_key


@dataclass(frozen=True)
class Use:
    """One rule's package and size, and what chooses where that is `auto`."""

    rule: str
    package: Package
    size: str
    engine: str = AUTO
    deadline_s: float = float("inf")  # of one series, from its voxels to its labels
    memory_bytes: float = float("inf")
    step_down_above: int | None = None  # segmentations that wait


def uses(config: Config) -> list[Use]:
    """Return what each rule with a model would run; every digest of these packages is verified.

    Raises:
        BadPackage: a package of a named task was altered or is incomplete.
        Misconfigured: a rule names a package or size that is not there.
    """
    wanted = [rule for rule in config.rules if rule.use != "none"]
    tasks = {rule.use.partition("/")[0] for rule in wanted}
    folders = models_in(config.model.dir) if wanted else []
    packages = [installed(folder) for folder in folders if folder.parent.name in tasks]
    found = []
    for rule in wanted:
        package = resolve(rule.use, packages, _there(config.model.dir, folders))
        size = rule.size or config.model.size
        if size != AUTO:
            package.size(size)
        found.append(_use(config, rule, package, size))
    return found


def _use(config: Config, rule: Rule, package: Package, size: str) -> Use:
    deadline = config.model.deadline if rule.deadline is None else rule.deadline
    memory = config.model.memory if rule.memory is None else rule.memory
    return Use(
        rule=rule.name,
        package=package,
        size=size,
        engine=config.model.engine,
        deadline_s=deadline,
        memory_bytes=min(memory, config.limits.memory),  # more is not given to the child
        step_down_above=rule.step_down_above,
    )


def resolve(use: str, packages: Sequence[Package], there: str = "") -> Package:
    """Find the package that `use` names: `task/version`, or the newest of `task`.

    Raises:
        Misconfigured: there is none; `there` says what is, where that is more than `packages`.
    """
    task, _, version = use.partition("/")
    fitting = [
        package
        for package in packages
        if package.manifest.task == task and version in ("", package.manifest.version)
    ]
    if not fitting:
        known = ", ".join(package.name for package in packages) or "none"
        message = f"no package {use!r}"
        raise Misconfigured(message, advice=there or f"Packages in model.dir: {known}.")
    return max(fitting, key=lambda package: version_key(package.manifest.version))


def _there(models: Path, folders: Sequence[Path]) -> str:
    if not models.is_dir():
        return f"The folder {models} does not exist: correct model.dir."
    known = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in folders) or "none"
    return f"Packages in {models}: {known}."
