"""Which series gets which model, and the reason when none does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pydicom
import pytest
from pydicom.uid import generate_uid

from node.arrival import Decision, findings_of, plan
from node.config import Config, load_text
from node.package import Use, load
from node.series import Header, read_headers
from node.series.units import Units
from node.states import ArrivalOutcome
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, make

RULES = """
targets: {pacs: {ae: PACS, host: h}}
model: {size: small}
rules:
- name: never
  when: {modality: MR, description: "/^scout/"}
  use: none
- name: heads
  when: {modality: MR, body_part: [head, brain], slices: ">= 4"}
  use: tiny-mr
  size: teacher
  send_to: [pacs]
  priority: 7
"""


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Header, ...]:
    scan = make(tmp_path_factory.mktemp("series"), Phantom())
    return tuple(header for path in scan.paths for header in read_headers(path))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_package(folder)
    return folder


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Header:
    """Return a localizer of the same series: sagittal, coarse, and of another modality."""

    def change(dataset: pydicom.Dataset, _z: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.SOPInstanceUID = generate_uid()
        dataset.Modality = "OT"

    scout = Phantom(plane="sagittal", spacing_mm=(3, 4, 4), shape=(1, 20, 16), change=change)
    scan = make(tmp_path_factory.mktemp("localizer"), scout)
    return read_headers(scan.paths[0])[0]


def changed(headers: tuple[Header, ...], **values: Any) -> tuple[Header, ...]:
    return tuple(msgspec.structs.replace(header, **values) for header in headers)


def decide(headers: tuple[Header, ...], models: Path, rules: str = RULES) -> Decision:
    config: Config = load_text(rules, base=models.parent)
    package = load(models / "tiny-mr/1.0")
    uses = {
        r.name: Use(r.name, package, r.size or config.model.size)
        for r in config.rules
        if r.use != "none"
    }
    return plan(findings_of(headers), "CT01", config.rules, uses)


HEAD = {"modality": "MR", "body_part": "HEAD", "series_description": "T1", "protocol_name": ""}


def test_the_first_rule_that_matches_wins(headers: tuple[Header, ...], models: Path) -> None:
    decision = decide(changed(headers, **HEAD), models)
    assert decision.outcome is ArrivalOutcome.PLANNED
    assert (decision.rule, decision.size, decision.priority, decision.send_to) == (
        "heads",
        "teacher",
        7,
        ("pacs",),
    )
    assert decision.package is not None
    assert decision.grid is not None


def test_a_rule_may_say_that_nothing_is_done(headers: tuple[Header, ...], models: Path) -> None:
    decision = decide(changed(headers, **HEAD | {"series_description": "Scout 3pl"}), models)
    assert (decision.outcome, decision.rule) == (ArrivalOutcome.NO_RULE, "never")
    assert "never" in decision.reason


@pytest.mark.parametrize("use", ["none", "tiny-mr, send_to: [pacs, pacs]"])
def test_the_reasons_of_earlier_rules_are_kept(
    headers: tuple[Header, ...], models: Path, use: str
) -> None:
    rules = RULES + f"- {{name: rest, use: {use}}}\n"
    decision = decide(changed(headers, **HEAD | {"body_part": "KNEE"}), models, rules)
    assert (decision.rule, decision.send_to) == ("rest", () if use == "none" else ("pacs",))
    assert [one.rule for one in decision.earlier] == ["never", "heads"]
    assert "body part" in decision.earlier[1].reason


def test_no_match_says_why_for_every_rule(headers: tuple[Header, ...], models: Path) -> None:
    decision = decide(changed(headers, **HEAD | {"body_part": "KNEE"}), models)
    assert decision.outcome is ArrivalOutcome.NO_RULE
    assert "never: description does not match" in decision.reason
    assert "heads: body part does not match" in decision.reason
    assert decision.advice


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ("modality: CT", "modality is MR, not CT"),
        ("caller: MR09", "sent by CT01, not MR09"),
        ("plane: coronal", "plane is axial, not coronal"),
        ("slices: '>= 4000'", "number of slices is"),
        ("slice_spacing: 100..200 mm", "slice spacing is"),
        ("pixel_spacing: <= 0.001 mm", "pixel spacing is"),
    ],
)
def test_each_condition_can_exclude(
    headers: tuple[Header, ...], models: Path, condition: str, reason: str
) -> None:
    rules = f"rules: [{{name: a, use: none, when: {{{condition}}}}}]"
    decision = decide(changed(headers, **HEAD), models, rules)
    assert decision.code == "no-rule"
    assert reason in decision.reason


@pytest.mark.parametrize("modality", ["SEG", "SR", "PR", "RTSTRUCT"])
def test_results_are_never_segmented(
    headers: tuple[Header, ...], models: Path, modality: str
) -> None:
    rules = RULES.replace('modality: MR, body_part: [head, brain], slices: ">= 4"', "")
    decision = decide(changed(headers[:1], modality=modality), models, rules)
    assert decision.outcome is ArrivalOutcome.NO_RULE
    assert "results" in decision.reason


def test_broken_geometry_is_named_and_not_hidden_behind_no_rule(
    headers: tuple[Header, ...], models: Path
) -> None:
    broken = changed(headers, **HEAD)
    decision = decide((*broken[:3], *broken[4:]), models)
    assert (decision.outcome, decision.code) == (ArrivalOutcome.UNSUITABLE, "missing-slice")
    assert decision.rule == "heads"


def test_outside_the_models_range_is_refused_with_the_numbers(
    headers: tuple[Header, ...], models: Path
) -> None:
    rules = RULES.replace("modality: MR, body", "body")
    hounsfield = Units(has_slope=True, has_intercept=True, slope=1.0, intercept=-1024.0)
    ct = HEAD | {"modality": "CT", "units": hounsfield}
    decision = decide(changed(headers, **ct), models, rules)
    assert (decision.outcome, decision.code) == (ArrivalOutcome.UNSUITABLE, "wrong-modality")


@pytest.mark.parametrize("originals_only", [True, False])
def test_a_package_may_take_original_images_only(
    headers: tuple[Header, ...], models: Path, originals_only: bool
) -> None:
    package = load(models / "tiny-mr/1.0")
    accepted = msgspec.structs.replace(package.manifest.input, originals_only=originals_only)
    manifest = msgspec.structs.replace(package.manifest, input=accepted)
    use = Use("heads", replace(package, manifest=manifest), "small")
    derived = changed(headers, **HEAD | {"image_type": ("DERIVED", "SECONDARY", "MPR")})
    rules = load_text(RULES, base=models.parent).rules
    for images, code in ((changed(headers, **HEAD), ""), (derived, "derived-input")):
        decision = plan(findings_of(images), "CT01", rules, {"heads": use})
        assert decision.code == (code if originals_only else "")


def test_two_patients_in_one_series_are_held(headers: tuple[Header, ...], models: Path) -> None:
    mixed = changed(headers, **HEAD)
    decision = decide((*changed(mixed[:1], patient_digest="other"), *mixed[1:]), models)
    assert (decision.outcome, decision.code) == (ArrivalOutcome.HELD, "conflicting-instances")


AXIAL = (
    RULES
    + """
- name: fine
  when: {modality: MR, plane: axial, pixel_spacing: <= 2 mm}
  use: tiny-mr
  send_to: [pacs]
"""
)


@pytest.mark.parametrize("drop", [0, 1], ids=["whole", "with a gap"])
def test_a_localizer_that_is_left_out_decides_nothing(
    headers: tuple[Header, ...], localizer: Header, models: Path, drop: int
) -> None:
    """The inbox lists files by digests: a localizer may come first."""
    rules = AXIAL.replace("body_part: [head, brain]", "body_part: knee")
    images = tuple(sorted(headers, key=lambda header: header.position_mm or ()))
    images = images[:5] + images[5 + drop :]
    decisions = [
        decide(several, models, rules)
        for several in (images, (localizer, *images), (*images, localizer))
    ]
    assert {(d.rule, d.code) for d in decisions} == {("fine", "missing-slice" if drop else "")}
