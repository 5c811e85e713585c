"""A finished package folder from finished runs: networks, golden case, report, card, manifest.

Promises: every number in it was measured here, on the files that are released, through the node's
pipeline; a folder that exists under its final name is complete. Never overwrites a release.
"""

import importlib.metadata
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from kd import card
from kd.cases import Case, Pair
from kd.errors import BadRecipe, LabError
from kd.evaluate import Footprint, Score, evaluate, footprint, summarise
from kd.export import Exported, export
from kd.lab import new_network
from kd.network import Triple
from kd.recipe import UNKNOWN_CODE, Recipe
from kd.train import averaged_network
from node.imaging.nifti import read_volume, write
from node.imaging.patches import starts
from node.imaging.volume import FloatArray
from node.package import Package, Size, write_manifest
from node.package.manifest import Golden, Manifest, Metrics, Provenance, SizeName
from node.pipeline import golden_dice, open_student, segment

LIBRARIES = ("numpy", "onnx", "onnxruntime", "onnxscript", "SimpleITK", "torch")
LARGEST_PACKAGE_BYTES = 40_000_000  # every release is paid for in each clone, for ever


@dataclass(frozen=True)
class Order:
    """What a release is made from."""

    recipe: Recipe
    version: str
    runs: dict[SizeName, Path]  # folder of the checkpoint of each size
    golden_image: Path
    golden_notice: Path  # licence of the golden image
    commit: str
    created: str  # ISO 8601 date
    command: str  # as typed, for the card


@dataclass(frozen=True)
class Measured:
    """Everything measured about one size."""

    exported: Exported
    metrics: Metrics
    scores: list[Score]
    cost: Footprint
    story: dict[str, Any]  # steps and seconds of its training


