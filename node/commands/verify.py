"""Verify engine, packages and memory of a configuration, for `serve` and `check`."""

from collections.abc import Iterator

import sqlalchemy as sa

from node import engines, measured, status
from node.config import AUTO, Config
from node.engines import ONNXRUNTIME
from node.errors import Misconfigured, NodeError
from node.housekeeping.sizes import with_sizes
from node.measured import largest_mb, size_until_measured
from node.measured.cost import MIB
from node.package import Use, uses
from node.pipeline import may_run, reference_dice


def open_packages(config: Config) -> list[Use]:
    """Verify engine, digests, shapes and reference case of everything that rules use, once each.

    Raises:
        Misconfigured: the node cannot start; the message has the reason.
    """
    describe_engine(config)
    required = uses(config)
    for _ in reference_checks(config, with_chosen_sizes(config, required)):
        pass
    return required


def with_chosen_sizes(config: Config, required: list[Use]) -> list[Use]:
    """Return the uses with the chosen sizes of `size: auto`, as far as the database is readable."""
    try:
        engine = status.open_read_only(config.data)
        return list(with_sizes(engine, {use.rule: use for use in required}).values())
    except (NodeError, sa.exc.DBAPIError):  # each loop of the node meets and reports the same
        return required


def describe_engine(config: Config) -> str:
    """Return the configured engine, or the engines among which the node chooses.

    Raises:
        Misconfigured: the configured engine cannot run here.
    """
    here = ", ".join(f"{name} {version}" for name, version in engines.versions().items())
    if config.model.engine == AUTO:
        return f"the fastest that reproduces the reference case, among {here}"
    engines.require(config.model.engine)
    return f"{config.model.engine}, as configured; installed: {here}"


def reference_checks(config: Config, required: list[Use]) -> Iterator[tuple[Use, str, float]]:
    """Yield each distinct package and size with the lowest Dice of its reference case.

    Of `size: auto` without a choice it is the one that runs as long as nothing is measured:
    measuring verifies the others. Of `engine: auto` it is onnxruntime, for the same reason.

    Raises:
        BadPackage: this machine does not reproduce the reference labels.
    """
    checked = set()
    for use in required:
        size = size_until_measured(use.package.manifest) if use.size == AUTO else use.size
        if (use.package.digest, size) in checked:
            continue
        checked.add((use.package.digest, size))
        engine = ONNXRUNTIME if use.engine == AUTO else use.engine
        dice = reference_dice(use.package, size, config.limits.threads, engine)
        least = use.package.manifest.reference.least_dice
        if not may_run(use.package, dice):
            message = (
                f"package {use.package.name}, size {size}: the reference case reaches Dice "
                f"{dice:.4f} on this machine, {least:g} is required"
            )
            raise Misconfigured(message, advice="Do not use this package here; report it.")
        yield use, size, dice


def describe_memory(config: Config, use: Use) -> str:
    """Return the memory that the largest accepted series of a rule needs.

    Raises:
        Misconfigured: every size of the rule needs more than is allowed.
    """
    measurements = measured.read(config.data, measured.this_host(config.limits.threads))
    needs = largest_mb(use, measurements)
    if not needs:
        return "memory is not measured yet: run `segnode models bench`"
    size = min(needs, key=lambda name: needs[name])
    allowed = use.memory_bytes / MIB
    text = f"the largest series needs about {needs[size]:.0f} MiB at size {size}"
    if needs[size] > allowed:
        message = f"{text}, {allowed:.0f} MiB are allowed"
        advice = "Raise model.memory and limits.memory, or choose a smaller size."
        raise Misconfigured(message, advice=advice)
    return f"{text}, of {allowed:.0f}"
