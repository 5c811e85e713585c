"""Recipes planned from a labelled data set by nnU-Net's rules: spacing, patch, strides, intensity.

Promises: a planned recipe is a proposal for a person to read and edit. Codes, source and licence
are never guessed: they stay "?", which a release refuses. Training and gates follow the released
families.
"""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from kd.data.splits import SUBJECTS, names_of
from kd.errors import BadCase, BadRecipe
from kd.planning.data_report import report_of, write_data_report
from kd.planning.dataset import Labels, case_names, layout, left_out, test_names
from kd.planning.findings import (
    expected,
    file_findings,
    findings,
    inliers,
    label_findings,
    labels_of,
    partial,
    same_subjects,
)
from kd.planning.recipe_text import refuse_existing, write_recipe
from kd.planning.shapes import patch_and_strides, thick_stages
from kd.planning.survey import Survey, survey
from kd.recipe.choices import Gates, Net, Training, Triple
from kd.recipe.read import TEACHER, UNKNOWN_CODE, Recipe
from kd.recipe.sources import Data
from node.imaging import intensity
from node.package.manifest import Code, Input, ModelGrid, Range, Segment, SizeName

ANISOTROPIC = 3.0  # an axis with this many times the others' spacing is resampled more gently
TEST_SHARE = 0.2
LEAST_CASES = 2
FOLDS = 5
MANY_CLASSES = 8  # from which the loss is computed at one voxel of eight
LEAST_TEACHER_DICE = 0.7  # a start: raise it to what the task requires
LEAST_RETENTION = 0.98
COLOURS = ((230, 85, 60), (60, 140, 230), (90, 190, 90), (240, 190, 60), (160, 90, 200))


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """Properties of the training cases; axes in canonical order."""

    spacings_mm_zyx: np.ndarray  # [cases, 3]
    shapes_zyx: np.ndarray  # [cases, 3]
    foreground: np.ndarray  # intensities of labelled voxels, a sample
    labels: tuple[int, ...]


def fingerprint(survey: Survey, split: str) -> Fingerprint:
    """Collect the properties of the usable cases of one split.

    Raises:
        BadCase: there is no case.
    """
    cases = survey.of(split)
    if not cases:
        message = "there is no training case"
        raise BadCase(message, advice="Put images and labels into the folders of the layout")
    return Fingerprint(
        np.array([case.spacing_mm_zyx for case in cases]),
        np.array([case.shape_zyx for case in cases]),
        np.concatenate([survey.samples[case.name] for case in cases]),
        labels_of(cases),
    )


