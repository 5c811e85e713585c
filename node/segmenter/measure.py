"""The process that measures one size with one engine: `python -m node.segmenter.measure ORDER`.

It imports what the child imports and takes the same bounds, so that its seconds and its memory are
the child's. When its standard input ends, whoever asked is gone, and so is it.
"""

import logging
import os
import statistics
import sys
import threading
import time
from math import prod
from pathlib import Path

import msgspec

from node import logs, package
from node.errors import BadPackage, NodeError
from node.imaging import Grid, Volume
from node.imaging.nifti import read_volume
from node.measured import workload
from node.package import Package
from node.pipeline import least_dice, open_student, segment
from node.segmenter import messages
from node.segmenter.child import explained, humble, peak_mb, private_output
from node.segmenter.messages import Failed, Measured, MeasureRequest
from node.student import Student

REPEATS = 3  # after one that warms up
log = logging.getLogger("node.segmenter.measure")


def main() -> None:
    """Measure, and say what was found or why nothing was."""
    order = msgspec.json.decode(sys.argv[1], type=MeasureRequest)
    answers = private_output()
    humble(order.bounds)
    logs.start("segmenter-measure", order.bounds.log_level)
    threading.Thread(target=_lifeline, name="lifeline", daemon=True).start()
    answer: Measured | Failed
    try:
        answer = measure(order)
    except Exception as exc:  # whatever goes wrong is what was found out
        error = explained(exc)
        if not isinstance(exc, NodeError):
            log.exception("unexpected error", extra={"size": order.size})
        answer = Failed(error.code, error.message, error.advice)
    answers.write(messages.encode(answer))
    answers.flush()


def measure(order: MeasureRequest) -> Measured:
    """Segment the reference case once for its labels, then again, and finer, for the time it takes.

    Raises:
        BadPackage: its labels do not come out.
    """
    chosen = package.load(Path(order.folder))
    reference = chosen.manifest.reference
    begun = time.perf_counter()
    kept = Path(order.compiled) if order.compiled else None
    student = open_student(chosen, order.size, order.bounds.threads, order.engine, kept)
    open_s = time.perf_counter() - begun
    image = read_volume(chosen.folder / reference.image)
    dice = least_dice(chosen, order.size, segment(image, chosen, student).labels)
    if dice < reference.least_dice:
        message = (
            f"the reference case reaches Dice {dice:.4f} with {order.engine} on this machine, "
            f"{reference.least_dice:g} is required"
        )
        raise BadPackage(message, advice="Use another engine for it.")
    whole, network = _medians(image, chosen, student)
    peak = peak_mb()
    # what is not the network is paid for each patch and for each voxel of the source: the same box
    # in more voxels tells the two apart
    fine = _finer(image)
    fine_whole, fine_network = _medians(fine, chosen, student)
    work, rest = workload(chosen, image.grid), max(0.0, whole - network)
    more = fine_whole - fine_network - rest
    voxel_s = min(max(0.0, more) / (prod(fine.grid.shape) - work.voxels), rest / work.voxels)
    return Measured(
        dice=dice,
        open_s=open_s,
        seconds=whole,
        patch_s=(whole - voxel_s * work.voxels) / work.patches,
        voxel_s=voxel_s,
        peak_mb=peak,
        arrays_mb=work.arrays_mb,
    )


def _medians(image: Volume, chosen: Package, student: Student) -> tuple[float, float]:
    """Return the seconds of the whole pipeline, and of the network in it."""
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


def _lifeline() -> None:
    # not sys.stdin: an interpreter that ends while another thread holds its lock aborts
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
