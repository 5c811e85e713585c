"""What kind of image a header describes: a slice, or a picture that is no slice of a volume.

Words inside the values of Image Type count, because manufacturers put the kind of a derived image
into one value with other words, such as "CT_SOM5 MIP". Derivation codes (DICOM CID 7203) count too,
and of derived images the descriptions.
"""

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from node.dicom.uids import SECONDARY_CAPTURE_CLASS
from node.series import image_words
from node.series.header import Header
from node.series.units import HU

DERIVED = "DERIVED"


class Kind(StrEnum):
    """Kinds of images that are no slices of a volume; the values are error codes too."""

    SECONDARY_CAPTURE = "secondary-capture"
    LOCALIZER = "localizer"
    PROJECTION = "projection"
    SUBTRACTION = "subtraction"
    PARAMETRIC_MAP = "parametric-map"
    THICK_SLAB = "thick-slab"


DERIVATIONS: dict[str, Kind] = {  # CID 7203
    "113041": Kind.PARAMETRIC_MAP, "113044": Kind.PARAMETRIC_MAP, "113046": Kind.PARAMETRIC_MAP,
    "113048": Kind.PROJECTION, "113049": Kind.THICK_SLAB, "113050": Kind.PARAMETRIC_MAP,
    "113051": Kind.PROJECTION, "113062": Kind.SUBTRACTION, "113073": Kind.PROJECTION,
    "113074": Kind.PROJECTION, "113075": Kind.PROJECTION, "113076": Kind.PARAMETRIC_MAP,
    "113078": Kind.PROJECTION, "113079": Kind.PROJECTION, "129104": Kind.PARAMETRIC_MAP,
    "129105": Kind.PARAMETRIC_MAP, "129106": Kind.PARAMETRIC_MAP,
}  # fmt: skip
# of MR: a value of Image Type, or the complex component, of images without magnitudes
COMPONENTS = {"P": "PHASE", "V": "VELOCITY", "I": "IMAGINARY", "R": "REAL"}
REAL = "REAL"
# units (UCUM) of MR signal, and of values that state none; any other unit is that of a quantity
ARBITRARY = re.compile(
    r"1|\{.*\}|\[arb'U\]|no[ _]?units?|unit-?less|none|unknown|US|HU|arb(itrary|\.)?( units?)?"
    r"|a\.?u\.?|normali[sz]ed|counts?|(signal )?intensity|signal|pixel values?|raw",
    re.IGNORECASE,
)


class _Words(NamedTuple):
    """The words of one kind, and parts of words that are compared without separators."""

    kind: Kind
    words: re.Pattern[str]
    stems: re.Pattern[str] | None = None


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(f"(?<![A-Z0-9])({words})(?![A-Z0-9])")


def _words_of(kind: Kind, words: str, *stems: str) -> _Words:
    return _Words(kind, _pattern(words), re.compile("|".join(stems)) if stems else None)


_KINDS = (
    _words_of(Kind.SECONDARY_CAPTURE, image_words.SECONDARY_CAPTURE),
    _words_of(Kind.LOCALIZER, image_words.LOCALIZER),
    _words_of(Kind.PROJECTION, image_words.PROJECTION, image_words.PROJECTION_STEMS),
    _words_of(Kind.SUBTRACTION, image_words.SUBTRACTION, image_words.SUBTRACTION_STEMS),
    _words_of(
        Kind.PARAMETRIC_MAP,
        image_words.PARAMETRIC_MAP,
        image_words.PARAMETRIC_MAP_STEMS,
        image_words.MATERIAL_STEMS,
    ),
    _words_of(Kind.THICK_SLAB, image_words.THICK_SLAB),
)
_DERIVED_KINDS = (
    _words_of(Kind.PROJECTION, image_words.DERIVED_PROJECTION),
    _words_of(Kind.PARAMETRIC_MAP, image_words.DERIVED_PARAMETRIC_MAP),
    _words_of(Kind.THICK_SLAB, image_words.DERIVED_THICK_SLAB),
    _words_of(Kind.SECONDARY_CAPTURE, image_words.DERIVED_SECONDARY_CAPTURE),
)
_DESCRIBED_KINDS = (
    _words_of(Kind.PROJECTION, image_words.DESCRIBED_PROJECTION, image_words.PROJECTION_STEMS),
    _words_of(Kind.SUBTRACTION, image_words.DESCRIBED_SUBTRACTION, image_words.SUBTRACTION_STEMS),
    _words_of(Kind.THICK_SLAB, image_words.DESCRIBED_THICK_SLAB),
    _words_of(
        Kind.PARAMETRIC_MAP, image_words.DESCRIBED_PARAMETRIC_MAP, image_words.PARAMETRIC_MAP_STEMS
    ),
    _words_of(Kind.SECONDARY_CAPTURE, image_words.DESCRIBED_SECONDARY_CAPTURE),
)
_REFORMAT = _pattern(image_words.REFORMAT)
_VIRTUAL = _pattern(image_words.VIRTUAL)
_BASIS = _pattern(image_words.BASIS)
_QUANTITY = re.compile(image_words.QUANTITY)
_WEIGHTED = re.compile(f"{image_words.WEIGHTED}|{image_words.REFORMAT}")


