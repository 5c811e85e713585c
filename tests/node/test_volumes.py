"""Volumes of paired structures stand side by side, each once."""

from typing import Any

import pytest

from node.volumes import cut_structures, pairs_of, table

BRAIN = {
    "Left hippocampus": 3.0,
    "Right hippocampus": 3.3,
    "Brain stem": 20.0,
    "Left amygdala": 0.0,
    "Right amygdala": 0.0,
    "Left kidney": 100.0,
}


def test_sides_sum_and_difference_stand_in_one_row() -> None:
    head, rows = table(BRAIN, {"The brain": 1250.4})
    assert head == ("structure", "ml", "left", "right", "left - right")
    assert rows == [
        ("Hippocampus", "6.30", "3.00", "3.30", "-0.300 (10%)"),
        ("Brain stem", "20.0", "", "", ""),
        ("Amygdala", "0", "0", "0", "0"),
        ("Left kidney", "100", "", "", ""),
        ("The brain, sum", "1250", "", "", ""),
    ]


def test_a_volume_that_the_field_of_view_cuts_is_marked() -> None:
    cut = {"Left hippocampus", "Brain stem", "The brain"}
    _, rows = table(BRAIN, {"The brain": 1250.4, "The stem": 20.0}, cut)
    assert rows[0] == ("Hippocampus", "6.30 (cut)", "3.00 (cut)", "3.30", "-0.300 (10%)")
    assert rows[1] == ("Brain stem", "20.0 (cut)", "", "", "")
    assert rows[4:] == [
        ("The brain, sum", "1250 (cut)", "", "", ""),
        ("The stem, sum", "20.0", "", "", ""),
    ]


def test_a_recorded_result_names_what_is_cut() -> None:
    recorded: list[dict[str, Any]] = [
        {"code": "age", "text": "…"},
        {"code": "cut", "structures": ["Liver"]},
    ]
    assert cut_structures(recorded) == {"Liver"}


def test_without_pairs_there_are_two_columns() -> None:
    head, rows = table({"Liver": 1500.0}, {})
    assert (head, rows) == (("structure", "ml"), [("Liver", "1500")])


@pytest.mark.parametrize(("left", "right", "expected"), [(2.0, 1.0, "+1.00 (67%)"), (1, 1, "0")])
def test_the_difference_has_a_sign(left: float, right: float, expected: str) -> None:
    (pair,) = pairs_of({"Left eye": left, "Right eye": right})
    assert pair.difference.startswith(expected)
