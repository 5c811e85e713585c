"""A finished package folder from finished runs: networks, reference case, report, card, manifest.

Promises: every number in it was measured here, on the files that are released, through the node's
pipeline; the recipe's gates hold; a folder under its final name is complete. Never overwrites.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kd.data.cases import Case, Pair
from kd.data.external import ExternalSet
from kd.errors import BadRecipe, GateFailed, KdError
from kd.evaluation import gates
from kd.evaluation.baselines import twins
from kd.evaluation.unlabelled import Crowd, look
from kd.evaluation.validate import Validation, metrics_of, report_of, rows, score_all, validate
from kd.recipe.read import TEACHER, UNKNOWN_CODE
from kd.release import card, plots
from kd.release.runs import (
    ExternalScores,
    Made,
    Order,
    compared_runs,
    ensemble,
    export_runs,
    refuse_foreign,
    stories_of,
)
from kd.training.steps import Say
from node.imaging.nifti import read_volume, write
from node.package import Package, Size, write_manifest
from node.package.manifest import Manifest, Provenance, Reference, SizeName
from node.pipeline import open_student, reference_dice, segment

LIBRARIES = ("monai", "numpy", "onnx", "onnxruntime", "onnxscript", "SimpleITK", "torch")
LARGEST_PACKAGE_BYTES = 40_000_000  # every release is paid for in each clone, for ever


@dataclass(frozen=True)
class Others:
    """Images of other sources than the data set."""

    labelled: Sequence[ExternalSet] = ()
    unlabelled: Sequence[Crowd] = ()


def release(
    order: Order,
    train_cases: Sequence[Case],
    test_pairs: Sequence[Pair],
    models: Path,
    *,
    others: Others | None = None,
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
        GateFailed: a measured number is outside what the recipe demands; the unfinished folder
            stays for reading.
        KdError: the version exists, a run is missing, a network does not survive its export, the
            reference case does not come out again, or the package is too large.
    """
    final = models / order.recipe.task / order.version
    _refuse_early(order, final)
    stories = stories_of(order)
    # of the drawings of one map, the first has the name that a training would know
    refuse_foreign(order, stories, [pair.name for pair in test_pairs])
    draft = final.with_name(f"{order.version}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "reference").mkdir(parents=True)
    (draft / "plots").mkdir()
    made = {
        size: export_runs(order.recipe, size, run, train_cases, draft / f"{size}.onnx")
        for size, run in order.runs.items()
    }
    package = _with_reference(order, made, draft)
    found = validate(package, test_pairs, list(made), say=say)
    report = report_of(package.manifest, found)
    for size, one in made.items():
        report["sizes"][size] |= {
            "export": msgspec.to_builtins(one.exported),
            "training": one.training,
        }
    report["soft_targets"] = order.maps
    report["ensemble"] = ensemble(order)
    others = others or Others()
    abroad = {one.said.name: _abroad(package, one, say) for one in others.labelled}
    report["elsewhere"] = [
        _elsewhere(package, one, abroad[one.said.name]) for one in others.labelled
    ]
    report["compared"], singles = compared_runs(
        order, package, found, (train_cases, test_pairs), abroad, say
    )
    report["unlabelled"] = [look(package, one, say) for one in others.unlabelled]
    report["twins"] = twins(report, found.scores | singles, stories)
    table = "\n".join(rows(package.manifest, found.scores | singles)) + "\n"
    (draft / "cases.csv").write_text(table, encoding="utf-8")
    (draft / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if failed := gates.failures(order.recipe.gates, report):
        message = f"not released: {'; '.join(failed)}"
        raise GateFailed(message, advice=f"The numbers are in {draft.name}/report.json")
    finished = _finish(order, package, found, report)
    for size in finished.manifest.sizes:
        if reference_dice(finished, size) < finished.manifest.reference.least_dice:
            message = f"size {size} does not reproduce its reference case"
            raise KdError(message)
    total = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
    if total > LARGEST_PACKAGE_BYTES:
        message = f"the package has {total / 1e6:.1f} MB, more than {LARGEST_PACKAGE_BYTES / 1e6}"
        raise KdError(message, advice="Release fewer or smaller sizes")
    draft.rename(final)
    return Package(finished.manifest, final, finished.digest)


def _abroad(package: Package, foreign: ExternalSet, say: Say) -> ExternalScores:
    """Measure every size on the cases of another source."""
    say(f"{foreign.said.name}: {len(foreign.pairs)} cases")
    segments = foreign.judged(package.manifest).segments
    sizes = list(package.manifest.sizes)
    scores = score_all(package, foreign.pairs, sizes, segments=segments, say=say)
    return ExternalScores(foreign.pairs, segments, Validation(scores, {}))


def _elsewhere(package: Package, foreign: ExternalSet, abroad: ExternalScores) -> dict[str, Any]:
    """Return the report's part about that source."""
    told = {"name": foreign.said.name, "note": foreign.said.note}
    return (
        told
        | {"structures": [s.label for s in abroad.segments]}
        | report_of(foreign.judged(package.manifest), abroad.found)
    )


def _refuse_early(order: Order, final: Path) -> None:
    if final.exists():
        message = f"package {order.recipe.task}/{order.version} exists; releases are immutable"
        raise KdError(message, advice="Choose the next version, or remove an unpublished one")
    said = {
        "title": order.recipe.title,
        "intended_use": order.recipe.intended_use,
        "data.source": order.recipe.data.source,
        "data.licence": order.recipe.data.licence,
    }
    for key, value in said.items():
        if value.strip() in ("", UNKNOWN_CODE):
            message = f"the recipe says nothing under {key}"
            raise BadRecipe(message, advice="A card without it helps nobody: fill it in")
    for name, (size, _) in order.compared.items():
        order.recipe.net(size)
        if name in order.runs:
            message = f"a compared run is called {name}, and so is a released one"
            raise KdError(message, advice="Give it another NAME in --compare NAME=SIZE:RUN")
    for part in order.recipe.segments:
        if UNKNOWN_CODE in (part.type.value, part.category.value):
            message = f"segment {part.number} ({part.label}) has no code"
            raise BadRecipe(message, advice="Fill in segments.type and segments.category")


def _with_reference(order: Order, made: dict[SizeName, Made], draft: Path) -> Package:
    """Write the reference case and a manifest without metrics, for the pipeline to work with."""
    image = f"reference/{order.reference_image.name}"
    shutil.copyfile(order.reference_image, draft / image)
    shutil.copyfile(order.reference_notice, draft / "reference" / order.reference_notice.name)
    labels: dict[SizeName, str] = {size: f"reference/labels_{size}.nii.gz" for size in made}
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
        regions=recipe.regions,
        expect=recipe.expect,
        sizes={
            size: Size(
                file=f"{size}.onnx",
                parameters=one.exported.parameters,
                macs_per_patch=one.exported.macs_per_patch,
                width=recipe.net(size).base / widest,
            )
            for size, one in made.items()
        },
        metrics={},
        reference=Reference(image=image, labels=labels),
        provenance=_provenance(order),
        files={},
    )
    loose = Package(manifest, draft, "")
    volume = read_volume(draft / image)
    for size, name in labels.items():
        student = open_student(loose, size)
        write(segment(volume, loose, student).labels, draft / name)
    return write_manifest(manifest, draft)


def _provenance(order: Order) -> Provenance:
    recipe = order.recipe
    return Provenance(
        data_sets=(recipe.data.source,),
        licence=recipe.data.licence,
        training={
            "recipe": msgspec.to_builtins(recipe),
            "recipe_sha256": recipe.digest,
            "command": order.command,
        },
        commit=order.commit,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        created=order.created,
    )


def _finish(order: Order, package: Package, found: Validation, report: dict[str, Any]) -> Package:
    draft, manifest = package.folder, package.manifest
    training = manifest.provenance.training | {
        "runs": {size: said["training"] for size, said in report["sizes"].items()}
    }
    manifest = msgspec.structs.replace(
        manifest,
        sizes={
            size: msgspec.structs.replace(said, peak_mb=found.costs[size].peak_mb)
            for size, said in manifest.sizes.items()
        },
        metrics=metrics_of(manifest, found),
        provenance=msgspec.structs.replace(manifest.provenance, training=training),
    )
    drawn = plots.accuracy_against_latency(report)
    (draft / "plots" / "accuracy.svg").write_text(drawn, encoding="utf-8")
    if TEACHER in found.scores:
        drawn = plots.differences(plots.AGAINST_TEACHER, found.gaps())
        (draft / "plots" / "differences.svg").write_text(drawn, encoding="utf-8")
    (draft / "card.md").write_text(card.text(manifest, report, order.command), encoding="utf-8")
    (draft / "LICENSE").write_text(card.licence(manifest), encoding="utf-8")
    return write_manifest(manifest, draft)
