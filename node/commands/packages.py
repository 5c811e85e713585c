"""Which packages a command works on."""

import argparse
from pathlib import Path

from node.commands.options import DEFAULT_CONFIG
from node.config import load
from node.errors import Misconfigured
from node.package import Package, installed, models_in


def models_folder(chosen: argparse.Namespace) -> Path:
    """Return the folder that `--models` or the configuration names, or `models` here."""
    if chosen.models:
        return Path(chosen.models)
    if chosen.config == DEFAULT_CONFIG and not chosen.config.exists():
        return Path("models")
    return load(chosen.config).model.dir


def packages_in(folder: Path) -> list[Package]:
    """Load every package below `folder`.

    Raises:
        Misconfigured: there is none.
        BadPackage: one of them cannot be trusted.
    """
    return [installed(path) for path in package_folders(folder)]


def package_folders(folder: Path) -> list[Path]:
    """Return the folder of every package below `folder`.

    Raises:
        Misconfigured: there is none.
    """
    found = models_in(folder)
    if found:
        return found
    absent = f"the folder {folder.absolute()} does not exist"
    empty = f"no package in {folder.absolute()}, where <task>/<version>/manifest.json is looked for"
    advice = "Name the folder of packages with --models, or as model.dir in the configuration."
    raise Misconfigured(empty if folder.is_dir() else absent, advice=advice)
