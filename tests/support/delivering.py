"""An object in the outbox and its delivery in the queue, without any segmentation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydicom
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from node import queue, schema
from node.config import Config, DataConfig, Target
from node.dicom.uids import BINARY_SEG_CLASS
from node.package.folder import file_digest
from node.queue import DeliverPayload, Job, NewDelivery
from node.sender.peer import Patience
from node.states import Kind, State
from tests.support.rows import SEGMENTED, T0, a_segment_job, an_arrival

PATIENT = Patience(connect_s=60.0, associate_s=60.0, answer_s=60.0, confirm_after_s=(0.0, 0.05))
HASTY = replace(PATIENT, associate_s=2.0, answer_s=2.0)  # for peers that never respond


def at(port: int, ae: str = "PEER", **changes: Any) -> Target:
    """Return a target on loopback."""
    return Target(ae=ae, host="127.0.0.1", port=port, **changes)


def states(post: "Post") -> dict[str, tuple[State, str]]:
    """Return state and code of each target's delivery."""
    return {job.target: (job.state, job.code) for job in queue.list_jobs(post.engine) if job.target}


def an_object(data: Path, target: str, number: int = 1) -> DeliverPayload:
    """Write a small SEG-like object into the outbox."""
    dataset = Dataset()
    dataset.SOPClassUID = BINARY_SEG_CLASS
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["instance", str(number)])
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study", str(number)])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=["series", str(number)])
    dataset.PatientID, dataset.PatientName, dataset.Modality = "P", "Canary^Wünsch", "SEG"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = BINARY_SEG_CLASS
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    name = f"outbox/{number}/seg.dcm"
    path = data / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return DeliverPayload(
        file=name,
        sha256=file_digest(path),
        size_bytes=path.stat().st_size,
        sop_class_uid=str(BINARY_SEG_CLASS),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        study_uid=str(dataset.StudyInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        target=target,
    )


@dataclass(frozen=True)
class Post:
    """The parts of a node that its sender needs."""

    config: Config
    engine: sa.Engine

    def add(self, *targets: str, number: int = 1) -> list[Job]:
        """Queue one object for each target."""
        queue.record_arrival(self.engine, an_arrival(number), a_segment_job(number), T0)
        job = queue.claim(self.engine, Kind.SEGMENT, "w", T0, 30.0)
        assert job is not None
        deliveries = [
            NewDelivery(target=t, payload=an_object(self.config.data.dir, t, number))
            for t in targets
        ]
        return queue.finish_segment(self.engine, job, SEGMENTED, deliveries, T0)

    def make_due(self) -> None:
        """Make all jobs due, as if their delays had passed."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(schema.jobs).values(not_before=T0))

    def renew(self) -> None:
        """Set the queue time of all jobs to now, by the wall clock."""
        with self.engine.begin() as connection:
            now = sa.text("CAST(strftime('%s', 'now') AS REAL)")
            connection.execute(sa.update(schema.jobs).values(queued_at=now))


def make_post(folder: Path, **targets: Target) -> Post:
    """Create the database and folders that a sender needs."""
    config = Config(data=DataConfig(dir=folder / "data"), targets=targets)
    return Post(config, schema.open_configured(config.data))
