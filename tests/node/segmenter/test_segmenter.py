"""The child's work without its process, and what the two sides say to each other."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from node import queue
from node.errors import (
    BadPackage,
    Defect,
    ImplausibleResult,
    MissingSlice,
    OutOfMemory,
    WrongModality,
)
from node.package.manifest import Expected, Range
from node.seg import Encoding
from node.segmenter import messages
from node.segmenter.child import explained
from node.segmenter.loop import request_of
from node.segmenter.messages import Done, Failed, Ready, SegmentRequest, Stage
from node.segmenter.work import file_name, segment_series
from tests.support.packages import NAMES, make_tiny_package
from tests.support.phantoms import Phantom, make
from tests.support.segmenting import ONE_MM, PACS, VIEWER, Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def task(site: Site, job_id: int) -> SegmentRequest:
    job = queue.get(site.engine, job_id)
    return request_of(site.config, job, job.segment_payload())


def unheard(stage: str, share: float) -> None:
    """Nobody listens to how far it is."""


def do(task: SegmentRequest) -> Done:
    return segment_series(task, 1, unheard).done


def test_a_phantom_comes_out_as_its_own_truth(site: Site) -> None:
    made, job_id = site.add_series()
    done = do(task(site, job_id))
    counts = np.bincount(made.labels.ravel(), minlength=3)
    assert list(done.volumes_ml.values()) == pytest.approx(counts[1:] / 1000)
    (seg,) = done.objects
    assert {"read", "network", "encode", "write", "verify"} <= done.seconds.keys()
    assert [path.name for path in Path(task(site, job_id).outbox).iterdir()] == [seg.name]


def test_doing_it_twice_makes_the_same_bytes(site: Site) -> None:
    _, job_id = site.add_series(targets=(PACS, VIEWER))
    first, second = (do(task(site, job_id)).objects for _ in range(2))
    assert first == second
    assert len({made.sop_instance_uid for made in first}) == 2


def test_targets_with_the_same_encoding_share_one_object(site: Site) -> None:
    twin = msgspec.structs.replace(PACS, name="archive")
    _, job_id = site.add_series(targets=(PACS, twin, VIEWER))
    assert task(site, job_id).encodings == (Encoding(), Encoding(kind="labelmap"))


def test_every_encoding_has_its_own_file() -> None:
    all_of_them = [
        Encoding(kind=kind, omit_empty_frames=omit)
        for kind in ("binary", "labelmap")
        for omit in (True, False)
    ]
    assert len({file_name(encoding) for encoding in all_of_them}) == 4


def test_a_series_that_is_unsuitable_leaves_nothing(site: Site) -> None:
    _, gap = site.add_series(1, Phantom(drop=(5,)))
    _, ct = site.add_series(2, Phantom(modality="CT"))
    for job_id, kind in ((gap, MissingSlice), (ct, WrongModality)):
        with pytest.raises(kind):
            do(task(site, job_id))
        assert not Path(task(site, job_id).outbox).exists()


def test_a_result_that_no_patient_can_have_leaves_nothing(tmp_path: Path) -> None:
    made = make(tmp_path / "try", ONE_MM)
    inside_ml = float((made.labels == 1).sum()) / 1000
    for number, factor in enumerate((0.9, 1.1)):
        around = Range(low=inside_ml * factor * 0.95, high=inside_ml * factor * 1.05)
        expect = (Expected(what="the cube", segments=(1,), ml=around),)
        site = make_site(tmp_path / str(number), expect=expect)
        _, job_id = site.add_series()
        with pytest.raises(ImplausibleResult, match="the cube, as found, has"):
            do(task(site, job_id))
        assert not Path(task(site, job_id).outbox).exists()


def test_what_reaches_the_edge_of_the_images_is_named(site: Site) -> None:
    _, whole = site.add_series(1)
    assert do(task(site, whole)).cut == ()
    made, cut = site.add_series(2, replace(ONE_MM, drop=tuple(range(6, 12))))
    wanted = sorted({int(n) for n in np.unique(made.labels[-1])} - {0})
    assert wanted, "the phantom is cut through its middle"
    assert do(task(site, cut)).cut == tuple(NAMES[n - 1] for n in wanted)


def test_another_package_than_the_planned_one_is_not_run(site: Site) -> None:
    _, job_id = site.add_series(package_digest="0" * 64)
    with pytest.raises(BadPackage, match="not the one that this series was planned with"):
        do(task(site, job_id))


def test_images_that_are_gone_are_a_defect(site: Site) -> None:
    made, job_id = site.add_series()
    made.paths[3].unlink()
    with pytest.raises(Defect, match="1 of 12 images are no longer in the inbox"):
        do(task(site, job_id))


def test_each_stage_is_told_before_it_begins(site: Site) -> None:
    _, job_id = site.add_series()
    told: list[str] = []
    segment_series(task(site, job_id), 1, lambda stage, _: told.append(stage))
    assert list(dict.fromkeys(told)) == ["package", "read", "segment", "encode", "write", "verify"]


def test_messages_come_back_as_they_went(site: Site) -> None:
    _, job_id = site.add_series()
    sent = task(site, job_id)
    assert messages.read_request(messages.encode(sent)) == sent
    for said in (Ready(), Stage("read", 0.5), Failed("defect", "x", "y"), do(sent)):
        line = messages.encode(said)
        assert messages.read_message(line) == said
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
def test_a_librarys_error_is_named_and_its_text_is_not_kept(
    error: Exception, kind: type[Exception]
) -> None:
    found = explained(error)
    assert type(found) is kind
    assert "CANARY" not in str(found)


def test_the_tiny_package_has_the_sizes_that_were_asked_for(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path, sizes=("large", "tiny"), version="2.0", ballast=4)
    assert (package.name, list(package.manifest.sizes)) == ("tiny-mr/2.0", ["large", "tiny"])
