"""The loop `monitor`: alerts about conditions, and the page for people.

Promises: it reads recorded rows only; whatever happens to it, the other loops go on.
"""

from node.monitor.loop import run

__all__ = ["run"]
