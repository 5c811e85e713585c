"""Convert decoded YAML or JSON to typed structs, and explain what does not fit."""

from node.conversion.convert import Decode, KeyPath, NotValid, convert, from_json, spelled
from node.conversion.kinds import shown

__all__ = ["Decode", "KeyPath", "NotValid", "convert", "from_json", "shown", "spelled"]
