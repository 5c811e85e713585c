"""Each condition compares its attribute; an absent one never matches; a list means any of."""

from typing import Any

import msgspec
import pytest

from node.arrival import SeriesFindings, facts_of, mismatch
from node.config import load_text

SERIES = SeriesFindings(series_uid="1.2", modality="MR", plane="axial", headers=20)
TEXTS = {
    key: key
    for key in (
        "study_description", "series_description", "protocol_name", "sequence_name",
        "contrast_agent", "manufacturer", "station_name", "body_part",
    )
} | {"description": "protocol_name"}  # fmt: skip


def reason(condition: str, **values: Any) -> str | None:
    """Return why a series with `values` does not match a rule with one condition."""
    (rule,) = load_text(f"rules: [{{name: a, use: none, when: {{{condition}}}}}]").rules
    findings = msgspec.structs.replace(SERIES, **values)
    return mismatch(rule.when, facts_of(findings, "CT01"))


@pytest.mark.parametrize(("key", "attribute"), TEXTS.items())
def test_a_text_condition_compares_its_attribute_alone(key: str, attribute: str) -> None:
    condition = f"{key}: [nothing, sample]"
    name = key.replace("_", " ")
    assert reason(condition, **{attribute: "A Sample text"}) is None
    assert reason(condition, **{attribute: ""}) == f"{name} is absent"
    others = dict.fromkeys(TEXTS.values(), "sample")
    mismatch = reason(condition, **others | {attribute: "Doe^Jane", "series_description": ""})
    if key != "series_description":
        assert mismatch == f"{name} does not match 'nothing' or 'sample'", (
            "the value is not repeated"
        )


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("patient_age: '>= 18 y'", {"patient_age_years": 45.0}, None),
        ("patient_age: '>= 18 y'", {"patient_age_years": 17.0}, "patient age is not at least 18 y"),
        ("patient_age: '>= 18 y'", {}, "patient age is absent"),
        ("image_type: [MIP, NORM]", {"image_type": "ORIGINAL\\PRIMARY\\M\\NORM"}, None),
        ("image_type: SOM5", {"image_type": "ORIGINAL\\PRIMARY\\CT_SOM5 SEQ"}, None),
        ("image_type: PRIMARY M", {"image_type": "ORIGINAL\\PRIMARY\\M"},
         "image type does not match 'PRIMARY M'"),
        ("image_type: M", {}, "image type is absent"),
        ("contrast_agent: /./", {"contrast_agent": "Gd"}, None),
        ("contrast_agent: /./", {}, "contrast agent is absent"),
        ("modality: [CT, MR]", {}, None),
        ("modality: CT", {"modality": ""}, "modality is absent, not CT"),
        ("plane: [axial, coronal]", {}, None),
        ("plane: [sagittal, coronal]", {}, "plane is axial, not sagittal or coronal"),
        ("plane: sagittal", {"plane": None}, None),  # broken geometry makes it unsuitable
        ("caller: [MR09, CT01]", {}, None),
        ("caller: [MR09, MR10]", {}, "sent by CT01, not MR09 or MR10"),
        ("slices: '>= 40'", {}, "number of slices is 20, not at least 40"),
    ],
)  # fmt: skip
def test_a_condition_with_a_list_means_any_of(
    condition: str, values: dict[str, Any], expected: str | None
) -> None:
    assert reason(condition, **values) == expected
