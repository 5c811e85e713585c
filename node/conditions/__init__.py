"""Conditions: what needs a person, for `segnode status`, the page, the metrics and the alerts."""

from node.conditions.condition import Condition, ConditionCode, duration, unreadable
from node.conditions.derive import conditions

__all__ = ["Condition", "ConditionCode", "conditions", "duration", "unreadable"]
