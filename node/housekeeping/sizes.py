"""Decide the size of each rule with `size: auto`, as soon as this machine has measured them all."""

import logging
from collections.abc import Mapping

import sqlalchemy as sa

from node import measured, queue
from node.config import AUTO, Config
from node.package import Use
from node.queue import ChosenSize
from node.schema import NODE

log = logging.getLogger("node.housekeeping")


def decide_sizes(engine: sa.Engine, config: Config, uses: Mapping[str, Use], now: float) -> int:
    """Choose sizes that can be chosen now; return how many. A chosen size stays.

    `uses` are those of the configuration, by rule.
    """
    chosen_sizes = queue.sizes(engine)
    open_uses = [use for use in uses.values() if use.size == AUTO and use.key not in chosen_sizes]
    if not open_uses:
        return 0
    host = measured.this_host(config.limits.threads)
    measurements = measured.read(config.data, host)
    count = 0
    for use in open_uses:
        choice = measured.suggestion(use, measurements, host)
        if choice is not None:
            chosen = ChosenSize(
                rule=use.rule, task=use.package.manifest.task, size=choice.size, at=now, by=NODE,
                why=choice.why,
            )  # fmt: skip
            count += queue.choose_size(engine, chosen)
            facts = {"package": use.package.name, "size": choice.size}
            log.info("size of rule %s: %s", use.rule, choice.why, extra=facts)
    return count


def with_sizes(engine: sa.Engine, uses: Mapping[str, Use]) -> dict[str, Use]:
    """Return the uses by rule, each with a named size."""
    chosen_sizes = queue.sizes(engine) if any(use.size == AUTO for use in uses.values()) else {}
    return {
        rule: measured.with_size(
            use, chosen_sizes[use.key].size if use.key in chosen_sizes else None
        )
        for rule, use in uses.items()
    }
