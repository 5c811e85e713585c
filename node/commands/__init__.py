"""The commands: what an admin types. Each module holds a few of them; this one routes.

Exit statuses follow sysexits.h, so that scripts and systemd can tell what happened.
"""

import argparse
import sys
from collections.abc import Sequence

from node import __version__
from node.commands import admin, demo, models, offline, queue, serve
from node.errors import Defect, Misconfigured, NodeError, Transient, Unsuitable
from node.logs import start as start_logs

OK, FAILED, USAGE = 0, 1, 2
UNSUITABLE, DEFECT, TRY_LATER, MISCONFIGURED = 65, 70, 75, 78

EPILOGUE = (
    "exit status: 0 done; 1 a check failed or nothing was found; 2 wrong usage; "
    "65 the input cannot be segmented; 70 a defect, please report; 75 try again later; "
    "78 the configuration or a package is wrong"
)


def parser() -> argparse.ArgumentParser:
    """Build the whole command line."""
    top = argparse.ArgumentParser(
        prog="segnode",
        description="Receive DICOM studies, segment them on the CPU, send DICOM SEG back.",
        epilog=EPILOGUE,
    )
    top.add_argument("--version", action="version", version=f"segnode {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (admin, serve, queue, offline, models, demo):
        module.add_to(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Errors become a sentence, never a traceback."""
    chosen = parser().parse_args(arguments)
    process = getattr(chosen, "only", None) or chosen.command
    start_logs(process, getattr(chosen, "log_level", "warning"))
    try:
        return int(chosen.run(chosen))
    except NodeError as exc:
        print(f"segnode {chosen.command}: {exc.message}", file=sys.stderr)
        if exc.advice:
            print(f"  {exc.advice}", file=sys.stderr)
        return status_of(exc)
    except BrokenPipeError:
        # `segnode jobs list | head` closes our output early: nothing is wrong
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return 130


def status_of(error: NodeError) -> int:
    """Return the exit status that belongs to the class of an error."""
    match error:
        case Misconfigured():
            return MISCONFIGURED
        case Unsuitable():
            return UNSUITABLE
        case Transient():
            return TRY_LATER
        case Defect():
            return DEFECT
        case _:
            return FAILED
