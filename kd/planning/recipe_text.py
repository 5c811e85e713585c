"""A recipe as YAML with a comment above every key, for a person who edits it.

The texts are those of the glossary, shorter. `kd.recipe.choices` has the reasons.
"""

from pathlib import Path
from typing import Any

import msgspec

from kd.errors import BadRecipe
from kd.recipe.read import UNKNOWN_CODE, Recipe
from node import yaml_strict

COMMENTS = {
    "task": "name of the package, such as hippocampus-mr",
    "title": "for the card and the page",
    "intended_use": "one or two sentences for the card",
    "limits": "what was not measured or may mislead, for the card",
    "data": "the cases, relative to --data",
    "data.images": "folder of the training images",
    "data.labels": "folder of their labels",
    "data.image_ending": "end of the image files, after the case's name",
    "data.label_ending": "end of the label files, after the case's name",
    "data.image_prefix": "start of the image files, before the case's name",
    "data.label_prefix": "start of the label files, before the case's name",
    "data.test_images": "folder of the test images, if it is a separate one",
    "data.test_labels": "folder of their labels",
    "data.splits": "split file",
    "data.cases": "the splits themselves, instead of a file",
    "data.train": "name of the training split",
    "data.test": "name of the test split, which only kd validate and kd release read",
    "data.partial": "segments that are not labelled in every case; remove those that may be absent",
    "data.negatives": "cases without a labelled voxel show no structure; false: they are refused",
    "data.public_names": "a package names the cases; false: pseudonyms",
    "data.source": "name, licence and citation of the data, for the card",
    "data.licence": "licence of the weights",
    "input": "the series that the node accepts; it refuses others",
    "input.modality": "MR or CT",
    "input.spacing_mm": "of every axis",
    "input.field_of_view_mm": "of every axis",
    "input.slices": "number of slices",
    "input.age_years": "of the patient; null: not stated",
    "input.originals_only": "whether derived images are unsuitable",
    "grid": "the grid of the network",
    "grid.orientation": "direction of the axes; LPS is head, back, left",
    "grid.spacing_mm_zyx": "images are resampled to it",
    "grid.patch_zyx": "voxels that the network sees at once",
    "grid.overlap": "share that neighbouring patches have in common",
    "grid.resample_order": "1: linear, 3: cubic",
    "grid.resample_thick": "across thick slices: spline, or nearest as nnU-Net",
    "intensity": "steps before the network, in order",
    "segments": "number, label, codes (SNOMED CT) and colour of each structure",
    "mirror": "average the scores of the image and its mirror image: twice the network's work",
    "sharpen": "weigh scores with the image's intensities; null: no",
    "regions": "steps after the network, such as keep_largest",
    "expect": "volumes that any patient has; the node refuses a result outside them",
    "strides_zyx": "of the first convolution of each stage",
    "stages": "of an imported network, which every size has with fewer channels",
    "stages.widths": "channels of the imported network",
    "stages.kernels_zyx": "of the convolutions of each stage",
    "stages.convolutions": "of each encoder stage; blocks, if residual",
    "stages.decoder_convolutions": "of each decoder stage, lowest resolution first",
    "stages.blocks": "plain or residual",
    "sizes": "the networks: base is the width at full resolution, doubled by each stage",
    "training": "of every network; a size may have another optimiser, rate and steps",
    "training.batch": "patches per step",
    "training.optimiser": "adamw, or muon for the convolutions",
    "training.rate": "largest learning rate",
    "training.warm_up": "share of the budget in which the rate rises",
    "training.power": "of the polynomial decay of the rate",
    "training.weight_decay": "of the optimiser",
    "training.clip_norm": "largest norm of the gradient",
    "training.ema": "of the averaged weights, which are released",
    "training.seed": "of weights, patches and augmentation",
    "training.steps": "budget; or minutes",
    "training.minutes": "budget; or steps",
    "training.foreground_share": "of patches that are centred on a structure",
    "training.balance": "initial class balance of the cross-entropy, 0 to 1",
    "training.fine_stage_only": "train only fine stages; all other weights are those of --start",
    "training.is_thin": "compute the loss at one voxel of eight: cheap with many classes",
    "training.patch_zyx": "smaller patch in training; null: grid.patch_zyx",
    "training.checkpoint_every_s": "seconds between checkpoints",
    "folds": "networks of the teacher, each trained without one fold of the cases",
    "fold_size": "size of these networks",
    "released_teacher": "trained: one more network; ensemble: the folds as one file",
    "distillation": "how students learn from the teacher besides the labels",
    "distillation.kl": "weight of the teacher's term; 0: none",
    "distillation.temperature": "by which both networks' scores are softened",
    "distillation.has_class_weights": "every class has the same weight, whatever its volume",
    "distillation.ramp": "share of the budget over which the weight grows",
    "distillation.fade": "share of the budget after which it falls to 0; 1: never",
    "gates": "minimum results of a release, on the test cases",
    "gates.dice": "mean Dice of a size",
    "gates.retention": "share of the teacher's mean Dice",
    "gates.non_inferior": "sizes that must be non-inferior to the teacher (10 subjects at least)",
    "gates.margin_dice": "margin of non-inferiority",
    "gates.margin_nsd": "the same for surface Dice",
    "gates.margin_hd95_mm": "the same for HD95",
    "gates.external": "retention on an external data set, by its name",
    "gates.volume_bias": "largest bias of a volume on an external data set, in percent",
    "largest_package_mb": "a release that is larger is refused",
    "external": "labelled data sets of other sources, measured by the release",
    "unlabelled": "images of other sources without labels, likewise",
    "augment": "strength of each augmentation; a probability of 0 switches it off",
    "augment.mirror_left": "flip left and right; wrong where a structure has a side",
    "augment.rotate_p": "probability of a rotation",
    "augment.rotate_degrees": "largest angle about each axis",
    "augment.scale_p": "probability of another size",
    "augment.scale_share": "largest change of the size",
    "augment.shift_voxels": "largest shift",
    "augment.elastic_p": "probability of an elastic deformation",
    "augment.elastic_voxels": "standard deviation at its control points",
    "augment.elastic_every": "voxels between control points",
    "augment.noise_p": "probability of noise",
    "augment.noise_std": "largest standard deviation, of a normalised image",
    "augment.brightness_p": "probability of another brightness",
    "augment.brightness_share": "largest change",
    "augment.contrast_p": "probability of another contrast",
    "augment.contrast_share": "largest change",
    "augment.gamma_p": "probability of a gamma curve",
    "augment.gamma_log": "natural logarithm of its largest exponent",
    "augment.low_resolution_p": "probability of a lower resolution",
    "augment.low_resolution_least": "lowest share of the resolution",
    "generator": "training on synthetic images; null: on the images themselves",
}
BLOCKS = ("data", "input", "grid", "stages", "training", "distillation", "gates", "augment")


