"""`segnode try` segments a folder or a file without a server; `selftest` verifies the chain.

Both call the same code as the node: `node.segmenter.segment_series`.
"""

import argparse
import hashlib
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node import engines, preview, volumes
from node.commands.options import add_config, add_json, print_json
from node.commands.packages import models_folder, packages_in
from node.commands.terminal import Progress, print_table
from node.config import Config
from node.engines import ENGINES, ONNXRUNTIME
from node.errors import Misconfigured, NodeError, NotAnImage, Unsuitable
from node.imaging.nifti import read_volume, write
from node.package import SIZE_NAMES, Package, resolve
from node.package.folder import file_digest
from node.pipeline import least_dice
from node.seg import Encoding
from node.segmenter import SegmentedSeries, SegmentRequest, identity_of, segment_series
from node.series import read_headers
from node.series.compose import Composed, Labelling, compose

MOST_LISTED = 8  # series named in a message


@dataclass(frozen=True)
class OfflineJob:
    """The input of an offline segmentation, and the folder for its results."""

    files: tuple[Path, ...]
    package: Package
    size: str
    out: Path
    threads: int = 0
    engine: str = ONNXRUNTIME


def add_to(commands: argparse._SubParsersAction) -> None:  # type: ignore[type-arg]
    """Add `try` and `selftest` to the command line."""
    attempt = commands.add_parser("try", help="segment a DICOM folder or NIfTI file, offline")
    attempt.add_argument("input", type=Path, help="a folder of DICOM files, or .nii / .nii.gz")
    attempt.add_argument("--task", required=True, help="a task such as brain-mr, or task/version")
    attempt.add_argument("--size", choices=SIZE_NAMES, default="small")
    attempt.add_argument("--out", type=Path, required=True, help="folder for the results")
    attempt.add_argument("--series", metavar="UID", help="which series of the folder")
    attempt.add_argument("--engine", choices=ENGINES, default=ONNXRUNTIME)
    selftest = commands.add_parser(
        "selftest", help="segment the reference cases as DICOM and verify the SEG"
    )
    for command, run in ((attempt, _try), (selftest, _selftest)):
        add_config(command)
        command.add_argument("--models", type=Path, help="folder of packages")
        command.add_argument("--threads", type=int, default=0, help="0: one per available CPU")
        add_json(command)
        command.set_defaults(run=run)


def run_job(job: OfflineJob, progress: Progress) -> SegmentedSeries:
    """Segment in this process, as the node's child does; the SEG is written to `job.out`."""
    digests = sorted(file_digest(path) for path in job.files)
    request = SegmentRequest(
        job=0,
        folder=str(job.out),
        files=tuple(str(path.resolve()) for path in job.files),
        inputs_digest=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        package=str(job.package.folder),
        package_digest=job.package.digest,
        size=job.size,
        encodings=(Encoding(),),
        identity=identity_of(Config()),
        created_at=time.time(),
        outbox=str(job.out),
        engine=job.engine,
    )
    with progress.stages() as report:
        return segment_series(request, job.threads, report)


def _try(chosen: argparse.Namespace) -> int:
    package = resolve(chosen.task, packages_in(models_folder(chosen)))
    package.size(chosen.size)
    engines.require(chosen.engine)
    progress = Progress(quiet=chosen.json)
    chosen.out.mkdir(parents=True, exist_ok=True)
    files = _files(chosen, package)
    progress.say(f"{len(files)} files, {package.name}, size {chosen.size}")
    job = OfflineJob(files, package, chosen.size, chosen.out, chosen.threads, chosen.engine)
    result = run_job(job, progress)
    picture, labels = chosen.out / "preview.png", chosen.out / "labels.nii.gz"
    segments = package.manifest.segments
    preview.preview(result.source.volume, result.labels, segments, picture, result.done.caveats)
    write(result.labels, labels)
    done = result.done
    summary = {
        "package": package.name,
        "size": chosen.size,
        "engine": chosen.engine,
        "seg": str(chosen.out / done.objects[0].name),
        "preview": str(picture),
        "labels": str(labels),
        "volumes_ml": done.volumes_ml,
        "sums_ml": done.sums_ml,
        "seconds": done.seconds,
        "caveats": done.caveats,
    }
    if chosen.json:
        print_json(summary)
    else:
        _print_result(summary)
    return 0


