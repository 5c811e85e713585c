"""One reader process for all tests of a run: its start takes a second."""

import atexit
from functools import cache

from node.reader import Reader


@cache
def shared_reader() -> Reader:
    """Return the reader; tests that kill or limit one make their own."""
    reader = Reader(log_level="CRITICAL")
    atexit.register(reader.close)
    return reader
