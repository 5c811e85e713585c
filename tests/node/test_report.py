"""The measurement report: the study of the SEG, one group per segment, correct volumes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom.dataset import Dataset

from node.caveats import NOTHING_DETECTED, Caveat, CaveatCode
from node.imaging import Labels
from node.package import Package
from node.package.manifest import Interval, Metrics
from node.report import ReportedResult, encode_report
from node.seg import Encoding, to_bytes
from node.volumes import rounded
from tests.support.phantoms import Phantom, package
from tests.support.segs import CREATED, encode_again, result


def groups(item: Dataset) -> list[Dataset]:
    items = []
    for child in item.get("ContentSequence", []):
        name = child.get("ConceptNameCodeSequence", [None])[0]
        if name is not None and name.CodeValue == "125007":
            items.append(child)
        items += groups(child)
    return items


def comments(report: Dataset) -> list[str]:
    """Return the comments at the top level of a report."""
    return [
        str(child.TextValue)
        for child in report.ContentSequence
        if child.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]


def content(group: Dataset, code: str) -> Any:
    for child in group.ContentSequence:
        if child.ConceptNameCodeSequence[0].CodeValue == code:
            return child
    raise AssertionError(code)


@pytest.mark.parametrize("phantom", [Phantom(), Phantom(segments=1)])
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_every_segment_has_its_volume(tmp_path: Path, phantom: Phantom, kind: str) -> None:
    r = result(tmp_path, phantom, Encoding(kind="labelmap" if kind == "labelmap" else "binary"))
    report = r.report()
    measurements = groups(report)
    assert len(measurements) == len(r.package.manifest.segments)
    for group, segment in zip(measurements, r.package.manifest.segments, strict=True):
        measured = content(group, "118565006").MeasuredValueSequence[0]
        voxels = int((r.labels.array == segment.number).sum())
        assert float(measured.NumericValue) == pytest.approx(
            voxels * 3.0 * 1.25 * 1.5 / 1000, rel=5e-3
        )
        assert measured.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
        reference = content(group, "121191").ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == r.seg.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.number
        described = next(s for s in r.seg.SegmentSequence if s.SegmentNumber == segment.number)
        assert described.TrackingUID == content(group, "112040").UID


def test_it_belongs_to_the_study_and_is_unverified(tmp_path: Path) -> None:
    r = result(tmp_path)
    report = r.report()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "Manufacturer"):
        assert report[keyword].value == r.seg[keyword].value
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert report.SeriesInstanceUID != r.seg.SeriesInstanceUID
    assert report.SeriesNumber == r.seg.SeriesNumber + 1
    assert (
        report.SeriesDescription
        == "AI volumes phantom-mr 0.1 small of 3 T1 axia - not for diagnosis"
    )
    assert report.SpecificCharacterSet == "ISO_IR 192"


def test_an_empty_result_has_volumes_of_zero(tmp_path: Path) -> None:
    r = result(tmp_path)
    nothing = Labels(np.zeros_like(r.labels.array), r.labels.grid)
    seg = encode_again(r.series, nothing, r.package)
    report = replace(r, seg=seg).report(labels=nothing)
    values = [content(g, "118565006").MeasuredValueSequence[0].NumericValue for g in groups(report)]
    assert values == [0, 0]
    presence = [content(g, "705057003").ConceptCodeSequence[0].CodeMeaning for g in groups(report)]
    assert presence == ["Not detected"] * 2


def test_caveats_are_comments(tmp_path: Path) -> None:
    caveats = (NOTHING_DETECTED, Caveat(CaveatCode.REPAIRED, "Header repaired: StudyID"))
    report = result(tmp_path).report(caveats=caveats)
    assert comments(report)[:2] == [caveat.text for caveat in caveats]


def test_it_states_model_accuracy_and_purpose(tmp_path: Path) -> None:
    r = result(tmp_path)
    metrics = Metrics(cases=12, dice=Interval(mean=0.876, ci=(0.86, 0.89)), dice_per_segment={})
    manifest = msgspec.structs.replace(r.package.manifest, metrics={"small": metrics})
    measured = Package(manifest, r.package.folder, r.package.digest)
    for model, accuracy in (
        (measured, "Dice 0.88 (0.86 to 0.89) on 12"),
        (r.package, "not meas"),
    ):
        report = r.report(package=model, engine="openvino", why="fits the deadline")
        model_text, measured_as, purpose = comments(report)[-3:]
        assert "phantom-mr/0.1, size small, engine openvino (fits the deadline)" in model_text
        assert accuracy in measured_as
        assert "not for diagnosis" in purpose


def with_sides(folder: Path) -> Package:
    first, second = package(folder).manifest.segments
    sides = [
        msgspec.structs.replace(first, label="Left hippocampus"),
        msgspec.structs.replace(second, label="Right hippocampus"),
    ]
    return package(folder, sides)


def test_sides_and_sums_are_compared(tmp_path: Path) -> None:
    r = result(tmp_path / "sides")
    volumes = r.labels.volumes_ml((1, 2))
    text = comments(r.report(package=with_sides(tmp_path)))[0]
    assert text.startswith(
        f"Hippocampus: left {rounded(volumes[1])} ml, right {rounded(volumes[2])}"
    )
    assert f"sum {rounded(volumes[1] + volumes[2])} ml" in text
    (parts, *_) = comments(r.report())
    assert parts == f"Hippocampus, sum: {rounded(volumes[1] + volumes[2])} ml"


def test_a_cut_structure_is_marked_where_its_volume_is_compared(tmp_path: Path) -> None:
    r = result(tmp_path / "sides")
    caveats = (Caveat(CaveatCode.CUT, "Cut by the field of view", ("Right hippocampus",)),)
    ml = [rounded(volume) for volume in r.labels.volumes_ml((1, 2)).values()]
    text = comments(r.report(package=with_sides(tmp_path), caveats=caveats))[1]
    assert text.startswith(f"Hippocampus: left {ml[0]} ml, right {ml[1]} ml (cut), sum ")
    assert " ml (cut), left - right " in text
    caveats = (Caveat(CaveatCode.CUT, "Cut by the field of view", ("Hippocampus",)),)
    assert comments(r.report(caveats=caveats))[1].endswith(" ml (cut)")


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    r = result(tmp_path)
    a, b = (to_bytes(r.report()) for _ in range(2))
    assert a == b


def test_a_time_without_zone_is_refused(tmp_path: Path) -> None:
    r = result(tmp_path)
    reported = ReportedResult(r.series, r.labels, r.package, "small")
    with pytest.raises(ValueError, match="time zone"):
        encode_report(reported, r.seg, created=CREATED.replace(tzinfo=None))
