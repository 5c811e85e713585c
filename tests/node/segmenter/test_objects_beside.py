"""Contours and pictures beside the SEG: made once, and sent to the targets that request them."""

from pathlib import Path

import pydicom
import pytest

from node import queue
from node.dicom.uids import RTSTRUCT_CLASS, SECONDARY_CAPTURE_CLASS
from node.queue import Destination
from node.segmenter.loop import _results
from node.segmenter.requests import request_of
from node.segmenter.work import segment_series
from tests.support.segmenting import PACS, VIEWER, Site, make_site

PLANNING = Destination(name="planning", rtstruct=True)
STATION = Destination(name="station", picture=True, report=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def deliveries(site: Site, *targets: Destination) -> dict[str, list[str]]:
    """Segment a phantom; return the names of the objects for each target."""
    _, job_id = site.add_series(1, targets=targets)
    job = queue.get(site.engine, job_id)
    payload = job.segment_payload()
    request = request_of(site.config, job, payload)
    done = segment_series(request, 1, lambda _stage, _share: None).done
    names: dict[str, list[str]] = {}
    for delivery in _results(job, payload, done)[1]:
        path = site.config.data.dir / delivery.payload.file
        assert pydicom.dcmread(path).SOPInstanceUID == delivery.payload.sop_instance_uid
        names.setdefault(delivery.target, []).append(path.name)
    return names


def test_each_target_gets_what_it_requests(site: Site) -> None:
    assert deliveries(site, PACS, VIEWER, PLANNING, STATION) == {
        "pacs": ["seg-binary.dcm"],
        "viewer": ["seg-labelmap.dcm"],
        "planning": ["seg-binary.dcm", "rtstruct.dcm"],
        "station": ["seg-binary.dcm", "report-seg-binary.dcm", "picture.dcm"],
    }


def test_nothing_is_made_that_nobody_requests(site: Site) -> None:
    assert deliveries(site, PACS) == {"pacs": ["seg-binary.dcm"]}
    (folder,) = site.config.data.dir.glob("outbox/*")
    assert [path.name for path in folder.iterdir()] == ["seg-binary.dcm"]


def test_series_of_one_result_have_numbers_of_one_block(site: Site) -> None:
    deliveries(site, PLANNING, STATION)
    (folder,) = site.config.data.dir.glob("outbox/*")
    datasets = [pydicom.dcmread(path) for path in folder.iterdir()]
    assert len({str(dataset.SeriesInstanceUID) for dataset in datasets}) == 4
    assert len({int(dataset.SeriesNumber) for dataset in datasets}) == 4
    assert len({int(dataset.SeriesNumber) // 10 for dataset in datasets}) == 1
    classes = {dataset.SOPClassUID for dataset in datasets}
    assert {RTSTRUCT_CLASS, SECONDARY_CAPTURE_CLASS} <= classes