def kind_of(header: Header) -> tuple[Kind | None, str]:
    """Return the kind of an image and the word or code that states it; None for a slice."""
    # the multi-frame variants of Secondary Capture are numbered below it
    if f"{header.sop_class_uid}.".startswith(f"{SECONDARY_CAPTURE_CLASS}."):
        return Kind.SECONDARY_CAPTURE, "SOP class"
    values = [_words(value) for value in header.image_type]
    if header.modality == "CT":
        values = [_VIRTUAL.sub(" ", value).strip() for value in values]
    kinds = (*_KINDS, *(_DERIVED_KINDS if DERIVED in values else ()))
    if kind_and_word := _first_match(kinds, values):
        return kind_and_word
    for derivation in header.derivations:
        if derivation in DERIVATIONS:
            return DERIVATIONS[derivation], f"derivation {derivation}"
    word = _unit_word(header) if header.modality == "CT" else _mr_map(header, values)
    if word:
        return Kind.PARAMETRIC_MAP, word
    return _described_kind(header)


def _described_kind(header: Header) -> tuple[Kind | None, str]:
    """Return the kind that the descriptions of a derived image name, and the word."""
    if DERIVED not in header.image_type:
        return None, ""
    described = (header.derivation_description, header.series_description)
    match = _first_match(_DESCRIBED_KINDS, [_words(text.upper()) for text in described])
    return (match[0], f"described as {match[1]}") if match else (None, "")


def _first_match(kinds: Sequence[_Words], values: Sequence[str]) -> tuple[Kind, str] | None:
    """Return the first kind of which a value has a word, and the word."""
    for kind, words, stems in kinds:
        for value in values:
            match = words.search(value)
            if match is None and stems is not None:
                match = stems.search(value.replace(" ", ""))
            if match:
                return kind, match[0]
    return None


def derived_as(headers: Sequence[Header]) -> str:
    """Return how the images were derived, in words; empty if all are original."""
    ways = Counter(filter(None, map(_derived_as, headers)))
    number = len(headers)
    counted = (
        f"{'all' if count == number else f'{count} of {number}'} source images are {way}"
        for way, count in sorted(ways.items(), key=lambda one: (-one[1], one[0]))
    )
    return "; ".join(counted)


def _derived_as(header: Header) -> str:
    values = [_words(value) for value in header.image_type]
    if any(_REFORMAT.search(value) for value in values):
        return "reformatted, not original"
    if header.modality == "CT" and any(_VIRTUAL.search(value) for value in values):
        return "derived from several X-ray energies, not original"
    if header.modality == "MR" and _component(header) == REAL:
        return "the real part of the signal, not its magnitude"
    return "derived, not original" if DERIVED in header.image_type[:1] else ""


def _unit_word(header: Header) -> str:
    """Return the word for a material or virtual image in Image Type if its unit is not known as HU.

    An absent Rescale Type means HU, unless the image shows one material.
    """
    for value in map(_words, header.image_type):
        match = _BASIS.search(_VIRTUAL.sub(" ", value))
        if match and header.units.rescale_type != HU:
            return match[0]
        match = _VIRTUAL.search(value)
        if match and header.units.rescale_type not in ("", HU):
            return match[0]
    return ""


def _mr_map(header: Header, values: Sequence[str]) -> str:
    """Return the word for a quantity or a component of the signal other than its magnitude."""
    if header.modality != "MR":
        return ""
    component = _component(header)
    if component and component != REAL:
        return component
    for units in (header.units.real_world, tuple(filter(None, [header.units.rescale_type]))):
        if units and not any(ARBITRARY.fullmatch(unit) for unit in units):
            return f"values in {' and '.join(sorted(set(units)))}"
    described = values[2:]  # value 1 and 2 say original or derived, primary or secondary
    if DERIVED in values and not any(_WEIGHTED.fullmatch(value) for value in described):
        return next((value for value in described if _QUANTITY.fullmatch(value)), "")
    return ""


def _component(header: Header) -> str:
    """Return the complex component; empty for magnitudes, and if it is unknown."""
    if header.complex_component in COMPONENTS.values():
        return header.complex_component
    if header.complex_component:
        return ""
    return next((COMPONENTS[v] for v in header.image_type[2:] if v in COMPONENTS), "")


def _words(value: str) -> str:
    """Separate the words of a value by single spaces: underscores and hyphens are separators."""
    return " ".join(re.split(r"[^A-Z0-9]+", value)).strip()
