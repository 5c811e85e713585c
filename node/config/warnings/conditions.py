"""Warn about conditions of rules that match nothing, or other values than they seem to."""

import math
import re
from collections.abc import Iterator

from node.config.structs import Config
from node.config.units import Ages, Lengths, Range, Texts, Words, expression_in
from node.config.warnings.code import Code, Warned
from node.conversion import KeyPath

FEWEST_SLICES = 2  # a volume needs two
MOST_SLICES = 10_000  # the reader takes no more frames of one image
WIDEST_MM = 100.0  # no scanner has such pixels or slices
NARROWEST_MM = 0.02  # nor smaller ones; such lengths were meant in another unit
OLDEST_YEARS = 150
ANY_TEXT = (".", ".*", ".+")  # expressions for any text, on purpose
EXPRESSION = re.compile(r"\||\.[*+?]|^\^|\$$|\\[bBdDsSwW.]|\[[^\]]+\]|\(\?|^/|/$")
# signs of other languages; T2* is a contrast
WILDCARD = re.compile(r"(?<![TR]2)\*|^%|%$|^!|^not ", re.IGNORECASE)
SEVERAL = re.compile(r"[,;]|\bor\b", re.IGNORECASE)


def warnings_of(config: Config) -> Iterator[Warned]:
    """Yield the warnings about the conditions of all rules."""
    for index, rule in enumerate(config.rules):
        for key in rule.when.__struct_fields__:
            value: object = getattr(rule.when, key)
            if value is not None:
                yield from _about(("rules", index, "when", key), value)
        for text in rule.when.image_type.texts if rule.when.image_type else ():
            if "\\" in text and expression_in(text) is None:
                message = f"{text!r} has several values, and each value is compared by itself"
                advice = "Write one value, or a list of which one must match."
                path = ("rules", index, "when", "image_type")
                yield Warned(Code.NEVER_MATCHES, path, message, advice)


def _about(path: KeyPath, value: object) -> Iterator[Warned]:
    listed: tuple[str, ...] = ()
    if isinstance(value, Texts):
        listed = tuple(text.casefold() for text in value.texts)
    elif isinstance(value, tuple):  # AE titles of different case are different peers
        listed = tuple(str(one) for one in value)
    for text in sorted({text for text in listed if listed.count(text) > 1}):
        message = f"{text!r} is listed twice"
        yield Warned(Code.LISTED_TWICE, path, message, "Remove one, or correct it.")
    if isinstance(value, Texts):
        yield from _about_texts(path, value)
    if isinstance(value, Range):
        yield from _about_range(path, value)


def _about_texts(path: KeyPath, value: Texts) -> Iterator[Warned]:
    for text in value.texts:
        expression = expression_in(text)
        if expression is not None:
            if expression not in ANY_TEXT and re.search(expression, ""):
                message = f"{text} matches every value, because it matches an empty text too"
                advice = "Remove the empty alternative, or write /./ for any value."
                yield Warned(Code.MATCHES_ALL, path, message, advice)
        elif EXPRESSION.search(text):
            message = f"{text!r} looks like a regular expression and is compared as text"
            advice = f"Write a list, like [HEAD, BRAIN], or /{text.strip('/')}/."
            yield Warned(Code.LOOKS_LIKE_EXPRESSION, path, message, advice)
        elif WILDCARD.search(text):
            message = f"{text!r} is compared as text: *, % and ! have no meaning, nor has `not`"
            advice = "Write a part of the text, or a regular expression between slashes."
            yield Warned(Code.LOOKS_LIKE_EXPRESSION, path, message, advice)
        elif isinstance(value, Words) and SEVERAL.search(text):
            parts = ", ".join(part.strip() for part in SEVERAL.split(text))
            message = f"{text!r} is one text: all of its words must follow each other"
            yield Warned(Code.LOOKS_LIKE_LIST, path, message, f"Write a list: [{parts}].")


def _about_range(path: KeyPath, value: Range) -> Iterator[Warned]:
    if _holds_nothing(value):
        message = f"no series matches: the value is never {value}"
        yield Warned(Code.NEVER_MATCHES, path, message, "Correct the limits.")
    elif holds_all(value):
        message = f"every series matches: the value is always {value}"
        yield Warned(Code.MATCHES_ALL, path, message, "Remove the condition, or correct it.")
    elif isinstance(value, Lengths) and value.low == value.high:
        message = f"only exactly {value.low:g} mm matches, and scanners round lengths differently"
        advice = f"Write a range, like `{0.95 * value.low:g}..{1.05 * value.low:g} mm`."
        yield Warned(Code.EXACT_LENGTH, path, message, advice)


def holds_all(value: Range) -> bool:
    """Return whether a range holds the value of every series; an age may be absent."""
    if isinstance(value, Ages) or not math.isinf(value.high):
        return False
    return value.low <= (0 if isinstance(value, Lengths) else 1)


def _holds_nothing(value: Range) -> bool:
    if isinstance(value, Lengths):
        return value.high < NARROWEST_MM or value.low > WIDEST_MM
    if isinstance(value, Ages):
        return value.low > OLDEST_YEARS or value.high <= 0
    has_whole = math.isinf(value.high) or math.isinf(value.low)
    has_whole = has_whole or math.ceil(value.low) <= math.floor(value.high)
    return value.high < FEWEST_SLICES or value.low > MOST_SLICES or not has_whole
