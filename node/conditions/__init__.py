"""Conditions: what needs a person, for `segnode status`, the page, the metrics and the alerts."""

from node.conditions.condition import Condition, ConditionCode, duration, unreadable
from node.conditions.derive import conditions
from node.conditions.live import LiveView, View

__all__ = [
    "Condition",
    "ConditionCode",
    "LiveView",
    "View",
    "conditions",
    "duration",
    "unreadable",
]
