"""The packages that a command uses."""

import argparse
from pathlib import Path

from node.commands.options import DEFAULT_CONFIG
from node.config import load
from node.errors import Misconfigured
from node.package import Package, installed, models_in


def models_folder(chosen: argparse.Namespace) -> Path:
    """Return the folder of `--models` or of the configuration, else `models` in this folder."""
    if chosen.models:
        return Path(chosen.models)
    if chosen.config == DEFAULT_CONFIG and not chosen.config.exists():
        return Path("models")
    return load(chosen.config).model.dir


def packages_in(folder: Path) -> list[Package]:
    """Load every package below `folder`.

    Raises:
        Misconfigured: there is none.
        BadPackage: a package is incomplete or altered.
    """
    return [installed(path) for path in package_folders(folder)]


def package_folders(folder: Path) -> list[Path]:
    """Return the folder of every package below `folder`.

    Raises:
        Misconfigured: there is none.
    """
    folders = models_in(folder)
    if folders:
        return folders
    absent = f"the folder {folder.absolute()} does not exist"
    empty = f"no package in {folder.absolute()}, expected <task>/<version>/manifest.json"
    advice = "Name the folder of packages with --models, or as model.dir in the configuration."
    raise Misconfigured(empty if folder.is_dir() else absent, advice=advice)
