"""Segment a reference case before a study arrives, so that the child is warm.

The first request of a process takes 1 to 2 seconds longer on a whole head, for imports, tables, the
network and fresh memory. `rehearsals` runs in the segmenter, `rehearse` in its child. A study that
arrives meanwhile ends the rehearsal at its next step, because it warms the child as well.
"""

import datetime
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
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

MOST = 2  # as many networks stay open, see `node.segmenter.work`
FOLDER = "rehearsal"  # below the data folder


class _InterruptedError(Exception):
    """A study arrived."""


def rehearsals(
    config: Config, compiled: Path, identity: SegIdentity, sizes: Mapping[tuple[str, str], str]
) -> Iterator[RehearsalRequest]:
    """Yield a request for each of the first sizes and engines that rules would run.

    `sizes` are the chosen ones of rules with `size: auto`, by rule and task.

    Raises:
        NodeError: a package is missing or altered.
    """
    measurements = measured.read(config.data, measured.this_host(config.limits.threads))
    yielded: set[tuple[str, str, str]] = set()
    for use in uses(config):
        reference = use.package.folder / use.package.manifest.reference.image
        named = measured.with_size(use, sizes.get(use.key))
        choice = choose(named, nifti.read_volume(reference).grid, measurements)
        key = (use.package.digest, choice.size, choice.engine)
        if key in yielded or len(yielded) == MOST:
            continue
        yielded.add(key)
        yield RehearsalRequest(
            package=str(use.package.folder),
            digest=use.package.digest,
            size=choice.size,
            engine=choice.engine,
            compiled=str(compiled),
            identity=identity,
            folder=str(config.data.dir / FOLDER),
        )


def rehearse(
    request: RehearsalRequest, threads: int, may_continue: Callable[[], bool] = lambda: True
) -> Rehearsed:
    """Segment the reference case, remove all files; return an error as a message.

    Args:
        request: the package and its network.
        threads: number of computing threads.
        may_continue: called at each step; the rehearsal ends there when it returns False.
    """
    begin = time.monotonic()
    folder = Path(request.folder)
    shutil.rmtree(folder, ignore_errors=True)
    problem, is_interrupted = "", False

    def progress(_stage: str, _share: float) -> None:
        if not may_continue():
            raise _InterruptedError

    try:
        progress("", 0.0)
        segment_series(_segment_request(request, folder), threads, progress)
    except _InterruptedError:
        is_interrupted = True
    except (NodeError, OSError, MemoryError) as error:
        problem = str(error) or type(error).__name__
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Rehearsed(time.monotonic() - begin, problem, is_interrupted)


def _segment_request(request: RehearsalRequest, folder: Path) -> SegmentRequest:
    manifest = package.load(Path(request.package)).manifest
    volume = nifti.read_volume(Path(request.package) / manifest.reference.image)
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    files = compose(volume, folder, Labelling(modality=manifest.input.modality), now).files
    digests = "\n".join(file_digest(path) for path in files)
    return SegmentRequest(
        job=0,
        folder=str(folder),
        files=tuple(path.name for path in files),
        inputs_digest=hashlib.sha256(digests.encode()).hexdigest(),
        package=request.package,
        package_digest=request.digest,
        size=request.size,
        encodings=(Encoding(),),
        identity=request.identity,
        created_at=now.timestamp(),
        outbox=str(folder / "out"),
        engine=request.engine,
        compiled=request.compiled,
    )