def release(
    order: Order,
    train_cases: Sequence[Case],
    test_pairs: Sequence[Pair],
    models: Path,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> Package:
    """Write `models/<task>/<version>/` and load it again.

    Args:
        order: recipe, version, runs, golden case.
        train_cases: source of the real patches on which torch and ONNX are compared.
        test_pairs: held-out cases, measured once, here.
        models: folder of all packages.
        report: called with a sentence now and then.

    Raises:
        LabError: the version exists, a run is missing, a network does not survive its export, the
            golden case does not come out again, or the package is too large.
    """
    final = models / order.recipe.task / order.version
    if final.exists():
        message = f"package {order.recipe.task}/{order.version} exists; releases are immutable"
        raise LabError(message, advice="Choose the next version, or remove an unpublished one")
    for part in order.recipe.segments:
        if UNKNOWN_CODE in (part.type.value, part.category.value):
            message = f"segment {part.number} ({part.label}) has no code"
            raise BadRecipe(message, advice="Fill in segments.type and segments.category")
    draft = final.with_name(f"{order.version}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "golden").mkdir(parents=True)
    exported = {
        size: _export(order, size, run, train_cases, draft, report)
        for size, run in order.runs.items()
    }
    package = _with_golden(order, {size: found for size, (found, _) in exported.items()}, draft)
    measured = {}
    for size, (found, story) in exported.items():
        scores = evaluate(package, size, test_pairs)
        metrics = summarise(package, scores)
        report(f"{size}: mean Dice {metrics.dice.mean:.4f} on {metrics.cases} test cases")
        measured[size] = Measured(found, metrics, scores, footprint(package, size), story)
    finished = _finish(order, package, measured)
    for size in finished.manifest.sizes:
        if golden_dice(finished, size) < finished.manifest.golden.least_dice:
            message = f"size {size} does not reproduce its golden case"
            raise LabError(message)
    total = sum(path.stat().st_size for path in draft.rglob("*") if path.is_file())
    if total > LARGEST_PACKAGE_BYTES:
        message = f"the package has {total / 1e6:.1f} MB, more than {LARGEST_PACKAGE_BYTES / 1e6}"
        raise LabError(message, advice="Release fewer or smaller sizes")
    draft.rename(final)
    return Package(finished.manifest, final, finished.digest)


def real_patches(cases: Sequence[Case], patch: Triple, count: int = 4) -> list[FloatArray]:
    """Return the first patch of `count` cases, padded as the pipeline pads."""
    patches = []
    for case in cases[:count]:
        array = case.image.array
        first = [starts(n, p, 0.5)[0] for n, p in zip(array.shape, patch, strict=True)]
        window = array[tuple(slice(f, f + p) for f, p in zip(first, patch, strict=True))]
        missing = [p - n for p, n in zip(patch, window.shape, strict=True)]
        patches.append(np.pad(window, [(m // 2, m - m // 2) for m in missing]))
    return patches


def _export(
    order: Order,
    size: str,
    run: Path,
    cases: Sequence[Case],
    draft: Path,
    report: Callable[[str], None],
) -> tuple[Exported, dict[str, Any]]:
    network, story = averaged_network(new_network(order.recipe, size), run, torch.device("cpu"))
    patch = order.recipe.grid.patch_zyx
    found = export(network, patch, real_patches(cases, patch), draft / f"{size}.onnx")
    report(f"{size}: exported, logits within {found.largest_difference:.1g} of torch")
    return found, story


def _with_golden(order: Order, exported: dict[SizeName, Exported], draft: Path) -> Package:
    """Write the golden case and a manifest without metrics, for the pipeline to work with."""
    image = f"golden/{order.golden_image.name}"
    shutil.copyfile(order.golden_image, draft / image)
    shutil.copyfile(order.golden_notice, draft / "golden" / order.golden_notice.name)
    labels: dict[SizeName, str] = {size: f"golden/labels_{size}.nii.gz" for size in exported}
    recipe = order.recipe
    widest = max(net.base for net in recipe.sizes.values())
    manifest = Manifest(
        format=1,
        task=recipe.task,
        version=order.version,
        title=recipe.title,
        intended_use=recipe.intended_use,
        input=recipe.input,
        grid=recipe.grid,
        intensity=recipe.intensity,
        segments=recipe.segments,
        regions=recipe.regions,
        sizes={
            size: Size(
                file=f"{size}.onnx",
                parameters=found.parameters,
                macs_per_patch=found.macs_per_patch,
                width=recipe.net(size).base / widest,
            )
            for size, found in exported.items()
        },
        metrics={},
        golden=Golden(image=image, labels=labels),
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


def _finish(order: Order, package: Package, measured: dict[SizeName, Measured]) -> Package:
    draft, manifest = package.folder, package.manifest
    sizes = {
        size: msgspec.structs.replace(manifest.sizes[size], peak_mb=found.cost.peak_mb)
        for size, found in measured.items()
    }
    training = manifest.provenance.training | {
        "runs": {
            size: {"steps": found.story["step"], "seconds": round(found.story["seconds"])}
            for size, found in measured.items()
        }
    }
    manifest = msgspec.structs.replace(
        manifest,
        sizes=sizes,
        metrics={size: found.metrics for size, found in measured.items()},
        provenance=msgspec.structs.replace(manifest.provenance, training=training),
    )
    numbers = report_of(manifest, measured)
    (draft / "report.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    rows = [s for size, found in measured.items() for s in _rows(manifest, size, found.scores)]
    (draft / "cases.csv").write_text("\n".join([_head(manifest), *rows]) + "\n", encoding="utf-8")
    (draft / "card.md").write_text(card.text(manifest, numbers, order.command), encoding="utf-8")
    (draft / "LICENSE").write_text(card.licence(manifest), encoding="utf-8")
    return write_manifest(manifest, draft)


def report_of(manifest: Manifest, measured: dict[SizeName, Measured]) -> dict[str, Any]:
    """Return the numbers of all sizes in the one shape that `--json` has too."""
    return {
        "task": manifest.task,
        "version": manifest.version,
        "cases": max(found.metrics.cases for found in measured.values()),
        "sizes": {
            size: {
                "parameters": found.exported.parameters,
                "macs_per_patch": found.exported.macs_per_patch,
                "dice": {
                    "mean": found.metrics.dice.mean,
                    "ci": found.metrics.dice.ci,
                    "per_structure": msgspec.to_builtins(found.metrics.dice_per_segment),
                },
                "seconds": found.cost.seconds,
                "threads": found.cost.threads,
                "peak_mb": found.cost.peak_mb,
                "export": msgspec.to_builtins(found.exported),
                "training": {"steps": found.story["step"], "seconds": found.story["seconds"]},
            }
            for size, found in measured.items()
        },
    }


def _head(manifest: Manifest) -> str:
    return ",".join(["size", "case", *(f"dice {s.label}" for s in manifest.segments), "seconds"])


def _rows(manifest: Manifest, size: str, scores: list[Score]) -> list[str]:
    assert all(len(s.dice) == len(manifest.segments) for s in scores)
    return [
        ",".join([size, s.case, *(f"{d:.5f}" for d in s.dice), f"{s.seconds:.3f}"]) for s in scores
    ]
