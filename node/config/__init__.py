"""The node's configuration: two screens of YAML to strict structs."""

from node.config.read import load, load_text
from node.config.structs import (
    Caller,
    Complete,
    Config,
    Data,
    Keep,
    Limits,
    Model,
    Node,
    Rule,
    Target,
    When,
)

__all__ = [
    "Caller",
    "Complete",
    "Config",
    "Data",
    "Keep",
    "Limits",
    "Model",
    "Node",
    "Rule",
    "Target",
    "When",
    "load",
    "load_text",
]
