"""Check that the headers of a volume define its pixels: their format and their units.

Guarantee: no value is guessed; a header that leaves the meaning open raises a named error with the
numbers of the images.
"""

from collections.abc import Callable, Sequence

from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from node.errors import (
    MissingAttribute,
    MixedUnits,
    UnsupportedPixels,
    UnusableRescale,
    WrongModality,
    WrongUnits,
)
from node.series.header import Header
from node.series.pixel_format import format_problem
from node.series.units import HU

CT_CLASSES = frozenset(
    {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
)
HU_CODES = frozenset({"[hnsf'U]", "HU"})  # UCUM, and as some write it
MODALITY_OF: dict[str, str] = {
    **dict.fromkeys(CT_CLASSES, "CT"),
    MRImageStorage: "MR",
    EnhancedMRImageStorage: "MR",
    LegacyConvertedEnhancedMRImageStorage: "MR",
    PositronEmissionTomographyImageStorage: "PT",
}
MODALITIES = frozenset(MODALITY_OF.values())
AIR_HU = -1000.0
LEAST_SPAN_HU = 16.0  # tissues differ by more
STEEPEST = 1000.0  # HU for each step of the stored values: nothing would be told apart
# between intercepts, one of which was added to values that already were Hounsfield units
CONFUSED_HU = (999.0, 1025.0)
MOST_NAMED = 8  # images that a message names

ORIGINALS = "Send the original series: these images were altered."

_REQUIRED: dict[str, Callable[[Header], object]] = {
    "PixelData": lambda header: header.pixels.data or None,
    "Rows": lambda header: header.rows or None,
    "Columns": lambda header: header.columns or None,
    "SamplesPerPixel": lambda header: header.pixels.samples_per_pixel,
    "PhotometricInterpretation": lambda header: header.pixels.photometric or None,
    "BitsAllocated": lambda header: header.pixels.bits_allocated,
    "BitsStored": lambda header: header.pixels.bits_stored,
    "PixelRepresentation": lambda header: header.pixels.representation,
}
_IN_ALL_OR_NONE: dict[str, Callable[[Header], bool]] = {
    "Rescale Slope": lambda header: header.units.has_slope,
    "Rescale Intercept": lambda header: header.units.has_intercept,
    "Modality LUT": lambda header: header.units.has_modality_lut,
    "Real World Value Mapping": lambda header: bool(header.units.real_world),
    "Units": lambda header: bool(header.units.unit),
}


def is_ct(header: Header) -> bool:
    """Check for a CT image, by its modality or its SOP class."""
    return header.modality == "CT" or header.sop_class_uid in CT_CLASSES


def check_modality(headers: Sequence[Header]) -> None:
    """Check that Modality and SOP class of every image name one modality.

    Raises:
        WrongModality: naming both and the images; either may be wrong, so no rule can choose.
    """
    wrong = [
        header
        for header in headers
        if header.modality in MODALITIES
        and MODALITY_OF.get(header.sop_class_uid, header.modality) != header.modality
    ]
    if wrong:
        first = wrong[0]
        message = (
            f"Modality is {first.modality}, and the SOP class is that of "
            f"{MODALITY_OF[first.sop_class_uid]} images, in {_of(wrong, headers)}"
        )
        raise WrongModality(message, advice=ORIGINALS)


def check_attributes(headers: Sequence[Header]) -> None:
    """Check that every image has the attributes that define how its pixels are stored.

    Raises:
        MissingAttribute: naming the keywords and the images.
    """
    lacking = {
        keyword: [header for header in headers if value(header) is None]
        for keyword, value in _REQUIRED.items()
    }
    absent = {keyword: images for keyword, images in lacking.items() if images}
    if absent:
        parts = [
            f"{keyword} is absent or unreadable in {_of(images, headers)}"
            for keyword, images in absent.items()
        ]
        raise MissingAttribute("; ".join(parts), advice=ORIGINALS)


def check_pixel_format(headers: Sequence[Header]) -> None:
    """Check that the pixels of every image are grey values in a form that is decoded.

    Raises:
        UnsupportedPixels: naming the attributes with their values, and the images.
    """
    problems: dict[str, list[Header]] = {}
    for header in headers:
        problem = format_problem(header.pixels)
        if problem:
            problems.setdefault(problem, []).append(header)
    if problems:
        parts = [f"{problem} in {_of(affected, headers)}" for problem, affected in problems.items()]
        raise UnsupportedPixels("; ".join(parts), advice=ORIGINALS)


def check_units(headers: Sequence[Header]) -> None:
    """Check that the values of all images have one unit, and those of a CT Hounsfield units.

    Raises:
        UnusableRescale: a rescale is unreadable, 0, or beside a Modality LUT; of CT, also absent.
        WrongUnits: CT values in other units than HU.
        MixedUnits: some images have a rescale, LUT, mapping or unit, and others have not.
    """
    are_ct = any(is_ct(header) for header in headers)
    unusable = [h for h in headers if not _is_usable(h, is_required=are_ct)]
    if unusable:
        problem = "images have no usable Rescale Slope and Rescale Intercept"
        message = f"{_count(unusable, headers)} {problem}{named(unusable)}"
        if are_ct:
            message += ", so their values in Hounsfield units are unknown"
        raise UnusableRescale(message, advice=ORIGINALS)
    if are_ct:
        _check_hounsfield(headers)
        _check_intercepts(headers)
    _check_one_unit(headers, are_ct=are_ct)
    _refuse_two_transformations(headers)


def _is_usable(header: Header, *, is_required: bool) -> bool:
    units = header.units
    if is_required:
        return units.has_rescale
    slope_is_usable = not units.has_slope or units.slope not in (None, 0)
    return slope_is_usable and not (units.has_intercept and units.intercept is None)


def _refuse_two_transformations(headers: Sequence[Header]) -> None:
    """Refuse images with a Modality LUT and a rescale: only one may be there (PS3.3 C.11.1)."""
    both = [
        header
        for header in headers
        if header.units.has_modality_lut and (header.units.has_slope or header.units.has_intercept)
    ]
    if both:
        message = f"{_of(both, headers)} have both a Modality LUT and a rescale"
        raise UnusableRescale(message, advice=ORIGINALS)


def _check_hounsfield(headers: Sequence[Header]) -> None:
    problems: dict[str, list[Header]] = {}
    for header in headers:
        units = header.units
        if units.rescale_type not in ("", HU):
            problems.setdefault(f"Rescale Type is {units.rescale_type}", []).append(header)
        elif units.has_modality_lut:
            problems.setdefault("there is a Modality LUT", []).append(header)
        elif not units.rescale_type and units.real_world and not HU_CODES & {*units.real_world}:
            problems.setdefault("Real World Value Mapping is not in HU", []).append(header)
        elif problem := _impossible_span(header):
            problems.setdefault(problem, []).append(header)
    if problems:
        parts = [f"{problem} in {_of(affected, headers)}" for problem, affected in problems.items()]
        message = f"the values of the CT are not Hounsfield units: {'; '.join(parts)}"
        raise WrongUnits(message, advice="Send a reconstruction in Hounsfield units.")


def _check_intercepts(headers: Sequence[Header]) -> None:
    """Refuse images that are stored alike, but have intercepts that differ by 1000 or 1024.

    A tool may lose the rescale of some images, or write a usual one where there was none. Their
    values are then off by water minus air.
    """
    alike: dict[tuple[object, ...], dict[float, list[Header]]] = {}
    for header in headers:
        units, pixels = header.units, header.pixels
        assert units.intercept is not None
        stored = (units.slope, pixels.representation, pixels.bits_stored)
        alike.setdefault(stored, {}).setdefault(units.intercept, []).append(header)
    for images in alike.values():
        (most, usual), *others = sorted(images.items(), key=lambda one: -len(one[1]))
        for intercept, some in others:
            if CONFUSED_HU[0] <= abs(intercept - most) <= CONFUSED_HU[1]:
                message = (
                    f"Rescale Intercept is {intercept:g} in {_of(some, headers)}, and {most:g} in "
                    f"{_of(usual, headers)} that are stored alike"
                )
                raise MixedUnits(message, advice=ORIGINALS)


def _span(header: Header) -> tuple[float, float]:
    """Return the lowest and the highest value that a pixel can have."""
    units, bits = header.units, header.pixels.bits_stored
    assert units.slope is not None
    assert units.intercept is not None
    assert bits is not None
    is_signed = header.pixels.representation == 1
    ends = (-(1 << bits - 1), (1 << bits - 1) - 1) if is_signed else (0, (1 << bits) - 1)
    one, other = (end * units.slope + units.intercept for end in ends)
    return min(one, other), max(one, other)


def _impossible_span(header: Header) -> str:
    """Return why the rescale cannot lead to HU; a tool may write 1 and 0 as a lost rescale."""
    low, high = _span(header)
    slope = header.units.slope or 0
    if low >= 0:
        return f"no pixel can be below {low:g}, while air has {AIR_HU:g}"
    if high - low < LEAST_SPAN_HU:
        return f"all pixels lie between {low:g} and {high:g}"
    return f"Rescale Slope is {slope:g}" if abs(slope) > STEEPEST else ""


def _check_one_unit(headers: Sequence[Header], *, are_ct: bool) -> None:
    present = dict(_IN_ALL_OR_NONE)
    if not are_ct:
        present["Rescale Type"] = lambda header: bool(header.units.rescale_type)
    for attribute, is_present in present.items():
        without = [header for header in headers if not is_present(header)]
        if 0 < len(without) < len(headers):
            message = f"{_count(without, headers)} images have no {attribute}{named(without)}"
            raise MixedUnits(f"{message}, and the others have one", advice=ORIGINALS)
    for attribute, values in (
        ("Rescale Types", {header.units.rescale_type for header in headers} - {""}),
        ("units of the Real World Value Mapping", {h.units.real_world for h in headers}),
        ("Units", {header.units.unit for header in headers}),
    ):
        if len(values) > 1:
            message = f"the images have {len(values)} different {attribute}"
            raise MixedUnits(message, advice="Send each kind of image as its own series.")


def _of(some: Sequence[Header], headers: Sequence[Header]) -> str:
    return f"{_count(some, headers)} images{named(some)}"


def _count(some: Sequence[Header], headers: Sequence[Header]) -> str:
    return f"{len(some)} of {len(headers)}"


def named(headers: Sequence[Header]) -> str:
    """Return the instance numbers, or frame numbers, of the images in brackets."""
    are_frames = headers[0].frame is not None
    numbers = [h.frame if are_frames else h.instance_number for h in headers]
    known = sorted(number for number in numbers if number is not None)
    if not known:
        return ""
    more = ", …" if len(known) > MOST_NAMED else ""
    listed = ", ".join(str(number) for number in known[:MOST_NAMED])
    return f" ({'frame' if are_frames else 'instance number'} {listed}{more})"
