"""How one image turns stored values into units: rescale, modality LUT, real-world values.

Guarantee: a value that is absent or unreadable is None or empty, never guessed.
"""

import re

import msgspec
from pydicom.dataset import Dataset

from node.series.values import code, items, number, text

HU = "HU"
# as some write HU, in upper case and without brackets
HU_NAMES = frozenset({HU, "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS", "HNSFU", "HNSF'U"})
# a unit of one value, such as "10^-6 MM^2/S"; messages repeat it
UNIT = re.compile(r"[A-Z0-9\u00b5\u039c\u00b2 _^*/%.,()\[\]{}'+-]{1,16}")
UNIT_NAMES = ("CodeValue", "LongCodeValue", "CodeMeaning")


class Units(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of one image that give its stored values a unit."""

    has_slope: bool = False  # present, though perhaps unreadable
    has_intercept: bool = False
    slope: float | None = None
    intercept: float | None = None
    rescale_type: str = ""
    has_modality_lut: bool = False
    real_world: tuple[str, ...] = ()  # unit codes of the real-world value mappings
    unit: str = ""  # Units (0054,1001) of PET

    @property
    def has_rescale(self) -> bool:
        """Whether slope and intercept are usable numbers."""
        return self.slope not in (None, 0) and self.intercept is not None


def units_of(dataset: Dataset, rescale: Dataset, mapping: Dataset) -> Units:
    """Read the unit attributes of one image or frame.

    Args:
        dataset: the whole instance.
        rescale: the dataset or functional group with Rescale Slope and Intercept.
        mapping: the dataset or frame groups with the Real World Value Mapping Sequence.
    """
    return Units(
        has_slope=bool(text(rescale, "RescaleSlope")),
        has_intercept=bool(text(rescale, "RescaleIntercept")),
        slope=number(rescale, "RescaleSlope"),
        intercept=number(rescale, "RescaleIntercept"),
        rescale_type=_type(rescale),
        has_modality_lut=bool(items(rescale, "ModalityLUTSequence")),
        real_world=tuple(
            sorted(
                next(filter(None, (text(units, name) for name in UNIT_NAMES)), "unknown")
                for item in items(mapping, "RealWorldValueMappingSequence")
                for units in items(item, "MeasurementUnitsCodeSequence")[:1] or [Dataset()]
            )
        ),
        unit=code(dataset, "Units"),
    )


def _type(rescale: Dataset) -> str:
    """Return the Rescale Type in upper case; "unknown" for a value that is no unit."""
    written = text(rescale, "RescaleType").strip().upper()
    if " ".join(written.strip("[]()").replace("_", " ").split()) in HU_NAMES:
        return HU
    return written if not written or UNIT.fullmatch(written) else "unknown"
