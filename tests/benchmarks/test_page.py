"""A benchmark has no row for what the node would not run."""

from pathlib import Path

import numpy as np
import page
import pytest

from node import engines
from node.commands.verify import reference_checks
from node.config import Config
from node.errors import Misconfigured
from node.imaging import Labels, Volume, nifti
from node.package import Package, Use
from node.pipeline import may_run
from tests.support.packages import make_tiny_package


def shift_labels(package: Package, size: str) -> None:
    """Move the reference labels of one size by two voxels: the size no longer reproduces them."""
    name = {str(one): file for one, file in package.manifest.reference.labels.items()}[size]
    labels: Labels = nifti.read_labels(package.folder / name)
    moved = np.roll(labels.array, 2, axis=1).astype(np.float32)
    nifti.write(Volume(moved, labels.grid), package.folder / name)


def test_a_size_that_misses_its_reference_case_has_no_row(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    use = Use(rule="all", package=package, size="small", engine=engines.ONNXRUNTIME)
    assert engines.ONNXRUNTIME in page.verified_engines(package, "small")
    assert len(list(reference_checks(Config(), [use]))) == 1
    shift_labels(package, "small")
    assert page.verified_engines(package, "small") == []
    with pytest.raises(Misconfigured, match="reference case"):
        list(reference_checks(Config(), [use]))


def test_the_least_dice_of_a_package_decides(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    least = package.manifest.reference.least_dice
    assert may_run(package, least)
    assert not may_run(package, least - 1e-6)
