"""Which cases of an evaluation a package was trained on, by the content of their images.

A package lists the contents of its training images (`kd.data.content`), so that a renamed copy is
recognised. Earlier packages list names at most. Everything unknown counts as used in training.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from kd.data.cases import Pair
from kd.data.content import content_of, name_of_content
from kd.errors import BadRecipe
from kd.records import HeldOut
from node.package import Manifest

IMAGES = "images"  # key of a manifest's provenance.training


class TrainingImages(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a package's training images."""

    contents: tuple[str, ...]
    is_complete: bool  # whether these are all images that influenced the weights


def training_images(contents: Iterable[str], *, is_complete: bool) -> dict[str, Any]:
    """Return what a manifest keeps; sorted, so that nothing links a content to a case."""
    content = TrainingImages(contents=tuple(sorted(contents)), is_complete=is_complete)
    return {IMAGES: msgspec.to_builtins(content)}


def cases_used(manifest: Manifest, contents: Mapping[str, str]) -> tuple[str, ...]:
    """Return the training cases of a package that names none, sorted.

    A case of this data set has its name; any other one is named by its content.

    Args:
        manifest: of the package.
        contents: of the images of this data set, by the name of the case.

    Raises:
        BadRecipe: the package does not list all of its training images.
    """
    raw = manifest.provenance.training.get(IMAGES)
    listed = None if raw is None else msgspec.convert(raw, TrainingImages)
    if listed is None or not listed.is_complete:
        message = f"package {manifest.task}/{manifest.version} does not list its training images"
        raise BadRecipe(message, advice="Release it again with this version of kd")
    here = {content: name for name, content in contents.items()}
    return tuple(sorted(here.get(one, name_of_content(one)) for one in listed.contents))


def held_out(manifest: Manifest, pairs: Sequence[Pair], names_used: Iterable[str] = ()) -> HeldOut:
    """Return how many cases were held out of the training of a package.

    Args:
        manifest: of the package.
        pairs: the cases.
        names_used: the training cases of the package's own data set, if `pairs` are from it and the
            package names them.

    Raises:
        msgspec.ValidationError: the manifest's list is damaged.
    """
    raw, by_name = manifest.provenance.training.get(IMAGES), set(names_used)
    listed = None if raw is None else msgspec.convert(raw, TrainingImages)
    used = [pair.name for pair in pairs if (pair.subject or pair.name) in by_name]
    if listed is not None:
        contents = set(listed.contents)
        used = [p.name for p in pairs if p.name in used or content_of(p.image) in contents]
    is_known = (listed is not None and listed.is_complete) or bool(by_name)
    rest = len(pairs) - len(used)
    return HeldOut(
        used=len(used), held_out=rest if is_known else 0, unknown=0 if is_known else rest
    )
