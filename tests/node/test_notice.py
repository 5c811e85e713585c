"""The notice that a series was not segmented: its study, its words, and one series per task."""

import datetime
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from node.notice import DISCLAIMER, encode_notice
from node.seg import SegIdentity, to_bytes
from tests.support.phantoms import Phantom, make

CREATED = datetime.datetime(2026, 11, 30, 12, 0, tzinfo=datetime.UTC)
IDENTITY = SegIdentity(
    manufacturer="segnode", model_name="segnode", serial="SEGNODE", software_version="1"
)
REASON = "slice 7 of 12 is missing"


@pytest.fixture
def source(tmp_path: Path) -> Dataset:
    tags = {"SeriesNumber": 3, "SeriesDescription": "T1 MPRAGE", "PatientSex": "X"}
    return pydicom.dcmread(make(tmp_path / "s", Phantom(tags=tags)).paths[0])


def notice_of(source: Dataset, package: str = "tiny-mr/1.0", digest: str = "d") -> Dataset:
    return encode_notice(
        source, package, REASON, inputs_digest=digest, created=CREATED, identity=IDENTITY
    )


def test_a_notice_belongs_to_the_study_and_repeats_the_reason(source: Dataset) -> None:
    notice = notice_of(source)
    for keyword in ("StudyInstanceUID", "PatientName", "PatientID", "AccessionNumber"):
        assert notice[keyword].value == source[keyword].value
    assert notice.PatientSex == "", "the header is repaired as that of a result"
    assert notice.SeriesDescription == "AI notice tiny-mr: not segmented"
    section = notice.ContentSequence[-1].ContentSequence
    texts = [str(item.TextValue) for item in section if item.ValueType == "TEXT"]
    assert texts == [
        "Not segmented by tiny-mr/1.0: series 3 T1 MPRAGE. Slice 7 of 12 is missing.",
        DISCLAIMER,
    ]
    assert [item.UID for item in section if item.ValueType == "UIDREF"] == [
        source.SeriesInstanceUID
    ]


def test_the_same_inputs_give_the_same_notice_and_one_series_per_task(source: Dataset) -> None:
    first = notice_of(source)
    assert to_bytes(first) == to_bytes(notice_of(source))
    later, other = notice_of(source, digest="e"), notice_of(source, package="other/1.0")
    assert later.SOPInstanceUID != first.SOPInstanceUID
    assert later.SeriesInstanceUID == first.SeriesInstanceUID
    assert other.SeriesInstanceUID != first.SeriesInstanceUID
