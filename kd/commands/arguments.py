"""Types of command line arguments; a value out of bounds ends with exit status 2 and a sentence."""

import argparse
import math
import re

DEVICES = re.compile(r"auto|cpu|cuda(:\d+)?")
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


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        type=device,
        default="auto",
        help="auto, cpu, cuda or cuda:NUMBER (default: auto, the GPU where there is one)",
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
