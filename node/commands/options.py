"""Options that several commands share, and JSON output."""

import argparse
import os
import pwd
from pathlib import Path
from typing import Any

import msgspec

from node.config import Config, accepted_in, load

DEFAULT_CONFIG = Path("node.yaml")
LARGEST = 1 << 63


def add_config(command: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    command.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration file (default: node.yaml in this folder)",
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print JSON, with exact values")


def whole(text: str) -> int:
    """Parse a job number or a number of rows: from 1 to the largest integer of the database."""
    if not text.isdecimal() or not 1 <= int(text[:20]) < LARGEST:
        message = f"{text!r} is not a whole number from 1 to {LARGEST - 1}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def load_config(chosen: argparse.Namespace) -> Config:
    """Load the configuration that `--config` names."""
    return load(chosen.config)


def load_running(chosen: argparse.Namespace) -> Config:
    """Load the configuration that the running node uses; that of `--config` if no node runs.

    They differ while a changed file is not reloaded. The file of `--config` names the data folder.
    """
    from node.status import listens

    config = load(chosen.config)
    accepted = accepted_in(config.data.dir) if listens(config.data.dir / "inbox") else None
    return config if accepted is None else accepted.config()


def who() -> str:
    """Return the user of the operating system who runs this command, for the history."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container may run as a user without a name
        name = str(os.getuid())
    sudo = os.environ.get("SUDO_USER", "")
    return f"os:{name} (sudo by {sudo})" if sudo else f"os:{name}"


def print_json(value: Any) -> None:
    """Print any value of structs, mappings and lists as indented JSON."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    print(msgspec.json.format(encoded, indent=2).decode())
