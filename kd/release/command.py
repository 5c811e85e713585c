"""The command that made a run, kept beside it as another person would type it.

validation.md repeats it, so paths of this machine are replaced: DATA is the data set, RUNS the
folder of all runs, EXTERNAL the folder of the external data sets. Options without effect on the
numbers (device, slices, output) are left out.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

NOTE = "command.txt"
PLACES = {"--data": "DATA", "--runs": "RUNS", "--external": "EXTERNAL"}
RUNS = ("--run", "--soft", "--start", "--into")
FILES = ("--reference-image", "--notice", "--splits")
WITHOUT_EFFECT = ("--device", "--slice-minutes", "--models")


def typed(arguments: Sequence[str]) -> str:
    """Return the command line without this machine's folders."""
    words, rest = ["kd"], list(_split(arguments))
    while rest:
        word = rest.pop(0)
        if word == "--json":
            continue
        if not word.startswith("--"):
            words.append(_short(word))
            continue
        value = rest.pop(0) if rest and not rest[0].startswith("--") else None
        if word not in WITHOUT_EFFECT:
            words += [word, *([] if value is None else [_public(word, value)])]
    return shlex.join(words)


def note(folder: Path, command: str) -> None:
    """Keep `command` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NOTE).write_text(command + "\n", encoding="utf-8")


def noted(folder: Path) -> str | None:
    """Return the command kept in `folder`, if there is one."""
    path = folder / NOTE
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _split(arguments: Sequence[str]) -> list[str]:
    """Write `--key=value` as two words."""
    words: list[str] = []
    for word in arguments:
        key, equals, value = word.partition("=")
        words += [key, value] if word.startswith("--") and equals else [word]
    return words


def _public(word: str, value: str) -> str:
    """Return the value of an option without this machine's folders."""
    if word in PLACES:
        return PLACES[word]
    if word in RUNS:
        return f"RUNS/{Path(value).name}"
    if word in FILES:
        return _short(value)
    if word == "--compare":
        start, _, run = value.rpartition(":")
        return f"{start}:RUNS/{Path(run).name}"
    return value


def _short(path: str) -> str:
    return Path(path).name if Path(path).is_absolute() else path
