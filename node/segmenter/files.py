"""Write the objects of a result: a file gets its final name only when it is complete."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom.dataset import Dataset

from node import durable, seg
from node.package.folder import file_digest
from node.pipeline import Stopwatch
from node.seg import Encoding
from node.segmenter.messages import OutboxObject, ResultKind


@contextmanager
def unpublished(final: Path, dataset: Dataset, clock: Stopwatch) -> Iterator[Path]:
    """Write a file that gets its final name only if the block does not raise.

    The temporary name is unique, because another segmenter may have taken over the job.
    """
    with ExitStack() as stack:
        with clock.stage("write"):
            content = seg.to_bytes(dataset)
            path = stack.enter_context(durable.temporary(final.parent, content))
        yield path
        durable.publish(path, final)


def described(
    final: Path, kind: ResultKind, encoding: Encoding | None, dataset: Dataset
) -> OutboxObject:
    """Return the description of a written file."""
    return OutboxObject(
        name=final.name,
        kind=kind,
        encoding=encoding,
        sha256=file_digest(final),
        size_bytes=final.stat().st_size,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
    )
