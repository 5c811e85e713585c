"""The commands: what an admin types. Each module holds a few of them; this one routes."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from node import __version__
from node.commands import admin, demo, models, offline, queue, serve
from node.commands.exits import EPILOGUE, OK, explained, status_of
from node.errors import Defect, NodeError
from node.logs import start as start_logs

INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
log = logging.getLogger("node.commands")


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
        status = int(chosen.run(chosen))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk can still be told
    except NodeError as exc:
        return _told(chosen.command, exc)
    except BrokenPipeError:
        # `segnode jobs list | head` closes our output early: nothing is wrong
        _let_go_of_output()
        return OK
    except OSError as exc:
        _let_go_of_output()
        return _told(chosen.command, explained(exc))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:
        # its text could quote a data set: the log tells its type and place alone
        log.critical("uncaught", exc_info=exc)
        message = f"{type(exc).__name__}, which nobody foresaw; the line above says where"
        return _told(chosen.command, Defect(message, advice="Please report that line."))
    return status


def _told(command: str, error: NodeError) -> int:
    print(f"segnode {command}: {error.message}", file=sys.stderr)
    if error.advice:
        print(f"  {error.advice}", file=sys.stderr)
    return status_of(error)


def _let_go_of_output() -> None:
    """Drop what cannot be written: the interpreter would complain of it again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