def refuse_existing(recipe: Path, *, is_forced: bool) -> None:
    """Refuse to replace a recipe that a person may have edited.

    Raises:
        BadRecipe: it exists.
    """
    if recipe.exists() and not is_forced:
        message = f"{recipe} exists"
        raise BadRecipe(message, advice="Give another --out, or --force to replace it")


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe as YAML, in the order of its fields."""
    path.write_text(recipe_text(recipe), encoding="utf-8")


def recipe_text(recipe: Recipe) -> str:
    """Return a recipe as YAML with a comment above every key."""
    lines = [f"# Planned by kd for {recipe.task}: read it, fill in every {UNKNOWN_CODE!r}, edit."]
    content: dict[str, Any] = msgspec.to_builtins(recipe)
    for key, value in content.items():
        lines += ["", f"# {COMMENTS[key]}"]
        if key in BLOCKS and value is not None:
            lines.append(f"{key}:")
            for inner, one in value.items():
                lines.append(f"  # {COMMENTS[f'{key}.{inner}']}")
                lines += [f"  {line}" for line in _lines(inner, one)]
        else:
            lines += _lines(key, value)
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any) -> list[str]:
    """Return one key and its value as lines of YAML; short lists are written inline."""
    flow = None if isinstance(value, list | tuple | dict) else False
    return yaml_strict.dump({key: value}, flow=flow).rstrip("\n").splitlines()
