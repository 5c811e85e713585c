"""Decide when a series is complete, and which model it gets or why it gets none.

Pure functions of headers and signs: no clock. Only `findings_of` may open images, to compare
duplicated slices; it runs in the reader process.
"""

from node.arrival.completion import AssociationSummary, Completion, CompletionSigns, completion
from node.arrival.conditions import Facts, Mismatch, facts_of, mismatch
from node.arrival.findings import Problem, SeriesFindings, findings_of, problem_of
from node.arrival.planning import Decision, decision_for, in_words, plan

__all__ = [
    "AssociationSummary",
    "Completion",
    "CompletionSigns",
    "Decision",
    "Facts",
    "Mismatch",
    "Problem",
    "SeriesFindings",
    "completion",
    "decision_for",
    "facts_of",
    "findings_of",
    "in_words",
    "mismatch",
    "plan",
    "problem_of",
]
