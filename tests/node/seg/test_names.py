"""Results of one study are distinguished by number, description and label."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.package import Package
from node.package.manifest import Interval, Metrics
from node.seg.names import (
    content_label,
    segment_description,
    series_description,
    series_number,
)
from node.series import Header
from tests.support.phantoms import package


def source(**changes: Any) -> Header:
    filled: dict[str, Any] = {
        "path": Path("a.dcm"),
        "sop_instance_uid": "1.2.3",
        "sop_class_uid": "1.2",
        "study_uid": "1.4",
        "series_uid": "1.5",
        "patient_digest": "",
        "series_number": 3,
        "series_description": "T1 MPRAGE",
    }
    return Header(**(filled | changes))


def test_two_results_of_a_study_have_two_numbers_and_descriptions(tmp_path: Path) -> None:
    model, sources = package(tmp_path), [source(), source(series_number=4)]
    numbers = {series_number(one, kind) for one in sources for kind in ("binary", "labelmap")}
    assert len(numbers | {number + 1 for number in numbers}) == 8, "each report has one too"
    assert len({series_description(model, "small", one) for one in sources}) == 2
    assert len({content_label(model, one) for one in sources}) == 2


@pytest.mark.parametrize("number", [None, -1, 10_000, 2_000_000_000])
def test_a_number_that_is_absent_or_huge_is_left_out(tmp_path: Path, number: int | None) -> None:
    one = source(series_number=number)
    assert series_number(one, "binary") == 90_001
    assert content_label(package(tmp_path), one) == "PHANTOM_MR"


@pytest.mark.parametrize("text", ["", "T1", "Kopf nüchtern", "a\\b  c" * 20, "T1 \N{SNOWMAN}\n"])
def test_descriptions_are_valid_texts(tmp_path: Path, text: str) -> None:
    model = package(tmp_path)
    longest = msgspec.structs.replace(model.manifest, task="a-very-long-name-of-a-task-" * 3)
    for one in (model, Package(longest, tmp_path, model.digest)):
        description = series_description(one, "teacher", source(series_description=text))
        assert len(description) <= 60
        assert description.isascii()
        assert description.isprintable()
        assert "\\" not in description
        assert description.startswith("AI SEG ")
        assert description.endswith(" - not for diagnosis")
        label = content_label(one, source())
        assert len(label) <= 16
        assert set(label) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _")


def test_a_segment_states_its_accuracy(tmp_path: Path) -> None:
    model = package(tmp_path)
    segment = model.manifest.segments[0]
    assert "Dice" not in segment_description(segment, model, "small")
    dice = Interval(mean=0.876, ci=(0.86, 0.89))
    metrics = Metrics(cases=12, dice=dice, dice_per_segment={segment.label: dice})
    manifest = msgspec.structs.replace(model.manifest, metrics={"small": metrics})
    text = segment_description(segment, Package(manifest, tmp_path, model.digest), "small")
    assert text.startswith(segment.label)
    assert "Dice 0.88 (0.86 to 0.89) on 12 held-out cases" in text
