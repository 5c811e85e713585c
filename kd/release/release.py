"""A package folder from finished runs: networks, reference case, report, pages, manifest.

Promises: every number in it was measured here, on the files that are released, through the node's
pipeline; the recipe's gates are met; a folder under its final name is complete. Never overwrites.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kd.data.cases import Case, Pair
from kd.data.external import ExternalSet
from kd.errors import BadRecipe, GateFailed, KdError
from kd.evaluation import gates
from kd.evaluation.baselines import baselines
from kd.evaluation.negatives import false_positives
from kd.evaluation.scores import Score, rows, with_pseudonyms
from kd.evaluation.summary import accuracy, metrics_of, report_of
from kd.evaluation.unlabelled import UnlabelledSet, survey
from kd.evaluation.validate import Validation, costs, score_all
from kd.recipe.read import TEACHER, UNKNOWN_CODE, Recipe
from kd.records import ExportCheck, ExternalReport, HeldOut, Report, encode_report
from kd.release import plots
from kd.release.pages import REPORT, write_pages
from kd.release.provenance import provenance
from kd.release.runs import (
    ExportedRun,
    ExternalScores,
    ReleaseOrder,
    compared_runs,
    ensemble,
    export_runs,
    histories_of,
    refuse_same_images,
    refuse_unfit_runs,
)
from kd.training.steps import Say
from node.imaging.nifti import read_volume, write
from node.package import Package, Size, write_manifest
from node.package.manifest import Manifest, Provenance, Reference, SizeName
from node.pipeline import absent_segments, open_student, reference_dice, segment


@dataclass(frozen=True)
class OtherImages:
    """Images of other sources than the data set."""

    external: Sequence[ExternalSet] = ()
    unlabelled: Sequence[UnlabelledSet] = ()


def release(
    order: ReleaseOrder,
    train_cases: Sequence[Case],
    test_pairs: Sequence[Pair],
    models: Path,
    *,
    others: OtherImages | None = None,
    say: Say = lambda _: None,
) -> Package:
    """Write `models/<task>/<version>/` and load it again.

    Args:
        order: recipe, version, runs, reference case.
        train_cases: source of the real patches on which torch and ONNX are compared.
        test_pairs: held-out cases, measured once, here.
        models: folder of all packages.
        others: images of other sources, for the report and for gates that name them.
        say: called with a sentence now and then.

    Raises:
        GateFailed: a measured number is outside the recipe's gates, or a size does not detect a
            structure in the reference image; the unfinished folder stays for reading.
        KdError: the version exists, a run is missing, an exported network differs from torch's,
            the reference case is not reproduced, or the package is too large.
    """
    final = models / order.recipe.task / order.version
    _refuse_early(order, final)
    histories = histories_of(order)
    # the first synthetic image of a label map has the map's name, which a training records
    refuse_unfit_runs(order, histories, [pair.name for pair in test_pairs])
    refuse_same_images(order, histories, test_pairs)
    draft = final.with_name(f"{order.version}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "reference").mkdir(parents=True)
    exported = {
        size: export_runs(order.recipe, size, run, train_cases, draft / f"{size}.onnx")
        for size, run in order.runs.items()
    }
    _refuse_large(draft, order.recipe)  # the networks alone: before hours of measuring
    package = _with_reference(order, exported, draft, provenance(order, histories))
    scores = score_all(package, test_pairs, list(exported), say=say)
    released = Validation(scores, costs(package, list(exported)))
    report = _with_training(report_of(package.manifest, scores, released.costs), exported)
    others = others or OtherImages()
    external = {one.source.name: _external_scores(package, one, say) for one in others.external}
    compared, their_scores = compared_runs(
        order, package, released, (train_cases, test_pairs), external, say
    )
    report = msgspec.structs.replace(
        report,
        held_out=HeldOut(used=0, held_out=len(test_pairs), unknown=0),  # others are refused
        negatives=false_positives(package, test_pairs, list(exported)),
        soft_targets=order.soft_targets,
        ensemble=ensemble(order),
        compared=compared,
        external=tuple(_external_report(one, external[one.source.name]) for one in others.external),
        unlabelled=tuple(survey(package, one, say) for one in others.unlabelled),
    )
    all_scores: dict[str, list[Score]] = dict(scores.items())
    all_scores |= their_scores
    report = msgspec.structs.replace(report, baselines=baselines(report, all_scores, histories))
    if not order.recipe.data.public_names:
        all_scores = with_pseudonyms(all_scores)
    table = "\n".join(rows(package.manifest, all_scores.items())) + "\n"
    (draft / "cases.csv").write_text(table, encoding="utf-8")
    (draft / REPORT).write_bytes(encode_report(report))
    if failed := gates.failures(order.recipe.gates, report):
        message = f"not released: {'; '.join(failed)}"
        raise GateFailed(message, advice=f"The numbers are in {draft.name}/{REPORT}")
    finished = _finish(package, released, report)
    _check_finished(finished, order.recipe)
    draft.rename(final)
    return Package(finished.manifest, final, finished.digest)


def _with_training(report: Report, exported: Mapping[SizeName, ExportedRun]) -> Report:
    """Add to each size how its network was exported and trained."""
    sizes = {}
    for size, measured in report.sizes.items():
        one = exported[size].exported
        check = ExportCheck(
            is_half=one.is_half,
            largest_difference=one.largest_difference,
            changed_share=one.changed_share,
        )
        training = exported[size].training
        sizes[size] = msgspec.structs.replace(measured, export=check, training=training)
    return msgspec.structs.replace(report, sizes=sizes)


def _check_finished(package: Package, recipe: Recipe) -> None:
    for size in package.manifest.sizes:
        if reference_dice(package, size) < package.manifest.reference.least_dice:
            message = f"size {size} does not reproduce its reference case"
            raise KdError(message)
    _refuse_large(package.folder, recipe)


def _refuse_large(folder: Path, recipe: Recipe) -> None:
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    if total > recipe.largest_package_mb:
        limit = f"largest_package_mb: {recipe.largest_package_mb:g}"
        message = f"the package has {total:.1f} MB, and the recipe allows {limit}"
        raise KdError(message, advice="Release fewer or smaller sizes, or raise the limit")


def _external_scores(package: Package, external: ExternalSet, say: Say) -> ExternalScores:
    """Measure every size on an external data set."""
    say(f"{external.source.name}: {len(external.pairs)} cases")
    segments = external.restricted(package.manifest).segments
    sizes = list(package.manifest.sizes)
    scores = score_all(package, external.pairs, sizes, segments=segments, say=say)
    return ExternalScores(external.pairs, segments, Validation(scores, {}))


def _external_report(external: ExternalSet, scores: ExternalScores) -> ExternalReport:
    """Return the report's part about an external data set."""
    labels = [segment.label for segment in scores.segments]
    by_size = scores.released.scores
    sizes = {size: accuracy(mine, labels, by_size.get(TEACHER)) for size, mine in by_size.items()}
    subjects = {pair.subject or pair.name for pair in external.pairs}
    return ExternalReport(
        name=external.source.name,
        note=external.source.note,
        structures=tuple(labels),
        cases=len(external.pairs),
        subjects=len(subjects),
        sizes=sizes,
    )


