"""Derived UIDs: valid, short, and another for other parts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.dicom.uids import derive_uid

VALID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
ROOTS = st.sampled_from(["2.25", "1.2", "1.2.826.0.1.3680043.9.7433", "1." + "2" * 38])


@given(ROOTS, st.lists(st.text(max_size=20), max_size=5))
def test_every_uid_is_valid_and_under_its_root(root: str, parts: list[str]) -> None:
    uid = derive_uid(root, *parts)
    assert VALID.fullmatch(uid)
    assert len(uid) <= 64
    assert uid.startswith(f"{root}.")
    assert uid == derive_uid(root, *parts)


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_other_parts_give_another_uid(a: list[str], b: list[str]) -> None:
    assert (derive_uid("2.25", *a) == derive_uid("2.25", *b)) == (a == b)


def test_where_parts_end_matters() -> None:
    assert derive_uid("2.25", "ab", "c") != derive_uid("2.25", "a", "bc")


@given(st.text())
def test_a_uid_below_2_25_is_a_uuid(part: str) -> None:
    number = int(derive_uid("2.25", part).removeprefix("2.25."))
    assert number < 1 << 128
    assert number >> 76 & 0xF == 8  # the version for hashes
    assert number >> 62 & 0x3 == 2  # the variant of RFC 9562


@pytest.mark.parametrize("root", ["", "1", "1.", "1.02", "x.1", "3.1", "1.2 ", "1." + "2" * 60])
def test_no_root_no_uid(root: str) -> None:
    with pytest.raises(ValueError, match="no UID root"):
        derive_uid(root, "x")
