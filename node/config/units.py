"""Values with units (`60 s`, `10 GiB`), ranges (`0.5..5 mm`), texts and names to compare with.

Each type parses what a person writes; the error states the expected form. They are plain classes,
because msgspec would fill a dataclass from a mapping without `parse`.
"""

import re
from collections.abc import Collection, Iterable
from typing import ClassVar, Self

from node.config import expressions
from node.conversion import shown

_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_NUMBER = r"(\d{1,15}(?:\.\d{1,15})?)"
LONGEST_S = 36_500 * 86400.0
MOST_BYTES = 1 << 50
MOST_COMPARED = 1024  # characters of a value; a header may hold more


class Seconds(float):
    """A duration in seconds, written with its unit."""

    EXPECTED = "a number and ms, s, min, h or d, like `60 s`"

    @classmethod
    def parse(cls, text: object) -> "Seconds":
        """Read `90 s`, `5 min`, `48 h`, `30 d` or `250 ms`."""
        match = re.fullmatch(_NUMBER + r"\s*(ms|s|min|h|d)", _plain(text))
        if match is None:
            message = f"{shown(text)} is not a time: write {cls.EXPECTED}"
            raise ValueError(message)
        seconds = float(match[1]) * _SECONDS[match[2]]
        if seconds > LONGEST_S:
            message = f"{shown(text)} is too long: write at most {LONGEST_S / 86400:g} d"
            raise ValueError(message)
        return cls(seconds)


class Bytes(int):
    """An amount of storage or memory in bytes, written with its unit."""

    EXPECTED = "a number and KiB, MiB or GiB, like `10 GiB`"

    @classmethod
    def parse(cls, text: object) -> "Bytes":
        """Read `10 GiB`, `512 MiB`, `64 KiB` or `100 B`."""
        match = re.fullmatch(_NUMBER + r"\s*(B|KiB|MiB|GiB|TiB)", _plain(text))
        if match is None:
            message = f"{shown(text)} is not a size: write {cls.EXPECTED}"
            raise ValueError(message)
        size = int(float(match[1]) * _BYTES[match[2]])
        if size > MOST_BYTES:
            message = f"{shown(text)} is too large: write at most {MOST_BYTES >> 40} TiB"
            raise ValueError(message)
        return cls(size)


