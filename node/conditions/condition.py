"""One condition: a thing that needs a person, and the wording that all of them share."""

from dataclasses import dataclass
from enum import StrEnum

from node.errors import NodeError


class ConditionCode(StrEnum):
    """Everything that `conditions` reports."""

    LOOP_DOWN = "loop-down"
    DATABASE_UNREADABLE = "database-unreadable"
    DISK_LOW = "disk-low"
    CONFIGURATION_OLD = "configuration-old"
    PACKAGE_BAD = "package-bad"
    TLS_UNUSABLE = "tls-unusable"
    CERTIFICATE_ENDS = "certificate-ends"
    TARGET_REFUSES = "target-refuses"
    TARGET_SILENT = "target-silent"
    TARGET_DELAYS = "target-delays"
    JOBS_FAILED = "jobs-failed"
    SERIES_HELD = "series-held"
    RULE_PAUSED = "rule-paused"
    QUEUE_OLD = "queue-old"
    SOURCE_QUIET = "source-quiet"
    DRIFT = "drift"
    CLOCK_STEPPED = "clock-stepped"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One thing that needs a person."""

    code: ConditionCode
    subject: str  # loop, target, caller, package or certificate; empty for the whole node
    since: float | None  # Unix seconds; None: not recorded
    text: str
    advice: str

    @property
    def key(self) -> str:
        """Code and subject: the same key is the same condition, whatever its text."""
        return f"{self.code.value} {self.subject}".rstrip()


def unreadable(error: NodeError) -> Condition:
    """Return the condition that no snapshot can be made."""
    return Condition(
        code=ConditionCode.DATABASE_UNREADABLE,
        subject="",
        since=None,
        text=error.message,
        advice=error.advice,
    )


_PLURALS = {"delivery": "deliveries", "series": "series"}


def number(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where it needs one."""
    return f"{count} {noun if count == 1 else _PLURALS.get(noun, f'{noun}s')}"


def sentence(text: str) -> str:
    """Return a text that ends with a full stop."""
    return text if text.endswith(".") else f"{text}."


def duration(seconds: float) -> str:
    """Return a length of time for people, in the largest unit that gives at least two."""
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
