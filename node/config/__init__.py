"""The node's configuration: two screens of YAML to strict structs."""

from node.config.read import load, load_text
from node.config.structs import (
    AUTO,
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
    is_network,
)

__all__ = [
    "AUTO",
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
    "is_network",
    "load",
    "load_text",
]
