"""The kinds of warnings, and one warning."""

from dataclasses import dataclass
from enum import StrEnum

from node.conversion import KeyPath


class Code(StrEnum):
    """Settings that are legal but probably wrong; each has a row in the glossary."""

    UNREACHABLE_RULE = "unreachable-rule"
    NEVER_MATCHES = "never-matches"
    EXACT_LENGTH = "exact-length"
    LOOKS_LIKE_EXPRESSION = "looks-like-expression"
    LOOKS_LIKE_LIST = "looks-like-list"
    MATCHES_ALL = "matches-all"
    LISTED_TWICE = "listed-twice"
    NO_EFFECT = "no-effect"
    NO_MODEL = "no-model"
    UNKNOWN_CALLER = "unknown-caller"
    UNMATCHED_CALLER = "unmatched-caller"
    REPEATED_CALLER = "repeated-caller"
    OWN_CALLER = "own-caller"
    LOCAL_ONLY = "local-only"
    OWN_TARGET = "own-target"
    REPEATED_TARGET = "repeated-target"
    UNUSED_TARGET = "unused-target"
    SHORT_TIME = "short-time"
    LONG_TIME = "long-time"
    SMALL_LIMIT = "small-limit"
    MEMORY_ABOVE_LIMIT = "memory-above-limit"
    IMPOSSIBLE_DEADLINE = "impossible-deadline"
    CONTRADICTS_PACKAGE = "contradicts-package"


@dataclass(frozen=True)
class Warned:
    """One warning: what is written where, and what was probably expected."""

    code: Code
    path: KeyPath
    message: str
    advice: str
