"""When a series is complete, and which series gets which model, or why not.

Pure: no files, no clock.
"""

from node.arrival.completion import AssociationSummary, Completion, CompletionSigns, completion
from node.arrival.planning import (
    Decision,
    Facts,
    decision_for,
    facts_of,
    leading_header,
    plan,
    try_survey,
)

__all__ = [
    "AssociationSummary",
    "Completion",
    "CompletionSigns",
    "Decision",
    "Facts",
    "completion",
    "decision_for",
    "facts_of",
    "leading_header",
    "plan",
    "try_survey",
]
