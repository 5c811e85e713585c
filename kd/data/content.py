"""The content of images: the same image is recognised under any name and in any file.

A digest of all voxels identifies an image without naming a patient: only a person who has the image
can compute it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from kd.data.cases import case_files
from kd.errors import BadCase
from kd.recipe.sources import Data
from node.errors import NodeError
from node.imaging import Volume
from node.imaging.nifti import read_volume

DIGEST_CHARACTERS = 32  # 128 bits
BY_CONTENT = "sha256:"  # no case of a data set has such a name: ":" is not allowed in file names


def content_of(image: Volume) -> str:
    """Return the first half of the SHA-256 of an image's voxels, in the order of its file."""
    return hashlib.sha256(np.ascontiguousarray(image.array).tobytes()).hexdigest()[
        :DIGEST_CHARACTERS
    ]


def name_of_content(content: str) -> str:
    """Return the name of a training image that is known by its content alone."""
    return f"{BY_CONTENT}{content}"


def contents_in(names: Iterable[str]) -> dict[str, str]:
    """Return the content of each name that `name_of_content` has made."""
    return {n: n.removeprefix(BY_CONTENT) for n in names if n.startswith(BY_CONTENT)}


def contents_of(data: Data, folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the content of the image of each case.

    Raises:
        BadCase: an image cannot be read; the message names the case.
    """
    contents = {}
    for name in names:
        path, _ = case_files(data, folder, name)
        if not path.is_file():
            message = f"case {name}: its image file {path.name} is missing"
            raise BadCase(message)
        try:
            contents[name] = content_of(read_volume(path))
        except NodeError as exc:
            message = f"case {name}: {exc.message}"
            raise BadCase(message) from exc
    return contents


def same_image(test: Mapping[str, str], used: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the first test case whose image is that of a training case, and the training case."""
    names = {content: name for name, content in used.items()}
    return next(((name, names[one]) for name, one in test.items() if one in names), None)
