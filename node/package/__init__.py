"""Model packages: folders of data with one pipeline and several sizes of one model."""

from node.package.accepts import check_input, check_result
from node.package.choose import Use, resolve, uses
from node.package.folder import Package, installed, load, models_in, write_manifest
from node.package.manifest import (
    SIZE_NAMES,
    SIZES,
    VARIANTS,
    Code,
    Manifest,
    Segment,
    Size,
    next_smaller,
    smallest,
)

__all__ = [
    "SIZES",
    "SIZE_NAMES",
    "VARIANTS",
    "Code",
    "Manifest",
    "Package",
    "Segment",
    "Size",
    "Use",
    "check_input",
    "check_result",
    "installed",
    "load",
    "models_in",
    "next_smaller",
    "resolve",
    "smallest",
    "uses",
    "write_manifest",
]