def target_spacing(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """Return the median spacing; of a much coarser axis the 10th percentile (nnU-Net's rule)."""
    spacing = np.median(fingerprint.spacings_mm_zyx, axis=0)
    worst = int(np.argmax(spacing))
    others = np.delete(spacing, worst)
    if spacing[worst] > ANISOTROPIC * others.max():
        tenth = float(np.percentile(fingerprint.spacings_mm_zyx[:, worst], 10))
        spacing[worst] = max(tenth, float(others.max()))
    z, y, x = (round(float(s), 3) for s in spacing)
    return (z, y, x)


def family(base: int, strides_zyx: Sequence[Triple]) -> dict[SizeName, Net]:
    """Return the teacher and students of 1/2, 1/4 and 1/8 of its width, and the variant fast.

    There is no variant fast where slices are so thick that no stage halves all axes: its stem of
    stride 2 replaces such a stage.
    """
    sizes: dict[SizeName, Net] = {
        "teacher": Net(base=base, norm="batch"),
        "large": Net(base=max(base // 2, 1), norm="batch"),
        "small": Net(base=max(base // 4, 1), norm="batch"),
        "tiny": Net(base=max(base // 8, 1), norm="batch"),
        "fast": Net(base=base, norm="batch", stem_stride=2),
    }
    # a stage is needed besides the one that the stem replaces
    if (2, 2, 2) not in strides_zyx[1:] or len(strides_zyx) < 3:
        del sizes["fast"]
    return sizes


def folds_for(cases: int) -> int:
    """Return the number of folds: nnU-Net's five, fewer with fewer training cases, 1 below two."""
    return max(1, min(FOLDS, cases))


def planned_training(n_classes: int) -> Training:
    """Return the training of the released families (kd/recipes)."""
    return Training(
        batch=2,
        optimiser="muon",
        rate=0.008,
        ema=0.99,
        steps=4000,
        balance=0.5,
        is_thin=n_classes >= MANY_CLASSES,
    )


def planned_gates(sizes: Iterable[SizeName]) -> Gates:
    """Return the gates to begin with: least Dice of the teacher, least retention of students."""
    students = [size for size in sizes if size != TEACHER]
    return Gates(
        dice={TEACHER: LEAST_TEACHER_DICE},
        retention=dict.fromkeys(students, LEAST_RETENTION),
    )


def uncoded(number: int, label: str) -> Segment:
    """Return a segment with a colour and with codes that a person must fill in."""
    unknown = Code(value=UNKNOWN_CODE, scheme="SCT", meaning=UNKNOWN_CODE)
    colour = COLOURS[(number - 1) % len(COLOURS)]
    return Segment(number=number, label=label, category=unknown, type=unknown, colour_rgb=colour)


def plan(
    task: str, modality: Literal["MR", "CT"], data: Data, fingerprint: Fingerprint, labels: Labels
) -> Recipe:
    """Propose a recipe; codes, source and licence are left to a person.

    Raises:
        BadRecipe: the labels are not 1, 2, 3 … without a gap.
    """
    if not fingerprint.labels:
        raise BadRecipe("no training case has a labelled voxel", advice="Label some cases")
    if fingerprint.labels != tuple(range(1, len(fingerprint.labels) + 1)):
        message = f"labels must be 1, 2, 3 … without a gap, not {fingerprint.labels}"
        raise BadRecipe(message, advice="Number them anew")
    spacing = target_spacing(fingerprint)
    shapes = fingerprint.shapes_zyx * fingerprint.spacings_mm_zyx / np.array(spacing)
    patch, strides = patch_and_strides(np.median(shapes, axis=0), spacing)
    extents = fingerprint.shapes_zyx * fingerprint.spacings_mm_zyx
    slices = inliers(fingerprint.shapes_zyx.ravel().tolist())
    sizes = family(32, strides)
    return Recipe(
        task=task,
        title=task,
        intended_use="?",
        data=data,
        input=Input(
            modality=modality,
            spacing_mm=_around(fingerprint.spacings_mm_zyx),
            field_of_view_mm=_around(extents),
            slices=Range(low=float(min(slices)), high=2 * float(max(slices))),
        ),
        grid=ModelGrid(spacing_mm_zyx=spacing, patch_zyx=patch),
        intensity=_intensity(modality, fingerprint.foreground),
        segments=tuple(
            uncoded(n, labels.names.get(n, f"Structure {n}")) for n in fingerprint.labels
        ),
        strides_zyx=strides,
        stages=thick_stages(sizes[TEACHER].base, strides, spacing),
        sizes=sizes,
        training=planned_training(len(fingerprint.labels) + 1),
        folds=folds_for(len(fingerprint.shapes_zyx)),
        gates=planned_gates(sizes),
    )


def plan_folder(
    folder: Path,
    task: str,
    modality: Literal["MR", "CT"],
    out: Path,
    *,
    is_forced: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """Read a data set, write its report and its recipe, and return the recipe.

    The report is beside the recipe, as RECIPE.data.html and RECIPE.data.json; it is written even if
    cases cannot be used. Where the data set has no split file, one is made beside the recipe: with
    the test folder of nnU-Net's layout as the test cases, or else by case and at random.

    Raises:
        BadCase: cases cannot be used; the report has all of them.
        KdError: the layout is wrong, or `out` exists and is not to be replaced.
    """
    refuse_existing(out, is_forced=is_forced)
    data, labels = layout(folder)
    is_dealt = not (folder / data.splits).is_file()
    if is_dealt:
        data = msgspec.structs.replace(data, splits=write_splits(_deal(folder, data), out))
    loose = _loose(data)
    splits = {split: names_of(loose, folder, split) for split in (data.train, data.test)}
    facts = survey(loose, folder, splits, say)
    everything = (
        *findings(facts, modality, labels.names, data.train),
        *label_findings(facts, data.train, labels.names, labels.ignore),
        *file_findings(left_out(folder, data)),
    )
    observations = sorted(everything, key=lambda one: one.kind)  # errors first
    page = write_data_report(report_of(folder.name, facts, observations, labels.names), out)
    for observation in observations:
        say(f"{observation.kind}: {observation.sentence}")
    if errors := [one for one in observations if one.kind == "error"]:
        message = f"{errors[0].sentence}, and {len(errors) - 1} more errors in the data"
        message = message if len(errors) > 1 else errors[0].sentence
        raise BadCase(message, advice=f"All of them are in {page.name}")
    if is_dealt and (subjects := same_subjects(facts.cases)):
        write_splits({split: list(names) for split, names in splits.items()}, out, subjects)
    train = facts.of(data.train)
    recipe = plan(task, modality, data, fingerprint(facts, data.train), labels)
    has_negatives = any(not case.volumes_ml for case in facts.cases)
    data = msgspec.structs.replace(data, partial=partial(train), negatives=has_negatives)
    recipe = msgspec.structs.replace(recipe, data=data, expect=expected(train, labels.names))
    write_recipe(recipe, out)
    return recipe


def write_splits(
    splits: dict[str, list[str]], recipe: Path, subjects: Mapping[str, str] | None = None
) -> str:
    """Write a split file beside the recipe; return its path for the recipe's `data.splits`.

    Cases of one subject, by name of the case, go into one fold.
    """
    path = recipe.with_suffix(".splits.json").resolve()
    content = splits | ({SUBJECTS: dict(subjects)} if subjects else {})
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return str(path)


def _loose(data: Data) -> Recipe:
    """Return a recipe that accepts every label, for reading the cases that a plan is made from."""
    segments = tuple(uncoded(n, f"Structure {n}") for n in range(1, 256))
    limits = Range(low=0, high=1e9)
    return Recipe(
        task="unknown",
        title="",
        intended_use="",
        data=msgspec.structs.replace(data, negatives=True),
        input=Input(modality="MR", spacing_mm=limits, field_of_view_mm=limits, slices=limits),
        grid=ModelGrid(spacing_mm_zyx=(1.0, 1.0, 1.0), patch_zyx=(8, 8, 8)),
        intensity=(),
        segments=segments,
        strides_zyx=((1, 1, 1),),
        sizes={},
    )


def _deal(folder: Path, data: Data) -> dict[str, list[str]]:
    """Return the training and the test cases of a data set that has no split file.

    Raises:
        BadCase: there are too few cases for both.
    """
    names = case_names(folder, data.images, data.image_ending)
    if data.test_images is not None and names:
        return {data.train: names, data.test: test_names(folder, data)}
    if len(names) < LEAST_CASES:
        where = f"{folder.name}/{data.images}"
        message = f"{where} has too few images that end in {data.image_ending}: {len(names)}"
        advice = f"A plan needs {LEAST_CASES} labelled NIfTI images; one is held out as test case"
        raise BadCase(message, advice=advice)
    random.Random(0).shuffle(names)  # noqa: S311 - a shuffle, not a secret
    held = max(1, round(TEST_SHARE * len(names)))
    return {data.train: sorted(names[held:]), data.test: sorted(names[:held])}


def _around(values: np.ndarray) -> Range:
    """Return the observed range of each axis without outliers, a fifth wider on both sides."""
    plain = [value for axis in values.T for value in inliers(axis.tolist())]
    return Range(low=round(min(plain) / 1.2, 2), high=round(max(plain) * 1.2, 2))


def _intensity(modality: str, foreground: np.ndarray) -> tuple[intensity.IntensityStep, ...]:
    if modality == "MR":
        return (intensity.ZScore(),)
    low, high = (round(float(v), 2) for v in np.percentile(foreground, [0.5, 99.5]))
    clipped = np.clip(foreground, low, high)
    return (
        intensity.Clip(low, high),
        intensity.Standardise(round(float(clipped.mean()), 2), round(float(clipped.std()), 2)),
    )
