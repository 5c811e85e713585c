"""Segment one series, from images to verified objects in the outbox.

Promises: the same request gives the same bytes in the same files; a file gets its final name only
after it was read back from the disk and verified.
"""

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import msgspec
from pydicom.dataset import Dataset

from node import durable, package, pipeline, report, rtstruct, seg, series
from node.caveats import age_caveats, caveats_of
from node.errors import BadPackage, Defect, rebuild
from node.imaging import Labels
from node.package import Package, check_input, check_result
from node.pipeline import Stopwatch
from node.preview import preview, render
from node.report import ReportedResult
from node.secondary_capture import encode_picture
from node.seg import Encoding
from node.segmenter.files import described, unpublished
from node.segmenter.messages import Done, OutboxObject, SegmentRequest
from node.series import Series
from node.student import Student
from node.volumes import summed, sums_of

PREVIEW = "preview.png"  # in the folder of a result
Progress = Callable[[str, float], None]  # stage, share of it that is done


@dataclass(frozen=True, eq=False)
class SegmentedSeries:
    """The result for one series, with its images and labels."""

    done: Done
    source: Series
    labels: Labels
    package: Package


def segment_series(request: SegmentRequest, threads: int, progress: Progress) -> SegmentedSeries:
    """Segment the series of `request`; call `progress` with the current stage.

    Raises:
        Unsuitable: the series cannot be segmented, as planned or by its pixels, or the volumes are
            outside `expect`.
        BadPackage: the package differs from the one in the plan.
        VerificationFailed: the object on disk differs from the labels.
    """
    if request.unsuitable is not None:
        raise rebuild(*msgspec.structs.astuple(request.unsuitable))
    clock = _ReportingStopwatch(progress)
    with clock.stage("package"):
        chosen = _package(request)
        student = _student(
            chosen.folder, chosen.digest, request.size, threads, request.engine, request.compiled
        )
    with clock.stage("read"):
        source = series.read(_files(request))
        first, accepted = source.survey.headers[0], chosen.manifest.input
        derived = series.derived_as(source.survey.headers)
        check_input(accepted, source.volume.grid, first.modality, derived)
    result = pipeline.segment(
        source.volume, chosen, student, lambda share: progress("segment", share)
    )
    clock.seconds |= result.seconds
    volumes_ml = result.labels.volumes_ml(chosen.manifest.numbers)
    check_result(chosen.manifest.expect, volumes_ml)
    outbox = Path(request.outbox)
    durable.make_folder(outbox)
    written: list[OutboxObject] = []
    caveats = caveats_of(
        (*source.caveats, *age_caveats(accepted, first.patient_age_years)),
        result.labels,
        chosen.manifest.segments,
        summed(chosen.manifest.segments, chosen.manifest.expect),
        left_out=[dropped.reason for dropped in source.survey.dropped],
        repairs=seg.repairs_of(source),
    )
    reported = ReportedResult(
        source, result.labels, chosen, request.size, request.engine, request.why, caveats
    )
    seg_dataset = None
    for encoding in request.encodings:
        objects, dataset = _objects(request, reported, encoding, clock)
        written += objects
        seg_dataset = seg_dataset or dataset
    if seg_dataset is not None:
        written += _beside(request, reported, seg_dataset, clock)
    done = Done(
        objects=tuple(written),
        volumes_ml={s.label: volumes_ml[s.number] for s in chosen.manifest.segments},
        sums_ml=sums_of(chosen.manifest.segments, chosen.manifest.expect, volumes_ml),
        seconds=clock.seconds,
        caveats=caveats,
        peak_mb=0.0,
        engine=request.engine,
    )
    return SegmentedSeries(done, source, result.labels, chosen)


def write_preview(request: SegmentRequest, result: SegmentedSeries) -> None:
    """Write the picture of a result beside its objects, for the page."""
    path = Path(request.outbox, PREVIEW)
    part = path.with_suffix(f".{request.job}.part")
    segments = result.package.manifest.segments
    preview(result.source.volume, result.labels, segments, part, result.done.caveats)
    part.replace(path)


