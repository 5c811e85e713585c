"""Statuses of C-STORE and what each means for a delivery."""

import pytest
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from node.errors import PeerBusy, RefusedByTarget
from node.sender import statuses
from node.sender.statuses import Meaning, StoreStatus


@pytest.mark.parametrize(
    ("code", "meaning", "name"),
    [
        (0x0000, Meaning.STORED, "SUCCESS (0x0000)"),
        (0x0111, Meaning.STORED, "DUPLICATE_INSTANCE (0x0111)"),
        (0xB000, Meaning.WARNED, "COERCED (0xB000)"),
        (0xB006, Meaning.WARNED, "ELEMENTS_DISCARDED (0xB006)"),
        (0xB007, Meaning.WARNED, "WARNED_MISMATCH (0xB007)"),
        (0xB123, Meaning.WARNED, "UNKNOWN (0xB123)"),
        (0x0001, Meaning.WARNED, "UNKNOWN (0x0001)"),
        (0xA700, Meaning.BUSY, "OUT_OF_RESOURCES (0xA700)"),
        (0xA7FF, Meaning.BUSY, "OUT_OF_RESOURCES (0xA7FF)"),
        (0x0110, Meaning.BUSY, "PROCESSING_FAILURE (0x0110)"),
        (0xA900, Meaning.REFUSED, "MISMATCH (0xA900)"),
        (0xA9AA, Meaning.REFUSED, "MISMATCH (0xA9AA)"),
        (0xC000, Meaning.REFUSED, "CANNOT_UNDERSTAND (0xC000)"),
        (0xCFFF, Meaning.REFUSED, "CANNOT_UNDERSTAND (0xCFFF)"),
        (0x0122, Meaning.REFUSED, "CLASS_NOT_SUPPORTED (0x0122)"),
        (0x0124, Meaning.REFUSED, "NOT_AUTHORISED (0x0124)"),
        (0xD000, Meaning.REFUSED, "UNKNOWN (0xD000)"),
        (0xFFFF, Meaning.REFUSED, "UNKNOWN (0xFFFF)"),
    ],
)
def test_a_status_has_a_meaning_and_a_name(code: int, meaning: Meaning, name: str) -> None:
    assert statuses.meaning(code) is meaning
    assert statuses.name(code) == name


@pytest.mark.parametrize("status", StoreStatus)
def test_every_status_is_one_of_the_standard(status: StoreStatus) -> None:
    assert status in STORAGE_SERVICE_CLASS_STATUS
    category = code_to_category(int(status))
    is_stored = statuses.meaning(status) in (Meaning.STORED, Meaning.WARNED)
    assert is_stored == (category in ("Success", "Warning") or status == 0x0111)


def test_a_failure_of_the_standard_never_counts_as_success() -> None:
    failures = [c for c in STORAGE_SERVICE_CLASS_STATUS if code_to_category(c) == "Failure"]
    assert len(failures) > 4000
    for code in set(failures) - {StoreStatus.DUPLICATE_INSTANCE}:
        error = statuses.error("pacs", code)
        assert isinstance(error, PeerBusy | RefusedByTarget)
        assert f"0x{code:04X}" in str(error)


def test_a_refusal_has_advice() -> None:
    for code in (0x0122, 0x0124, 0xC123, 0xA900, 0xDEAD):
        error = statuses.error("pacs", code)
        assert isinstance(error, RefusedByTarget)
        assert error.advice
