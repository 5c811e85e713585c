"""What kind of image a header describes: a slice, or a picture that is no slice of a volume.

Words inside the values of Image Type count, because manufacturers put the kind of a derived image
into one value with other words, such as "CT_SOM5 MIP". Derivation codes (DICOM CID 7203) count too.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from node.dicom.uids import SECONDARY_CAPTURE_CLASS
from node.series.header import Header

DERIVED = "DERIVED"


class Kind(StrEnum):
    """Kinds of images that are no slices of a volume; the values are error codes too."""

    SECONDARY_CAPTURE = "secondary-capture"
    LOCALIZER = "localizer"
    PROJECTION = "projection"
    SUBTRACTION = "subtraction"
    PARAMETRIC_MAP = "parametric-map"
    THICK_SLAB = "thick-slab"


# words and phrases of Image Type values; a space stands for any separator
WORDS: dict[Kind, str] = {
    Kind.SECONDARY_CAPTURE: "SCREEN SAVE|SCREEN ?SHOT|SCREENSAVE|SCREEN CAPTURE|CAPTURED?|DOSE INFO"
    "|DOSE REPORT|VXTL STATE|PATIENT PROTOCOL|CT SOM\\d+ PROT|CSA RESULT|SNAPSHOT|HARD ?COPY",
    Kind.LOCALIZER: "LOCALI[SZ]ERS?|SCOUT|SCANO(GRAM|SCOPE)?|TOPOGRAM|SURVIEW|SURVEY"
    "|CT SOM\\d+ TOP",
    # MIP of Siemens and Philips, MNIP of Siemens, MAX IP of Canon, COLLAPSE and PJN of GE
    Kind.PROJECTION: "[A-Z]*MIP[A-Z0-9]*|MAX ?IP\\d*|MI?N ?IP\\d*|(MAX|MIN)(IMUM)?( INTENSITY)?"
    "|PROJECTIONS?|3D PROJ|PROJ|PJN|COLLAPSED?|RAY ?SUM|SUM IP|DRR"
    "|VRT|VR|SSD|VOL ?REND?(ER|ERED|ERING)?|VOLUME REND(ER|ERED|ERING)"
    "|CSA 3D EDITOR|SURFACE REND(ER|ERED|ERING)|REND(ER|ERED|ERING)|CPR|CURVED( MPR)?|CMPR"
    "|MPVR|STRAIGHTENED|PANO(RAMIC)?|VIRTUAL ENDOSCOPY|FLY ?THROUGH",
    Kind.SUBTRACTION: "SUB|[A-Z]*SUBTRACT(ED|ION)?|DSA|DIFFERENCE",
    Kind.PARAMETRIC_MAP: "[A-Z0-9 ]*MAPS?|E?ADC|FA|TENSOR|DIFFUSION (ANISO|ATTNTD)"
    "|(R|REL|CORR)?(CBF|CBV|MTT|TTP)|TMAX|TTD|BLOOD (FLOW|VOLUME)|KTRANS|IAUG?C|PERMEABILITY"
    "|WASH ?(IN|OUT)|IODINE|IOD|MAT (SPECIFIC|FRACTIONAL|VALUE BASED)|MATERIAL( DENSITY)?"
    "|EFF ATOMIC NUM|Z ?EFF(ECTIVE)?|ELECTRON DENSITY|RHO ?Z?|URIC ACID|(FAT|WATER) FRACTION|PDFF"
    "|R2 ?STAR|VELOCITY|^PHASE$|STIFFNESS|ELASTOGRAPHY|FMRI|ACTIVATION|Z ?SCORE|FUSED|FUSION"
    "|QUANTITY|STD ?DEV(IATION)?|DIVISION|PBV|TIME TO PEAK|MEAN TRANSIT TIME|COL ?FA|^R[12]$|VNCA"
    "|XENON|VENTILATION",
    Kind.THICK_SLAB: "AVERAGED?( ?IP)?|AVG|AVE|A?V(G|E)? ?IP|AIP|MEAN( ?IP)?|[A-Z]*THICK|SLAB",
}
DERIVED_WORDS: dict[Kind, str] = {  # of derived images only: originals may be named so too
    Kind.PARAMETRIC_MAP: "PERFUSION|^FF$",
}
REFORMAT = "C?MPR(THIN)?|REFORMAT(TED)?|RESAMPLED|RESLICED?|MULTI ?PLANAR( RECON)?"
DERIVATIONS: dict[str, Kind] = {  # CID 7203
    "113041": Kind.PARAMETRIC_MAP, "113044": Kind.PARAMETRIC_MAP, "113046": Kind.PARAMETRIC_MAP,
    "113048": Kind.PROJECTION, "113049": Kind.THICK_SLAB, "113050": Kind.PARAMETRIC_MAP,
    "113051": Kind.PROJECTION, "113062": Kind.SUBTRACTION, "113073": Kind.PROJECTION,
    "113074": Kind.PROJECTION, "113075": Kind.PROJECTION, "113076": Kind.PARAMETRIC_MAP,
    "113078": Kind.PROJECTION, "113079": Kind.PROJECTION, "129104": Kind.PARAMETRIC_MAP,
    "129105": Kind.PARAMETRIC_MAP, "129106": Kind.PARAMETRIC_MAP,
}  # fmt: skip
MR_PHASE = "P"  # value 3 of Image Type of an MR phase image, as Siemens writes it


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(f"(?<![A-Z0-9])({words})(?![A-Z0-9])")


_KINDS = [(kind, _pattern(words)) for kind, words in WORDS.items()]
_DERIVED_KINDS = [(kind, _pattern(words)) for kind, words in DERIVED_WORDS.items()]
_REFORMAT = _pattern(REFORMAT)


def kind_of(header: Header) -> tuple[Kind | None, str]:
    """Return the kind of an image and the word or code that states it; None for a slice."""
    # the multi-frame variants of Secondary Capture are numbered below it
    if f"{header.sop_class_uid}.".startswith(f"{SECONDARY_CAPTURE_CLASS}."):
        return Kind.SECONDARY_CAPTURE, "SOP class"
    values = [_words(value) for value in header.image_type]
    patterns = [*_KINDS, *(_DERIVED_KINDS if DERIVED in header.image_type else ())]
    for kind, pattern in patterns:
        for value in values:
            if match := pattern.search(value):
                return kind, match[0]
    for derivation in header.derivations:
        if derivation in DERIVATIONS:
            return DERIVATIONS[derivation], f"derivation {derivation}"
    if header.modality == "MR" and _is_phase(header):
        return Kind.PARAMETRIC_MAP, "PHASE"
    return None, ""


def derived_as(headers: Sequence[Header]) -> str:
    """Return how the images were derived, in words; empty if all are original."""
    derived = [header for header in headers if _is_derived(header)]
    if not derived:
        return ""
    is_reformat = any(_REFORMAT.search(_words(v)) for h in derived for v in h.image_type)
    kind = "reformatted" if is_reformat else "derived"
    count = "all" if len(derived) == len(headers) else f"{len(derived)} of {len(headers)}"
    return f"{count} source images are {kind}, not original"


def _is_derived(header: Header) -> bool:
    return DERIVED in header.image_type[:1] or any(
        _REFORMAT.search(_words(value)) for value in header.image_type
    )


def _is_phase(header: Header) -> bool:
    return header.complex_component == "PHASE" or MR_PHASE in header.image_type[2:3]


def _words(value: str) -> str:
    """Separate the words of a value by single spaces: underscores and hyphens are separators."""
    return " ".join(re.split(r"[^A-Z0-9]+", value)).strip()
