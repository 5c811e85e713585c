"""The provenance in a manifest: recipe, training images, command, libraries.

Promises: no path of this machine, and no name of a case unless the recipe says that names are
public.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from kd.data.content import contents_in
from kd.evaluation.held_out import training_images
from kd.recipe.read import Recipe
from kd.records import Run
from kd.release.runs import ReleaseOrder
from node.package.manifest import Provenance

LIBRARIES = ("monai", "numpy", "onnx", "onnxruntime", "onnxscript", "SimpleITK", "torch")


def published(recipe: Recipe) -> Recipe:
    """Return a recipe without paths of this machine, and without names of cases unless public."""
    data = msgspec.structs.replace(recipe.data, splits=Path(recipe.data.splits).name)
    if recipe.data.public_names:
        return msgspec.structs.replace(recipe, data=data)
    return msgspec.structs.replace(
        recipe,
        data=msgspec.structs.replace(data, cases={}),
        external=tuple(msgspec.structs.replace(one, subjects={}) for one in recipe.external),
        unlabelled=tuple(msgspec.structs.replace(one, subjects={}) for one in recipe.unlabelled),
    )


def provenance(order: ReleaseOrder, histories: Mapping[str, Sequence[Run]]) -> Provenance:
    """Return where the weights of a release come from.

    Args:
        order: the release.
        histories: the records of the networks of every run, by its name.
    """
    recipe = published(order.recipe)
    return Provenance(
        data_sets=(recipe.data.source,),
        licence=recipe.data.licence,
        training={
            "recipe": msgspec.to_builtins(recipe),
            "recipe_sha256": recipe.digest,
            "command": order.command,
            **_images(order, histories),
        },
        commit=order.commit,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        created=order.created,
    )


def _images(order: ReleaseOrder, histories: Mapping[str, Sequence[Run]]) -> dict[str, object]:
    """Return what the manifest keeps of the training images; nothing if they are synthetic."""
    if order.contents is None:
        return {}
    released = [run for name in order.runs for run in histories[name]]
    used = set[str]().union(*(run.cases_used for run in released))
    known = order.contents | contents_in(used)
    return training_images(known.values(), is_complete=used <= known.keys())
