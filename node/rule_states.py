"""The rules of the configuration with package, size and pause, as a person sees them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from node import queue
from node.config import AUTO, Config, Rule
from node.errors import NotFound

NONE = "none"  # a rule that only records
LONGEST_REASON = 200  # characters of the reason for a pause


@dataclass(frozen=True, kw_only=True)
class RuleState:
    """One rule."""

    name: str
    use: str  # task, task/version, or none
    size: str  # in words; empty for a rule that only records
    targets: tuple[str, ...]
    pause: queue.PausedRule | None
    waiting: int  # series that wait for the end of the pause


def rule_states(config: Config, engine: Engine) -> list[RuleState]:
    """Return the rules in the order in which they are tried."""
    sizes, paused = queue.sizes(engine), queue.paused(engine)
    waiting = [one.paused_rule for one in queue.arriving_series(engine)]
    return [
        RuleState(
            name=rule.name,
            use=rule.use,
            size=_size(rule, config, sizes),
            targets=rule.send_to,
            pause=paused.get(rule.name),
            waiting=waiting.count(rule.name),
        )
        for rule in config.rules
    ]


def _size(rule: Rule, config: Config, sizes: Mapping[tuple[str, str], queue.ChosenSize]) -> str:
    if rule.use == NONE:
        return ""
    size = rule.size or config.model.size
    if size != AUTO:
        return size
    key = rule.name, rule.use.partition("/")[0]
    return f"auto: {sizes[key].size}" if key in sizes else "auto: not measured"


def check_rule(config: Config, name: str) -> None:
    """Check that the configuration has a rule.

    Raises:
        NotFound: it has none of this name.
    """
    names = [rule.name for rule in config.rules]
    if name not in names:
        message = f"no rule {name!r}"
        raise NotFound(message, advice=f"Rules: {', '.join(names) or 'none'}.")


def is_reason(text: str) -> bool:
    """Return whether a text may be the reason for a pause: one short line."""
    return (not text or text.isprintable()) and len(text) <= LONGEST_REASON