def _refuse_early(order: ReleaseOrder, final: Path) -> None:
    if final.exists():
        message = f"package {order.recipe.task}/{order.version} exists; releases are immutable"
        raise KdError(message, advice="Choose the next version, or remove an unpublished one")
    if missing := unfilled(order.recipe):
        raise missing[0]
    for name, (size, _) in order.compared.items():
        order.recipe.net(size)
        if name in order.runs:
            message = f"--compare {name}: a released size has that name"
            raise KdError(message, advice="Give it another NAME in --compare NAME=SIZE:RUN")


def unfilled(recipe: Recipe) -> list[BadRecipe]:
    """Return an error for each text and code that a person must still fill in."""
    errors = []
    words = {
        "title": recipe.title,
        "intended_use": recipe.intended_use,
        "data.source": recipe.data.source,
        "data.licence": recipe.data.licence,
    }
    for key, value in words.items():
        if value.strip() in ("", UNKNOWN_CODE):
            message = f"the recipe has no {key}"
            errors.append(BadRecipe(message, advice="The card states it: fill it in"))
    for part in recipe.segments:
        if UNKNOWN_CODE in (part.type.value, part.category.value):
            message = f"segment {part.number} ({part.label}) has no code"
            advice = "Fill in segments.type and segments.category"
            errors.append(BadRecipe(message, advice=advice))
    return errors


def _with_reference(
    order: ReleaseOrder,
    exported: Mapping[SizeName, ExportedRun],
    draft: Path,
    origin: Provenance,
) -> Package:
    """Write the reference case and a manifest without metrics, for the pipeline to work with."""
    image = f"reference/{order.reference_image.name}"
    shutil.copyfile(order.reference_image, draft / image)
    shutil.copyfile(order.reference_notice, draft / "reference" / order.reference_notice.name)
    files: dict[SizeName, str] = {size: f"reference/labels_{size}.nii.gz" for size in exported}
    recipe = order.recipe
    widest = max(net.base for net in recipe.sizes.values())
    manifest = Manifest(
        format=2,
        task=recipe.task,
        version=order.version,
        title=recipe.title,
        intended_use=recipe.intended_use,
        input=recipe.input,
        grid=recipe.grid,
        intensity=recipe.intensity,
        segments=recipe.segments,
        sharpen=recipe.sharpen,
        regions=recipe.regions,
        expect=recipe.expect,
        sizes={
            size: Size(
                file=f"{size}.onnx",
                parameters=one.exported.parameters,
                macs_per_patch=one.exported.macs_per_patch,
                width=recipe.net(size).base / widest,
            )
            for size, one in exported.items()
        },
        metrics={},
        reference=Reference(image=image, labels=files),
        provenance=origin,
        files={},
    )
    loose = Package(manifest, draft, "")
    volume = read_volume(draft / image)
    for size, name in files.items():
        student = open_student(loose, size)
        labels = segment(volume, loose, student).labels
        if absent := absent_segments(labels, manifest):
            message = f"size {size} does not detect {', '.join(absent)} in {image}"
            raise GateFailed(message, advice="Train it longer, or give another --reference-image")
        write(labels, draft / name)
    return write_manifest(manifest, draft)


def _finish(package: Package, measured: Validation, report: Report) -> Package:
    draft, manifest = package.folder, package.manifest
    runs = {size: msgspec.to_builtins(one.training) for size, one in report.sizes.items()}
    training = manifest.provenance.training | {"runs": runs}
    manifest = msgspec.structs.replace(
        manifest,
        sizes={
            size: msgspec.structs.replace(one, peak_mb=measured.costs[size].peak_mb)
            for size, one in manifest.sizes.items()
        },
        metrics=metrics_of(report),
        provenance=msgspec.structs.replace(manifest.provenance, training=training),
    )
    write_pages(manifest, report, draft)
    if TEACHER in measured.scores:
        plot = plots.differences(plots.AGAINST_TEACHER, measured.gaps())
        (draft / "plots" / "differences.svg").write_text(plot, encoding="utf-8")
    return write_manifest(manifest, draft)
