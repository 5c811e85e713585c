"""Values with units: `60 s`, `10 GiB`, `0.5..5 mm`, and regular expressions.

Each type parses the text that a person writes; the error states the expected form. They are plain
classes, because msgspec would fill a dataclass from a mapping without `parse`.
"""

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"


class Seconds(float):
    """A duration in seconds, written with its unit."""

    @classmethod
    def parse(cls, text: object) -> "Seconds":
        """Read `90 s`, `5 min`, `48 h`, `30 d` or `250 ms`."""
        match = re.fullmatch(_NUMBER + r"\s*(ms|s|min|h|d)", str(text).strip())
        if match is None:
            message = f"{text!r} is not a time: write a number and ms, s, min, h or d, like `60 s`"
            raise ValueError(message)
        return cls(float(match[1]) * _SECONDS[match[2]])


class Bytes(int):
    """An amount of storage or memory in bytes, written with its unit."""

    @classmethod
    def parse(cls, text: object) -> "Bytes":
        """Read `10 GiB`, `512 MiB`, `64 KiB` or `100 B`."""
        match = re.fullmatch(_NUMBER + r"\s*(B|KiB|MiB|GiB|TiB)", str(text).strip())
        if match is None:
            message = f"{text!r} is not a size: write a number and KiB, MiB or GiB, like `10 GiB`"
            raise ValueError(message)
        return cls(int(float(match[1]) * _BYTES[match[2]]))


class Between:
    """A range with inclusive limits; an open end is infinite."""

    def __init__(self, low: float, high: float, unit: str = "") -> None:
        """Set the limits; `unit` is only displayed."""
        self.low, self.high, self.unit = low, high, unit

    @classmethod
    def parse(cls, text: object) -> "Between":
        """Read `0.5..5 mm`, `>= 40`, `<= 3 mm` or a single number."""
        words = str(text).strip()
        match = re.fullmatch(_NUMBER + r"\s*\.\.\s*" + _NUMBER + r"\s*(mm)?", words)
        if match and float(match[1]) <= float(match[2]):
            return cls(float(match[1]), float(match[2]), match[3] or "")
        match = re.fullmatch(r"(>=|<=)?\s*" + _NUMBER + r"\s*(mm)?", words)
        if match is None:
            message = f"{text!r} is not a range: write `0.5..5 mm`, `>= 40` or `<= 3 mm`"
            raise ValueError(message)
        value = float(match[2])
        low = value if match[1] != "<=" else float("-inf")
        high = value if match[1] != ">=" else float("inf")
        return cls(low, high, match[3] or "")

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.low == float("-inf"):
            return f"at most {self.high:g}{unit}"
        if self.high == float("inf"):
            return f"at least {self.low:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


class Pattern:
    """A regular expression that may match anywhere, ignoring case."""

    def __init__(self, text: str) -> None:
        """Set an expression that `parse` has checked."""
        self.text = text

    @classmethod
    def parse(cls, text: object) -> "Pattern":
        """Check the expression, so that an error shows at start and not at the first study."""
        try:
            re.compile(str(text))
        except re.error as exc:
            message = f"{text!r} is not a regular expression: {exc}"
            raise ValueError(message) from exc
        return cls(str(text))

    def matches(self, value: str) -> bool:
        """Return whether `value` contains a match, ignoring case."""
        return re.search(self.text, value[:1024], re.IGNORECASE) is not None
