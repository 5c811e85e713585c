"""Find legal but probably wrong settings of a configuration. Pure: nothing is opened."""

from node.config.structs import Config
from node.config.warnings import conditions, peers, rules, values
from node.config.warnings.code import Code, Warned

__all__ = ["Code", "Warned", "warnings_of"]


def warnings_of(config: Config) -> list[Warned]:
    """Return the warnings about a configuration, without a look at packages or the machine."""
    return [
        warning
        for part in (peers, rules, conditions, values)
        for warning in part.warnings_of(config)
    ]