def _print_result(result: dict[str, Any]) -> None:
    cut = {name for caveat in result["caveats"] for name in caveat.structures}
    print_table(*volumes.table(result["volumes_ml"], result["sums_ml"], cut))
    print()
    seconds = result["seconds"]
    rows = [(k, f"{v:.2f}") for k, v in seconds.items()]
    print_table(("stage", "seconds"), [*rows, ("total", f"{sum(seconds.values()):.2f}")])
    print(f"\nSEG      {result['seg']}\npicture  {result['preview']}\nlabels   {result['labels']}")
    for caveat in result["caveats"]:
        print(f"caveat   {caveat.text}")


def _files(chosen: argparse.Namespace, package: Package) -> tuple[Path, ...]:
    """Return the slices; write NIfTI as a DICOM series first, so that a SEG can refer to it."""
    if chosen.input.is_dir():
        return series_files(chosen.input, chosen.series)
    if not chosen.input.is_file():
        message = f"{chosen.input} does not exist"
        raise Misconfigured(message, advice="Give a folder of DICOM files or a NIfTI file.")
    labelling = Labelling(
        modality=package.manifest.input.modality,
        patient_id="SEGNODE-TRY",
        patient_name="Try^Segnode",
        study_description="made from a NIfTI file",
        series_description=package.manifest.task,
    )
    return _composed(chosen.input, chosen.out / "series", labelling).files


def _composed(image: Path, folder: Path, labelling: Labelling) -> Composed:
    return compose(read_volume(image), folder, labelling, datetime.fromtimestamp(time.time(), UTC))


def series_files(folder: Path, uid: str | None) -> tuple[Path, ...]:
    """Return the files of one series below `folder`; without a choice there must be one.

    Raises:
        NotAnImage: there is no DICOM image.
        Misconfigured: the folder holds several series, or not the requested one.
    """
    by_series: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            by_series[read_headers(path)[0].series_uid].append(path)
        except Unsuitable:
            continue  # such as a README or a DICOMDIR among the images
    if not by_series:
        message = f"no DICOM image in {folder}"
        raise NotAnImage(message, advice="Give the folder that holds the slices.")
    if uid is None and len(by_series) > 1:
        listed = [f"{key} ({len(paths)} files)" for key, paths in by_series.items()]
        more = ", …" if len(listed) > MOST_LISTED else ""
        names = ", ".join(listed[:MOST_LISTED]) + more
        message = f"{folder} holds {len(by_series)} series: {names}"
        raise Misconfigured(message, advice="Choose one with --series UID.")
    chosen = uid or next(iter(by_series))
    if chosen not in by_series:
        message = f"{folder} holds no series {chosen}"
        listed = list(by_series)[:MOST_LISTED]
        raise Misconfigured(message, advice=f"It holds: {', '.join(listed)}.")
    return tuple(by_series[chosen])


def _selftest(chosen: argparse.Namespace) -> int:
    progress = Progress(quiet=chosen.json)
    results = []
    for package in packages_in(models_folder(chosen)):
        for size in package.manifest.sizes:
            with progress.running(f"reference case of {package.name}, size {size}"):
                results.append(selftest_one(package, size, chosen.threads))
    if chosen.json:
        print_json(results)
    for result in [] if chosen.json else results:
        mark = "ok  " if result["ok"] else "FAIL"
        print(f"{mark}  {result['package']} {result['size']}: {result['message']}")
    return 0 if all(result["ok"] for result in results) else 1


def selftest_one(package: Package, size: str, threads: int = 0) -> dict[str, Any]:
    """Segment the reference image as DICOM, verify the SEG and compare it with the labels."""
    reference = package.manifest.reference
    result: dict[str, Any] = {"package": package.name, "size": size, "ok": False}
    with tempfile.TemporaryDirectory(prefix="segnode-selftest-") as name:
        out = Path(name)
        try:
            labelling = Labelling(modality=package.manifest.input.modality)
            files = _composed(package.folder / reference.image, out / "series", labelling).files
            job = OfflineJob(files, package, size, out, threads)
            segmented = run_job(job, Progress(quiet=True))
            least = least_dice(package, size, segmented.labels)
        except NodeError as exc:
            return result | {"message": exc.message}
    seconds = sum(segmented.done.seconds.values())
    message = f"SEG verified, reference Dice {least:.4f}, {seconds:.2f} s"
    ok = least >= reference.least_dice
    return result | {"ok": ok, "message": message, "dice": least, "seconds": seconds}
