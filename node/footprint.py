"""Measure time and memory of one size in a fresh process: `python -m node.footprint REQUEST`.

The process imports what the segmenter's child imports and sets the same limits, so its seconds and
its memory are the child's. It ends when its standard input ends, because its parent is gone then.
Used by `segnode models bench`, by the idle segmenter and by `kd release`.
"""

import logging
import statistics
import subprocess
import sys
import time
from math import prod
from pathlib import Path

import msgspec

from node import logs, package, pipes, report, seg, series  # noqa: F401 - part of the child's memory
from node.engines import ONNXRUNTIME
from node.errors import BadPackage, ChildKilled, NodeError
from node.imaging import Grid, Volume
from node.imaging.nifti import read_volume
from node.measured import workload
from node.package import Manifest, Package
from node.package.folder import MANIFEST
from node.pipeline import least_dice, may_run, open_student, segment
from node.process import (
    Failed,
    ProcessLimits,
    as_child_error,
    failed,
    limit_process,
    peak_mb,
)
from node.student import Student

REPEATS = 3  # after one run that warms up
log = logging.getLogger("node.footprint")


class FootprintRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The size and engine to measure; the only argument of the process."""

    folder: str  # of the package
    size: str
    engine: str = ONNXRUNTIME
    compiled: str = ""  # folder of compiled networks; empty: none are kept
    is_draft: bool = False  # a package before its release: digests and labels are not compared
    limits: ProcessLimits


class Footprint(msgspec.Struct, frozen=True, tag="footprint", kw_only=True):
    """Time and memory of one size; see `node.measured.Measurement`."""

    dice: float  # of the worst segment; of a draft 0
    open_s: float
    seconds: float
    patch_s: float
    voxel_s: float
    peak_mb: float
    arrays_mb: float


def command(request: FootprintRequest) -> list[str]:
    """Return the command of the process that measures `request`."""
    return [sys.executable, "-m", "node.footprint", msgspec.json.encode(request).decode()]


read_answer = msgspec.json.Decoder(Footprint | Failed).decode


def measure_and_wait(request: FootprintRequest) -> Footprint | Failed:
    """Measure in a fresh process, and wait for its end."""
    with subprocess.Popen(
        command(request), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:  # an open standard input keeps it alive
        assert process.stdout is not None
        output = process.stdout.read()
    if not output:
        return failed(ChildKilled(f"the measuring process ended with status {process.returncode}"))
    return read_answer(output)


def main() -> None:
    """Measure, and write the footprint or the error to the standard output."""
    request = msgspec.json.decode(sys.argv[1], type=FootprintRequest)
    output = pipes.private_output()
    limit_process(request.limits)
    logs.start("footprint", request.limits.log_level)
    pipes.listen(bytes)
    answer: Footprint | Failed
    try:
        answer = measure(request)
    except Exception as exc:  # the parent records any error as the result
        if not isinstance(exc, NodeError):
            log.exception("unexpected error", extra={"size": request.size})
        answer = failed(as_child_error(exc))
    pipes.send(output, answer)


def measure(request: FootprintRequest) -> Footprint:
    """Segment the reference case to warm up, then repeatedly, and then with four times the voxels.

    Raises:
        BadPackage: the labels differ from the reference labels.
    """
    chosen = _package(request)
    begin = time.perf_counter()
    compiled = Path(request.compiled) if request.compiled else None
    student = open_student(chosen, request.size, request.limits.threads, request.engine, compiled)
    open_s = time.perf_counter() - begin
    image = read_volume(chosen.folder / chosen.manifest.reference.image)
    dice = _warm_up(request, chosen, student, image)
    whole, network = _medians(image, chosen, student)
    peak = peak_mb()
    # time outside the network grows with patches and with voxels of the source: the same box in
    # more voxels separates the two
    fine = _finer(image)
    fine_whole, fine_network = _medians(fine, chosen, student)
    work, rest = workload(chosen, image.grid), max(0.0, whole - network)
    more = fine_whole - fine_network - rest
    voxel_s = min(max(0.0, more) / (prod(fine.grid.shape) - work.voxels), rest / work.voxels)
    return Footprint(
        dice=dice,
        open_s=open_s,
        seconds=whole,
        patch_s=(whole - voxel_s * work.voxels) / work.patches,
        voxel_s=voxel_s,
        peak_mb=peak,
        arrays_mb=work.arrays_mb,
    )


def _package(request: FootprintRequest) -> Package:
    folder = Path(request.folder)
    if not request.is_draft:
        return package.load(folder)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    return Package(manifest, folder, "")


def _warm_up(request: FootprintRequest, chosen: Package, student: Student, image: Volume) -> float:
    """Segment once; return the lowest Dice of any segment, 0 for a draft."""
    labels = segment(image, chosen, student).labels
    if request.is_draft:
        return 0.0
    dice, required = least_dice(chosen, request.size, labels), chosen.manifest.reference.least_dice
    if not may_run(chosen, dice):
        message = (
            f"the reference case reaches Dice {dice:.4f} with {request.engine} on this machine, "
            f"{required:g} is required"
        )
        raise BadPackage(message, advice="Use another engine for this size.")
    return dice


def _medians(image: Volume, chosen: Package, student: Student) -> tuple[float, float]:
    """Return the median seconds of the whole pipeline, and of the network in it."""
    runs = [segment(image, chosen, student).seconds for _ in range(REPEATS)]
    whole = statistics.median(sum(run.values()) for run in runs)
    return whole, statistics.median(run["network"] for run in runs)


def _finer(image: Volume) -> Volume:
    """Return the same box in four times as many voxels: each twice, along two axes."""
    affine = image.grid.affine.copy()
    affine[:3, 3] -= (affine[:3, 1] + affine[:3, 2]) / 4
    affine[:3, 1:3] /= 2
    array = image.array.repeat(2, 1).repeat(2, 2)
    return Volume(array, Grid(array.shape, affine))


if __name__ == "__main__":
    main()
