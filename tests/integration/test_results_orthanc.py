"""Each kind of result, stored in a real PACS by the sender and read back from it."""

import io
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.events import Event

from node import durable, rtstruct
from node.config import Target
from node.dicom.uids import RTSTRUCT_CLASS
from node.encoding import chosen_encoding
from node.package.folder import file_digest
from node.queue import DeliverPayload, DeliverResult
from node.seg import to_bytes
from node.sender.peer import Peer
from node.sender.store import deliver
from tests.support.delivering import PATIENT, at
from tests.support.orthanc import Orthanc, needs_orthanc, started
from tests.support.phantoms import Phantom
from tests.support.segs import result
from tests.support.targets import FIND, scripted_target

pytestmark = [pytest.mark.orthanc, needs_orthanc]
ODD = Phantom(shape=(11, 21, 15))  # rows x columns is no multiple of 8


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    with started(Orthanc(tmp_path / "orthanc")) as running:
        yield running


def delivered(dataset: Dataset, folder: Path, pacs: Orthanc) -> DeliverResult:
    return sent(dataset, folder, at(pacs.dicom_port, pacs.ae))


def sent(dataset: Dataset, folder: Path, target: Target) -> DeliverResult:
    """Write a result into an outbox and send it, as the sender does."""
    path = folder / "outbox" / "result.dcm"
    path.parent.mkdir(exist_ok=True)
    durable.write(path, to_bytes(dataset))
    payload = DeliverPayload(
        file="outbox/result.dcm",
        sha256=file_digest(path),
        size_bytes=path.stat().st_size,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_uid=str(dataset.StudyInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        target="pacs",
    )
    return deliver(Peer("pacs", target, "SEGNODE", PATIENT), payload, path)


def test_with_auto_each_frame_of_an_odd_matrix_is_served(pacs: Orthanc, tmp_path: Path) -> None:
    encoding = chosen_encoding("auto", ODD.shape, empty_frames=False)
    r = result(tmp_path, ODD, encoding)
    assert delivered(r.seg, tmp_path, pacs).confirmed_by == "query"
    (instance,) = pacs.get("/instances")
    voxels = r.seg.pixel_array
    for number in range(ODD.shape[0]):
        shown = pacs.get(f"/instances/{instance}/frames/{number}/numpy")
        np.testing.assert_array_equal(np.load(io.BytesIO(shown))[..., 0], voxels[number])


def test_as_binary_a_frame_of_an_odd_matrix_is_not_served(pacs: Orthanc, tmp_path: Path) -> None:
    """The reason for `auto`: viewers that request frame after frame get none."""
    r = result(tmp_path, ODD, chosen_encoding("binary", ODD.shape, empty_frames=False))
    assert int(r.seg.NumberOfFrames) * 21 * 15 % 8
    assert delivered(r.seg, tmp_path, pacs).confirmed_by == "query"
    (instance,) = pacs.get("/instances")
    with pytest.raises(urllib.error.HTTPError):
        pacs.get(f"/instances/{instance}/frames/0/numpy")


def test_contours_are_stored_and_read_back(pacs: Orthanc, tmp_path: Path) -> None:
    r = result(tmp_path, ODD)
    assert delivered(r.rtstruct(), tmp_path, pacs).confirmed_by == "query"
    (series,) = pacs.series("RTSTRUCT")
    (file,) = pacs.files_of(series, tmp_path / "received")
    rtstruct.verify(file, r.series, r.labels, r.package.manifest.segments)


def test_contours_reach_a_target_that_takes_explicit_vr_only(tmp_path: Path) -> None:
    received: list[Dataset] = []

    def keep(event: Event) -> int:
        received.append(event.dataset)
        return 0x0000

    contours = result(tmp_path, ODD).rtstruct()
    contexts = (RTSTRUCT_CLASS, FIND)
    explicit = (ExplicitVRLittleEndian,)
    with scripted_target(store=keep, contexts=contexts, syntaxes=explicit) as peer:
        delivery = sent(contours, tmp_path, at(peer.port))
    assert "Explicit VR" in delivery.note
    (there,) = received
    assert there.ROIContourSequence == contours.ROIContourSequence


def test_a_picture_is_stored_and_shown(pacs: Orthanc, tmp_path: Path) -> None:
    r = result(tmp_path, ODD)
    picture = r.picture()
    assert delivered(picture, tmp_path, pacs).confirmed_by == "query"
    (instance,) = pacs.get("/instances")
    with Image.open(io.BytesIO(pacs.get(f"/instances/{instance}/preview"))) as shown:
        assert shown.size == (picture.Columns, picture.Rows)
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), picture.pixel_array)
