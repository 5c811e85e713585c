"""The model package: a folder of data that holds one pipeline and many sizes of one model."""

from node.package.accepts import check_input, check_result
from node.package.choose import Use, resolve, uses
from node.package.folder import Package, installed, load, models_in, write_manifest
from node.package.manifest import SIZES, Code, Manifest, Segment, Size

__all__ = [
    "SIZES",
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
    "resolve",
    "uses",
    "write_manifest",
]
