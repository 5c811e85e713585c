"""Titles of Key Object Selection documents that reject objects (IHE IOCM; PS3.16 CID 7010)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Title(NamedTuple):
    """A coded document title; the coding scheme is DCM."""

    code: str
    meaning: str


# by the word that a person types
REJECTIONS: Mapping[str, Title] = MappingProxyType(
    {
        "quality": Title("113001", "Rejected for Quality Reasons"),
        "patient-safety": Title("113037", "Rejected for Patient Safety Reasons"),
        "worklist": Title("113038", "Incorrect Modality Worklist Entry"),
        "retention": Title("113039", "Data Retention Policy Expired"),
    }
)
REJECTING_CODES = {title.code: title.meaning for title in REJECTIONS.values()}
