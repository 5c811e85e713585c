"""Bound the time that a regular expression of a rule can take, before any text is compared.

Python's `re` tries one way after another. `(a+)+$` has more than a billion ways to read 40 letters,
and a sender chooses the text. So the ways are counted here, for the longest text that an expression
is compared with. The count assumes that every character fits, so no text needs more.
"""

import re
from collections.abc import Iterator

LONGEST = 64  # characters compared: the longest Long String (PS3.5 6.2)
MOST_STEPS = 10_000_000  # of one search: some tenths of a second
NOT_TAKEN = "rules take no {} in a regular expression: write it without"
_TOKEN = re.compile(
    r"\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|.)"  # an escape
    r"|\[\^?\]?(?:\\.|[^\]\\])*\]"  # a class
    r"|\(\?[ais]+\)|\((?:\?(?:[:>]|P<\w+>|<?[=!]))?"  # flags, or the start of a group
    r"|(?:[*+?]|\{(?:\d+(?:,\d*)?|,\d*)\})[?+]?"  # a repeat
    r"|.",
    re.DOTALL,
)
_REPEAT = re.compile(r"(?:[*+?]|\{(\d*)(,?)(\d*)\})[?+]?")
_NO_WIDTH = ("$", r"\b", r"\B", r"\Z")
_LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!")

Paths = list[int]  # how many ways lead to each position of the text


def check_time(expression: str, most_steps: int = MOST_STEPS) -> None:
    """Refuse an expression, which compiles, if a text exists for which a search may take long.

    Raises:
        ValueError: a search may take more than `most_steps` steps, or the steps are not known.
    """
    counter = _Counter(expression, most_steps)
    counter.alternatives(0, [1] * (LONGEST + 1))  # a search begins at every position


class _Counter:
    """Follow all ways through an expression, and count their steps."""

    def __init__(self, expression: str, most_steps: int) -> None:
        self.tokens = _TOKEN.findall(expression)
        self.steps, self.most_steps = 0, most_steps
        self.end = _matching(self.tokens)

    def alternatives(self, at: int, start: Paths) -> Paths:
        """Return the ways behind all alternatives of the group that begins at token `at`."""
        ends, paths = [0] * len(start), start
        for atom, low, high in self.pieces(at):
            if atom is None:
                ends, paths = _sum(ends, paths), start
            else:
                paths = self.repeated(atom, low, high, paths)
        return _sum(ends, paths)

    def pieces(self, at: int) -> Iterator[tuple[int | None, int, int]]:
        """Yield the position of each atom with its repeats; None for `|`."""
        while at < len(self.tokens) and self.tokens[at] != ")":
            after = self.end.get(at, at) + 1
            if self.tokens[at] == "|":
                yield None, 1, 1
            elif after < len(self.tokens) and (match := _REPEAT.fullmatch(self.tokens[after])):
                yield at, *_limits(match)
                after += 1
            else:
                yield at, 1, 1
            at = after

    def repeated(self, atom: int, low: int, high: int, paths: Paths) -> Paths:
        """Return the ways behind `low` to `high` repeats of an atom."""
        ends = paths if low == 0 else [0] * len(paths)
        for count in range(1, high + 1):
            before, steps = paths, self.steps
            paths = self.once(atom, before)
            if paths == before:  # an atom without width: `re` repeats it no more often than `low`
                self.add(low * (self.steps - steps))
                return _sum(ends, paths)
            if count >= low:
                ends = _sum(ends, paths)
            if not any(paths):
                break
        return ends

    def once(self, atom: int, paths: Paths) -> Paths:
        """Return the ways behind one atom."""
        self.add(sum(paths))
        token = self.tokens[atom]
        if atom in self.end:
            ends = self.alternatives(atom + 1, paths)
            return paths if token in _LOOKAROUND else ends
        if token in ("^", r"\A"):
            return [paths[0], *[0] * (len(paths) - 1)]
        if token in _NO_WIDTH or token.startswith("(?"):
            return paths
        if token[0] == "\\" and token[1] in "123456789":
            raise ValueError(NOT_TAKEN.format(token))
        return [0, *paths[:-1]]

    def add(self, steps: int) -> None:
        """Count steps; refuse the expression when they are too many."""
        self.steps += steps
        if self.steps > self.most_steps:
            message = (
                "a crafted text could keep it busy for long: repeat no group that holds a repeat "
                "or |, and write fewer of * + ? {}"
            )
            raise ValueError(message)


def _matching(tokens: list[str]) -> dict[int, int]:
    """Return the end of each group by its start."""
    ends: dict[int, int] = {}
    open_groups: list[int] = []
    for at, part in enumerate(tokens):
        if part == ")" and open_groups:
            ends[open_groups.pop()] = at
        elif part[0] == "(" and not part.endswith(")"):
            if part == "(" and tokens[at + 1][0] == "?":
                raise ValueError(NOT_TAKEN.format("".join(tokens[at : at + 3])[:3]))
            open_groups.append(at)
    return ends


def _limits(match: re.Match[str]) -> tuple[int, int]:
    if match[0][0] != "{":
        return int(match[0][0] == "+"), 1 if match[0][0] == "?" else MOST_STEPS
    low = int(match[1] or 0)
    return low, int(match[3] or MOST_STEPS) if match[2] else low


def _sum(one: Paths, other: Paths) -> Paths:
    return [a + b for a, b in zip(one, other, strict=True)]
