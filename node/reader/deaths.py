"""Count on disk how often each series killed the process that read it.

Promises: a count survives a restart of the node; a count that cannot be read is 0.
"""

from pathlib import Path

import msgspec

from node import durable
from node.errors import ReaderKilled

FOLDER = "reader"  # in the data folder: a file in the folder of the series would look like an image
MOST_DEATHS = 3  # then the series is held; one death may be due to a busy machine

ADVICE = (
    "Send the images again from their source, then run `segnode jobs replan UID --use last`. "
    "`segnode jobs replan UID` reads the images that are here once more."
)


class Deaths(msgspec.Struct, frozen=True):
    """The content of the file of one series."""

    deaths: int
    how: str = ""  # the last time


class ReaderDeaths:
    """The counters of all series; a series is named by the key of its folder."""

    def __init__(self, data: Path) -> None:
        """Use the data folder `data`."""
        self._folder = data / FOLDER

    def of(self, key: str) -> Deaths:
        """Return the counter of a series."""
        try:
            return msgspec.json.decode(self._path(key).read_bytes(), type=Deaths)
        except (OSError, msgspec.MsgspecError):
            return Deaths(0)

    def are_too_many(self, key: str) -> bool:
        """Return whether the series must not be read again without a person."""
        return self.of(key).deaths >= MOST_DEATHS

    def error_of(self, key: str) -> ReaderKilled:
        """Return the reason to hold a series that killed its reader too often."""
        counted = self.of(key)
        return ReaderKilled(f"{counted.how}, {counted.deaths} times in a row", advice=ADVICE)

    def add(self, key: str, how: str) -> int:
        """Count one death; return how many there were."""
        deaths = self.of(key).deaths + 1
        self._write(key, Deaths(deaths, how))
        return deaths

    def allow_one_more(self, key: str) -> None:
        """Let the next images of a held series be read once."""
        self._write(key, Deaths(MOST_DEATHS - 1, self.of(key).how))

    def forget(self, key: str) -> None:
        """Remove the counter of a series that was read."""
        self._path(key).unlink(missing_ok=True)

    def keep_only(self, keys: set[str]) -> None:
        """Remove the counters of deleted series."""
        for path in self._folder.glob("*.json"):
            if path.stem not in keys:
                path.unlink(missing_ok=True)

    def _write(self, key: str, deaths: Deaths) -> None:
        durable.make_folder(self._folder)
        durable.write(self._path(key), msgspec.json.encode(deaths))

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