class Range:
    """A range with inclusive limits; an open end is infinite."""

    UNIT: ClassVar[str] = ""
    EXPECTED: ClassVar[str] = "`10..300`, `>= 40` or `<= 200`"

    def __init__(self, low: float, high: float) -> None:
        """Set the limits, in the unit of the class."""
        self.low, self.high = low, high

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read `0.5..5`, `>= 40`, `<= 3` or a single number; the unit may follow."""
        words = _plain(text)
        unit = rf"\s*(?:{cls.UNIT})?" if cls.UNIT else ""
        if match := re.fullmatch(_NUMBER + r"\s*\.\.\s*" + _NUMBER + unit, words):
            if float(match[1]) > float(match[2]):
                message = f"{shown(text)} holds no value: the first limit is above the second"
                raise ValueError(message)
            return cls(float(match[1]), float(match[2]))
        match = re.fullmatch(r"(>=|<=)?\s*" + _NUMBER + unit, words)
        if match is None:
            message = f"{shown(text)} is not a range: write {cls.EXPECTED}"
            raise ValueError(message)
        value = float(match[2])
        low = value if match[1] != "<=" else float("-inf")
        high = value if match[1] != ">=" else float("inf")
        return cls(low, high)

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        unit = f" {self.UNIT}" if self.UNIT else ""
        if self.low == float("-inf"):
            return f"at most {self.high:g}{unit}"
        if self.high == float("inf"):
            return f"at least {self.low:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


class Lengths(Range):
    """A range of lengths in mm."""

    UNIT = "mm"
    EXPECTED = "`0.5..5 mm`, `>= 1 mm` or `<= 3 mm`"


class Ages(Range):
    """A range of ages in years."""

    UNIT = "y"
    EXPECTED = "`18..60 y`, `>= 18 y` or `<= 0.5 y`"


class Texts:
    """Texts of which a value must contain one, ignoring case.

    A text between slashes is a regular expression, which may match anywhere in the value.
    """

    EXPECTED = "text, a regular expression between slashes, or a list of them"

    def __init__(self, texts: tuple[str, ...]) -> None:
        """Set the texts that `parse` has checked."""
        self.texts = texts

    @classmethod
    def parse(cls, value: object) -> Self:
        """Check one text or a list of texts, so that an error shows at start."""
        given: list[object] = value if isinstance(value, list) else [value]
        if not given:
            message = "an empty list matches nothing: write a text, or remove the key"
            raise ValueError(message)
        return cls(tuple(cls._checked(text) for text in given))

    @classmethod
    def _checked(cls, text: object) -> str:
        if not isinstance(text, str):
            quoted = ""
            if isinstance(text, bool):
                quoted = ". YAML reads yes, no, on and off as true and false: write it in quotes"
            elif isinstance(text, int | float):
                quoted = f'. Write it in quotes: "{text}"'
            message = f"{shown(text)} is no text: write {cls.EXPECTED}{quoted}"
            raise ValueError(message)  # noqa: TRY004  msgspec names the line of a ValueError only
        if (expression := expression_in(text)) is not None:
            _compile(expression)
        elif not cls._normal(text):
            message = (
                f"{shown(text)} has nothing to compare: write {cls.EXPECTED}, or remove the key"
            )
            raise ValueError(message)
        return text

    def matches(self, values: Iterable[str]) -> bool:
        """Return whether one of the texts matches one of `values`."""
        return any(
            self.match(text, value[:MOST_COMPARED]) for value in values for text in self.texts
        )

    def __str__(self) -> str:
        return " or ".join(t if expression_in(t) is not None else repr(t) for t in self.texts)

    @classmethod
    def match(cls, text: str, value: str) -> bool:
        """Return whether one text matches one value."""
        if (expression := expression_in(text)) is not None:
            compared = value[: expressions.LONGEST]
            return re.search(expression, compared, re.IGNORECASE) is not None
        return cls._normal(text) in cls._normal(value)

    @classmethod
    def _normal(cls, text: str) -> str:
        """Return the text as it is compared."""
        return text.strip().casefold()


class Words(Texts):
    """Texts whose words a value must contain, whole and in this order, whatever separates them."""

    @classmethod
    def _normal(cls, text: str) -> str:
        words = re.findall(r"[^\W_]+", text.casefold())
        return f" {' '.join(words)} " if words else ""


def expression_in(text: str) -> str | None:
    """Return the regular expression that is written as `/…/`; None for any other text."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "/" else None


def _plain(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _compile(expression: str) -> None:
    if not expression:
        message = "'//' is an empty regular expression: write one, or remove the key"
        raise ValueError(message)
    try:
        re.compile(expression)
    except (re.error, OverflowError, RecursionError) as exc:
        message = f"{shown(f'/{expression}/')} is not a regular expression: {exc}"
        raise ValueError(message) from exc
    try:
        expressions.check_time(expression)
    except ValueError as exc:
        message = f"{shown(f'/{expression}/')}: {exc}"
        raise ValueError(message) from exc


class CertificateName(str):
    """What a peer's certificate must have: a SHA-256 fingerprint, or a name.

    A fingerprint is kept as 64 lower-case hexadecimal digits, whatever its notation was. Without
    the key this is empty, and stands for any certificate.
    """

    @classmethod
    def parse(cls, text: object) -> "CertificateName":
        """Read a name, or a fingerprint as `openssl x509 -fingerprint -sha256` prints it."""
        words = str(text).strip()
        digits = re.sub(r"^sha-?256[ :=]*(fingerprint=)?|:", "", words, flags=re.IGNORECASE)
        if re.fullmatch(r"[0-9a-fA-F]{64}", digits):
            return cls(digits.lower())
        looks_like_one = re.fullmatch(r"[0-9a-fA-F]{32,}", digits) is not None
        if not isinstance(text, str) or looks_like_one or not re.fullmatch(r"[ -~]{1,128}", words):
            message = (
                f"{shown(text)} is neither a SHA-256 fingerprint (64 hexadecimal digits) nor a "
                "name (1 to 128 plain characters, like CT01 or ct01.hospital.org)"
            )
            raise ValueError(message)
        return cls(words)

    @property
    def is_fingerprint(self) -> bool:
        """Whether this is a fingerprint."""
        return re.fullmatch(r"[0-9a-f]{64}", self) is not None

    def is_of(self, fingerprint: str, names: Collection[str]) -> bool:
        """Return whether a certificate with this fingerprint and these names matches."""
        if self.is_fingerprint:
            return self == fingerprint
        return not self or self.casefold() in {name.casefold() for name in names}
