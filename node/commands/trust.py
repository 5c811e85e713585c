"""Packages that the configuration uses, verified before anything depends on them."""

from collections.abc import Iterator

from node.config import Config
from node.errors import Misconfigured
from node.package import Use, uses
from node.pipeline import golden_dice


def open_packages(config: Config) -> list[Use]:
    """Verify digests, shapes and golden case of everything that rules use, once each.

    Raises:
        Misconfigured: the start must stop; the message says why.
    """
    found = uses(config)
    for _ in golden_checks(config, found):
        pass
    return found


def golden_checks(config: Config, found: list[Use]) -> Iterator[tuple[Use, float]]:
    """Yield each distinct package and size with the lowest Dice of its golden case.

    Raises:
        BadPackage: this machine does not reproduce the golden labels.
    """
    seen = set()
    for use in found:
        if (use.package.digest, use.size) in seen:
            continue
        seen.add((use.package.digest, use.size))
        dice = golden_dice(use.package, use.size, config.limits.threads)
        least = use.package.manifest.golden.least_dice
        if dice < least:
            message = (
                f"package {use.package.name}, size {use.size}: the golden case reaches Dice "
                f"{dice:.4f} on this machine, {least:g} is required"
            )
            raise Misconfigured(message, advice="Do not use this package here; report it.")
        yield use, dice
