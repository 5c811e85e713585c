"""Decide when a series is complete, and which model it gets or why it gets none.

Pure functions: no files, no clock.
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