class _ReportingStopwatch(Stopwatch):
    """A stopwatch that reports each stage when it starts."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Report and time a stage."""
        self._progress(name, 0.0)
        with super().stage(name):
            yield


def _objects(
    request: SegmentRequest, result: ReportedResult, encoding: Encoding, clock: Stopwatch
) -> tuple[list[OutboxObject], Dataset]:
    """Write the SEG in one encoding, and its report if one is requested; return the SEG too."""
    created = _created(request)
    with clock.stage("encode"):
        dataset = seg.encode(
            result.series,
            result.labels,
            result.package,
            request.size,
            inputs_digest=request.inputs_digest,
            identity=request.identity,
            encoding=encoding,
            created=created,
        )
    segments = result.package.manifest.segments
    final = Path(request.outbox, file_name(encoding))
    with unpublished(final, dataset, clock) as path, clock.stage("verify"):
        seg.verify(path, result.series, result.labels, segments)
    written = [described(final, "seg", encoding, dataset)]
    if encoding in request.reports:
        with clock.stage("report"):
            document = report.encode_report(
                result, dataset, created=created, uid_root=request.identity.uid_root
            )
        final = final.with_name(f"report-{final.name}")
        with unpublished(final, document, clock):
            pass
        written.append(described(final, "report", encoding, document))
    return written, dataset


def _beside(
    request: SegmentRequest, result: ReportedResult, seg_dataset: Dataset, clock: Stopwatch
) -> list[OutboxObject]:
    """Write the requested objects that are the same beside a SEG in any encoding."""
    segments, written = result.package.manifest.segments, []
    created, uid_root = _created(request), request.identity.uid_root
    if request.rtstruct:
        with clock.stage("rtstruct"):
            dataset = rtstruct.encode(
                result.series,
                result.labels,
                segments,
                seg_dataset,
                created=created,
                uid_root=uid_root,
            )
        final = Path(request.outbox, "rtstruct.dcm")
        with unpublished(final, dataset, clock) as path, clock.stage("verify"):
            rtstruct.verify(path, result.series, result.labels, segments)
        written.append(described(final, "rtstruct", None, dataset))
    if request.picture:
        with clock.stage("picture"):
            picture = render(result.series.volume, result.labels, segments, result.caveats)
            dataset = encode_picture(picture, seg_dataset, created=created, uid_root=uid_root)
        final = Path(request.outbox, "picture.dcm")
        with unpublished(final, dataset, clock):
            pass
        written.append(described(final, "picture", None, dataset))
    return written


def _created(request: SegmentRequest) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(request.created_at, datetime.UTC)


def file_name(encoding: Encoding) -> str:
    """Return the file name of an object: one per distinct encoding."""
    frames = "" if encoding.omit_empty_frames else "-full"
    return f"seg-{encoding.kind}{frames}.dcm"


def _package(request: SegmentRequest) -> Package:
    package = _load(Path(request.package))
    if package.digest != request.package_digest:
        _load.cache_clear()
        message = f"package {package.name} differs from the package in the plan of this series"
        raise BadPackage(message, advice="Install the planned package, then retry the job.")
    return package


@lru_cache(maxsize=2)  # hash 40 MB once per process, not once per job
def _load(folder: Path) -> Package:
    return package.load(folder)


@lru_cache(maxsize=2)
def _student(
    folder: Path, digest: str, size: str, threads: int, engine: str, compiled: str
) -> Student:
    """Open a network once per process; `digest` is part of the key, because a folder may change."""
    package = _load(folder)
    assert package.digest == digest
    place = Path(compiled) if compiled else None
    return pipeline.open_student(package, size, threads, engine, place)


def _files(request: SegmentRequest) -> list[Path]:
    paths = [Path(request.folder, name) for name in request.files]
    absent = sum(not path.is_file() for path in paths)
    if absent:
        message = f"{absent} of {len(paths)} images are no longer in the inbox"
        raise Defect(message, advice="Send the series again; see data.keep.sources.")
    return paths
