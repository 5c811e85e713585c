"""One family of phantoms is trained and released for all tests of releases."""

import shutil
from pathlib import Path

import pytest

from tests.support.kd_released import make_world


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a trained and released family, which no test changes."""
    return make_world(tmp_path_factory.mktemp("released"))


@pytest.fixture(scope="module")
def world(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the family for the tests of a module."""
    return Path(shutil.copytree(released, tmp_path_factory.mktemp("release") / "world"))
