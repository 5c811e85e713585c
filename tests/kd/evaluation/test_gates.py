"""Gates: which reports open them, and what each unmet requirement names."""

import msgspec
import pytest

from kd.errors import BadRecipe
from kd.evaluation import gates
from kd.recipe.choices import Gates
from kd.recipe.read import Recipe
from kd.records import Report, VolumeAgreement
from node.package.manifest import SizeName
from tests.support.kd_phantoms import recipe as phantoms
from tests.support.kd_reports import accuracy, external, report, size

GATES = Gates(dice={"small": 0.89}, retention={"small": 0.99}, non_inferior=("small",))
AWAY = Gates(external={"Another scanner": {"small": 0.97, "tiny": 0.9}})


def measured(lost: float, subjects: int = 20) -> Report:
    """Return the report of a student whose teacher is better by `lost`."""
    return report({"teacher": size(has_teacher=False), "small": size(lost)}, subjects)


def away(lost: dict[SizeName, float]) -> Report:
    """Return a report in which sizes lose so much of the teacher's Dice on another scanner."""
    sizes = {name: accuracy(loss) for name, loss in lost.items()}
    others = external("Another scanner", sizes)
    return msgspec.structs.replace(measured(0.0), external=(others,))


def test_a_good_student_passes_every_gate() -> None:
    assert gates.failures(GATES, measured(lost=0.002)) == []


def test_a_worse_student_fails_every_gate_by_name() -> None:
    failed = gates.failures(GATES, measured(lost=0.02))
    assert len(failed) == 5
    assert all(sentence.startswith("small: ") for sentence in failed)


def test_a_gate_is_checked_on_the_external_set_that_it_names() -> None:
    assert gates.failures(AWAY, away({"small": 0.01, "tiny": 0.05})) == []
    (low,) = gates.failures(AWAY, away({"small": 0.1, "tiny": 0.05}))
    assert low.startswith("small: retention on Another scanner is 0.8889")
    (missing,) = gates.failures(AWAY, away({"small": 0.01}))
    assert missing.startswith("tiny: ")
    assert missing.endswith("was not measured")


def test_an_external_set_that_was_not_measured_opens_no_gate() -> None:
    (missing,) = gates.failures(AWAY, measured(lost=0.0))
    assert missing.startswith("Another scanner was not measured")


def test_a_gate_on_an_unknown_external_set_is_refused_with_the_recipe() -> None:
    chosen = msgspec.to_builtins(phantoms())
    chosen["gates"]["external"] = {"Mars": {"small": 0.9}}
    with pytest.raises(BadRecipe, match="'Mars'"):
        msgspec.convert(chosen, Recipe)
    chosen["external"] = [{"name": "Mars", "images": "i", "labels": "l"}]
    assert msgspec.convert(chosen, Recipe).gates.external["Mars"] == {"small": 0.9}


def biased(percent: float | None) -> Report:
    """Return a report in which the bright ball's volume is off by `percent` on another scanner."""
    volume = VolumeAgreement(bias=1.0, low=0.0, high=2.0, percent=percent)
    measured_there = msgspec.structs.replace(accuracy(), volume_ml={"Bright ball": volume})
    others = external("Another scanner", {"small": measured_there})
    return msgspec.structs.replace(measured(0.0), external=(others,))


def test_a_bias_of_a_volume_is_bounded_on_both_sides() -> None:
    chosen = Gates(volume_bias={"Another scanner": {"Bright ball": 5.0}})
    for percent in (-5.0, 0.0, 4.9):
        assert gates.failures(chosen, biased(percent)) == []
    expected = "small: volume bias of Bright ball on Another scanner is"
    assert gates.failures(chosen, biased(5.1)) == [f"{expected} +5.1 %, beyond 5 %"]
    assert gates.failures(chosen, biased(-31.0)) == [f"{expected} -31.0 %, beyond 5 %"]


def test_a_bias_that_was_not_measured_opens_no_gate() -> None:
    chosen = Gates(volume_bias={"Another scanner": {"Bright ball": 5.0}})
    (missing,) = gates.failures(chosen, biased(None))
    assert missing == "small: volume bias of Bright ball on Another scanner was not measured"
    (missing,) = gates.failures(chosen, measured(0.0))
    assert missing.startswith("Another scanner was not measured")


def test_a_gate_on_an_unknown_structure_is_refused_with_the_recipe() -> None:
    chosen = msgspec.to_builtins(phantoms())
    chosen["external"] = [{"name": "Mars", "images": "i", "labels": "l"}]
    chosen["gates"]["volume_bias"] = {"Mars": {"Cortex": 5}}
    with pytest.raises(BadRecipe, match="'Cortex'"):
        msgspec.convert(chosen, Recipe)
    chosen["gates"]["volume_bias"] = {"Venus": {"Bright ball": 5}}
    with pytest.raises(BadRecipe, match="'Venus'"):
        msgspec.convert(chosen, Recipe)
    chosen["gates"]["volume_bias"] = {"Mars": {"Bright ball": 5}}
    assert msgspec.convert(chosen, Recipe).gates.volume_bias["Mars"] == {"Bright ball": 5}


def test_of_few_subjects_no_student_is_called_not_inferior() -> None:
    (missing,) = gates.failures(GATES, measured(lost=0.0, subjects=9))
    assert missing.startswith("small: ")
    assert "10 subjects, there are 9" in missing


def test_a_number_that_was_not_measured_opens_no_gate() -> None:
    chosen = Gates(dice={"tiny": 0.1}, non_inferior=("teacher",))
    failed = gates.failures(chosen, measured(0.0))
    assert failed[0] == "tiny: mean Dice was not measured"
    assert len(failed) == 4
