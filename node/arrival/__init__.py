"""When a series is complete, and which series gets which model, or why not.

Pure: no files, no clock.
"""

from node.arrival.completion import Association, Completion, Seen, completion
from node.arrival.planning import Decision, Facts, facts_of, leading, plan, refusal, try_survey

__all__ = [
    "Association",
    "Completion",
    "Decision",
    "Facts",
    "Seen",
    "completion",
    "facts_of",
    "leading",
    "plan",
    "refusal",
    "try_survey",
]
