"""Segment one series without a child process, and encode the messages between the processes."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pydicom.dataset import Dataset

from node import queue
from node.caveats import NOTHING_DETECTED, CaveatCode
from node.errors import (
    BadPackage,
    Defect,
    ImplausibleResult,
    MissingSlice,
    OutOfMemory,
    WrongModality,
)
from node.package.manifest import Expected, Range
from node.pipes import Ready, encode
from node.process import Failed, as_child_error
from node.seg import Encoding
from node.segmenter import messages
from node.segmenter.messages import Done, SegmentRequest, Stage
from node.segmenter.requests import request_of
from node.segmenter.work import PREVIEW, file_name, segment_series, write_preview
from tests.support.packages import NAMES, make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.segmenting import ONE_MM, PACS, VIEWER, Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def request_for(site: Site, job_id: int) -> SegmentRequest:
    job = queue.get(site.engine, job_id)
    return request_of(site.config, job, job.segment_payload())


def no_progress(stage: str, share: float) -> None:
    """Ignore the progress."""


def segmented(request: SegmentRequest) -> Done:
    return segment_series(request, 1, no_progress).done


def test_the_volumes_of_a_phantom_are_its_true_volumes(site: Site) -> None:
    scan, job_id = site.add_series()
    done = segmented(request_for(site, job_id))
    counts = np.bincount(scan.labels.ravel(), minlength=3)
    assert list(done.volumes_ml.values()) == pytest.approx(counts[1:] / 1000)
    (seg,) = done.objects
    assert {"read", "network", "encode", "write", "verify"} <= done.seconds.keys()
    assert [path.name for path in Path(request_for(site, job_id).outbox).iterdir()] == [seg.name]


def test_the_same_request_gives_the_same_bytes(site: Site) -> None:
    _, job_id = site.add_series(targets=(PACS, VIEWER))
    first, second = (segmented(request_for(site, job_id)).objects for _ in range(2))
    assert first == second
    assert len({scan.sop_instance_uid for scan in first}) == 2


def test_targets_with_the_same_encoding_share_one_object(site: Site) -> None:
    archive = msgspec.structs.replace(PACS, name="archive")
    _, job_id = site.add_series(targets=(PACS, archive, VIEWER))
    assert request_for(site, job_id).encodings == (Encoding(), Encoding(kind="labelmap"))


def test_every_encoding_has_its_own_file() -> None:
    encodings = [
        Encoding(kind=kind, omit_empty_frames=omit)
        for kind in ("binary", "labelmap")
        for omit in (True, False)
    ]
    assert len({file_name(encoding) for encoding in encodings}) == 4


def test_an_unsuitable_series_leaves_no_files(site: Site) -> None:
    _, gap = site.add_series(1, Phantom(drop=(5,)))
    _, ct = site.add_series(2, Phantom(modality="CT"))
    for job_id, kind in ((gap, MissingSlice), (ct, WrongModality)):
        with pytest.raises(kind):
            segmented(request_for(site, job_id))
        assert not Path(request_for(site, job_id).outbox).exists()


def test_an_implausible_result_leaves_no_files(tmp_path: Path) -> None:
    scan = make(tmp_path / "try", ONE_MM)
    inside_ml = float((scan.labels == 1).sum()) / 1000
    for number, factor in enumerate((0.9, 1.1)):
        around = Range(low=inside_ml * factor * 0.95, high=inside_ml * factor * 1.05)
        expect = (Expected(what="the cube", segments=(1,), ml=around),)
        site = make_site(tmp_path / str(number), expect=expect)
        _, job_id = site.add_series()
        with pytest.raises(ImplausibleResult, match="the cube"):
            segmented(request_for(site, job_id))
        assert not Path(request_for(site, job_id).outbox).exists()


def test_segments_at_the_edge_of_the_images_are_named(site: Site) -> None:
    _, whole = site.add_series(1)
    assert segmented(request_for(site, whole)).caveats == ()
    scan, cut = site.add_series(2, replace(ONE_MM, drop=tuple(range(6, 12))))
    at_edge = sorted({int(n) for n in np.unique(scan.labels[-1])} - {0})
    assert at_edge, "the phantom is cut through its middle"
    (caveat,) = segmented(request_for(site, cut)).caveats
    assert caveat.code is CaveatCode.CUT
    assert caveat.text.endswith(": " + ", ".join(NAMES[n - 1] for n in at_edge))


def test_an_empty_result_of_derived_images_is_noted(site: Site) -> None:
    def empty(dataset: Dataset, _z: int) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.ImageType = ["DERIVED", "SECONDARY", "MPR"]

    _, plain = site.add_series(1)
    assert segmented(request_for(site, plain)).caveats == ()
    _, job_id = site.add_series(2, replace(ONE_MM, change=empty))
    nothing, derived = segmented(request_for(site, job_id)).caveats
    assert derived.code is CaveatCode.DERIVED
    assert "reformatted" in derived.text
    assert nothing == NOTHING_DETECTED


def test_another_package_than_the_planned_one_is_refused(site: Site) -> None:
    _, job_id = site.add_series(package_digest="0" * 64)
    with pytest.raises(BadPackage, match="plan"):
        segmented(request_for(site, job_id))


def test_missing_images_are_a_defect(site: Site) -> None:
    scan, job_id = site.add_series()
    scan.paths[3].unlink()
    with pytest.raises(Defect, match="1 of 12 images"):
        segmented(request_for(site, job_id))


def test_each_stage_is_reported_when_it_starts(site: Site) -> None:
    _, job_id = site.add_series()
    stages: list[str] = []
    segment_series(request_for(site, job_id), 1, lambda stage, _: stages.append(stage))
    assert list(dict.fromkeys(stages)) == [
        "package",
        "read",
        "segment",
        "encode",
        "write",
        "verify",
    ]


def test_messages_survive_encoding(site: Site) -> None:
    _, job_id = site.add_series()
    sent = request_for(site, job_id)
    assert messages.read_request(encode(sent)) == sent
    for message in (Ready(), Stage("read", 0.5), Failed("defect", "x", "y"), segmented(sent)):
        line = encode(message)
        assert messages.read_message(line) == message
        assert line.count(b"\n") == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), OutOfMemory),
        (RuntimeError("std::bad_alloc"), OutOfMemory),
        (RuntimeError("Failed to allocate memory for requested buffer"), OutOfMemory),
        (ZeroDivisionError("CANARY"), Defect),
        (MissingSlice("slice 3 cannot allocate"), MissingSlice),
    ],
)
def test_an_error_of_a_library_gets_a_class_and_loses_its_text(
    error: Exception, kind: type[Exception]
) -> None:
    child_error = as_child_error(error)
    assert type(child_error) is kind
    assert "CANARY" not in str(child_error)


def test_the_tiny_package_has_the_requested_sizes(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path, sizes=("large", "tiny"), version="2.0", ballast=4)
    assert (package.name, list(package.manifest.sizes)) == ("tiny-mr/2.0", ["large", "tiny"])


def test_a_picture_lies_beside_the_objects(site: Site) -> None:
    _, job_id = site.add_series()
    request = request_for(site, job_id)
    write_preview(request, segment_series(request, 1, no_progress))
    (picture,) = Path(request.outbox).glob("*.png")
    assert picture.name == PREVIEW
    assert picture.read_bytes()[:4] == b"\x89PNG"
