"""A rehearsal: a reference case through the whole chain, before a study comes.

The first task of a process pays for imports, tables, the opened network and fresh memory, which
the next ones find there: 1 to 2 seconds on a whole head. Nobody waits for them after a rehearsal.
Runs in the child; what is rehearsed, the segmenter says.
"""

import datetime
import hashlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from node import measured, package
from node.config import Config
from node.errors import NodeError
from node.imaging import nifti
from node.measured import choose
from node.package import uses
from node.package.folder import file_digest
from node.seg import Encoding, SegIdentity
from node.segmenter.messages import RehearsalRequest, Rehearsed, SegmentRequest
from node.segmenter.work import segment_series
from node.series.compose import Labelling, compose

MOST = 2  # networks that stay open, see `node.segmenter.work`
FOLDER = "rehearsal"  # below the data folder


def rehearsals(config: Config, compiled: Path, identity: SegIdentity) -> Iterator[RehearsalRequest]:
    """Yield what the first rules with a model would run on their reference cases.

    Raises:
        NodeError: a package is not there, or was altered.
    """
    known = measured.known(config.data, measured.here(config.limits.threads))
    seen: set[tuple[str, str, str]] = set()
    for use in uses(config):
        reference = use.package.folder / use.package.manifest.reference.image
        choice = choose(use, nifti.read_volume(reference).grid, known)
        key = (use.package.digest, choice.size, choice.engine)
        if key in seen or len(seen) == MOST:
            continue
        seen.add(key)
        yield RehearsalRequest(
            package=str(use.package.folder),
            digest=use.package.digest,
            size=choice.size,
            engine=choice.engine,
            compiled=str(compiled),
            identity=identity,
            folder=str(config.data.dir / FOLDER),
        )


def rehearse(said: RehearsalRequest, threads: int) -> Rehearsed:
    """Segment the reference case, and leave nothing behind; whatever goes wrong is only told."""
    begun = time.monotonic()
    folder = Path(said.folder)
    shutil.rmtree(folder, ignore_errors=True)
    problem = ""
    try:
        segment_series(_task(said, folder), threads, lambda *_: None)
    except (NodeError, OSError, MemoryError) as error:
        problem = str(error) or type(error).__name__
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Rehearsed(time.monotonic() - begun, problem)


def _task(said: RehearsalRequest, folder: Path) -> SegmentRequest:
    manifest = package.load(Path(said.package)).manifest
    volume = nifti.read_volume(Path(said.package) / manifest.reference.image)
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    files = compose(volume, folder, Labelling(modality=manifest.input.modality), now).files
    digests = "\n".join(file_digest(path) for path in files)
    return SegmentRequest(
        job=0,
        folder=str(folder),
        files=tuple(path.name for path in files),
        inputs_digest=hashlib.sha256(digests.encode()).hexdigest(),
        package=said.package,
        package_digest=said.digest,
        size=said.size,
        encodings=(Encoding(),),
        identity=said.identity,
        created_at=now.timestamp(),
        outbox=str(folder / "out"),
        engine=said.engine,
        compiled=said.compiled,
    )
