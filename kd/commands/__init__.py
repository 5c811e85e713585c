"""The command line of kd."""

import argparse
import sys
from collections.abc import Sequence

from kd.commands import nnunet, packages, plans, reports, training
from kd.commands.output import EXIT_UNFINISHED, EXIT_WRONG_INPUT
from kd.errors import KdError
from kd.release.command import typed
from node.errors import NodeError

__all__ = ["main", "parser"]

# of torch, which has no exception for memory on a CPU
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Invalid buffer size", "too large")
LESS_MEMORY = "Use a smaller batch, patch or network, a coarser grid, or --cache for many cases"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser().parse_args(words)
    chosen.typed = typed(words)
    try:
        return int(chosen.run_command(chosen))
    except (KdError, NodeError) as exc:
        sys.stderr.write(f"kd: {exc}\n")
        return EXIT_WRONG_INPUT
    except OSError as exc:
        sys.stderr.write(f"kd: {exc.strerror}: {exc.filename}\n")
        return EXIT_WRONG_INPUT
    except MemoryError as exc:
        sys.stderr.write(f"kd: not enough memory: {exc}. {LESS_MEMORY}\n")
        return EXIT_WRONG_INPUT
    except RuntimeError as exc:
        if not any(words in str(exc) for words in OUT_OF_MEMORY):
            raise
        sys.stderr.write(f"kd: not enough memory for the network and its patches. {LESS_MEMORY}\n")
        return EXIT_WRONG_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("kd: stopped; the same command resumes from the last checkpoint\n")
        return EXIT_UNFINISHED


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    top = argparse.ArgumentParser(
        prog="kd",
        description="Train, measure and release the segmentation models of segnode.",
        epilog="Exit codes: 0 done, 1 wrong input (the message says what), 3 not finished yet.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (plans, nnunet, training, reports, packages):
        module.add_to(commands)
    return top
