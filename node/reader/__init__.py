"""Parse and decode received images in a process with limits of memory and time.

Guarantees: an image that kills or stalls the process that reads it harms nothing else; data comes
back as typed messages of bounded size. `node.housekeeping` decides what follows.
"""

from node.reader.deaths import MOST_DEATHS, ReaderDeaths
from node.reader.messages import FileIdentity, SeriesReading
from node.reader.process import Reader, ReaderLimits, StillReading

__all__ = [
    "MOST_DEATHS",
    "FileIdentity",
    "Reader",
    "ReaderDeaths",
    "ReaderLimits",
    "SeriesReading",
    "StillReading",
]
