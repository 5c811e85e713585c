"""When a series is complete, and which series gets which model, or why not.

Pure: no files, no clock.
"""

from node.arrival.completion import Association, Completion, completion
from node.arrival.planning import Decision, Facts, facts_of, plan, resolve

__all__ = [
    "Association",
    "Completion",
    "Decision",
    "Facts",
    "completion",
    "facts_of",
    "plan",
    "resolve",
]
