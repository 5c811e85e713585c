"""Types of command line arguments; a value out of bounds ends with exit status 2 and a sentence."""

import argparse
import math
import os
import re
from pathlib import Path

DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?")
TASK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # as in a package's manifest
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")
LARGEST_SEED = 2**32 - 1


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    return _whole(text, 1, 10**9)


def seed(text: str) -> int:
    """Read a seed: a whole number from 0 to 2^32 - 1."""
    return _whole(text, 0, LARGEST_SEED)


def minutes(text: str) -> float:
    """Read a positive number of minutes."""
    value = duration(text)
    if value == 0:
        message = f"expected more than 0 minutes, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


def duration(text: str) -> float:
    """Read a number of minutes that may be 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        message = f"expected a number of minutes, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value


def device(text: str) -> str:
    """Read the name of a device."""
    if not DEVICES.fullmatch(text):
        message = f"expected auto, cpu, cuda or cuda:NUMBER, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return text


def task_name(text: str) -> str:
    """Read the name of a package: lower case, digits and hyphens."""
    if not TASK_NAME.fullmatch(text):
        message = f"expected a name such as hippocampus-mr, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return text


def version(text: str) -> str:
    """Read the version of a package: two or three numbers."""
    if not VERSION.fullmatch(text):
        message = f"expected a version such as 1.0, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return text


def absolute(text: str) -> Path:
    """Read a folder; messages name it, and `.` has no name."""
    return Path(os.path.abspath(text))  # noqa: PTH100 - Path.absolute keeps `..`


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the recipe and --data, the data set that it describes."""
    parser.add_argument("recipe", type=Path, help="YAML recipe")
    parser.add_argument("--data", type=absolute, required=True, help="folder of the data set")


def add_new_recipe(parser: argparse.ArgumentParser) -> None:
    """Add what a command requires that writes a recipe: its task, its modality and its file."""
    parser.add_argument("--task", type=task_name, required=True, help="such as hippocampus-mr")
    parser.add_argument("--modality", choices=("MR", "CT"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="the recipe, YAML")
    parser.add_argument("--force", action="store_true", help="replace a recipe that exists")
    parser.add_argument("--json", action="store_true", help="the recipe as JSON on the output")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        help="auto, cpu, cuda or cuda:NUMBER (default: auto, the GPU where there is one)",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add --cache."""
    parser.add_argument(
        "--cache",
        type=absolute,
        metavar="FOLDER",
        help="prepare each case once into this folder and map it into memory, for data sets that "
        "are larger than the memory; several commands may share it",
    )


def _whole(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        message = f"expected a whole number from {low} to {high}, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return value
