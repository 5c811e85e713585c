"""The results of `segnode check`."""

from collections.abc import Callable
from dataclasses import dataclass

from node.commands.exits import node_error_of
from node.errors import NodeError


@dataclass(frozen=True)
class Finding:
    """The result of one check; advice although it is ok is a warning."""

    subject: str
    ok: bool
    message: str
    advice: str = ""
    code: str = ""  # of a warning about the configuration
    line: int | None = None  # in the configuration

    @property
    def label(self) -> str:
        """The word before it in the output."""
        if not self.ok:
            return "FAIL"
        return "warn" if self.advice else "ok"


def guarded(subject: str, check: Callable[[], str]) -> Finding:
    """Return the finding of a check that raises what is wrong, or returns what is right."""
    try:
        return Finding(subject, ok=True, message=check())
    except (NodeError, OSError) as exc:
        return failed(subject, exc)


def failed(subject: str, error: NodeError | OSError) -> Finding:
    """Return the finding of an error."""
    known = error if isinstance(error, NodeError) else node_error_of(error)
    return Finding(subject, ok=False, message=known.message, advice=known.advice)
