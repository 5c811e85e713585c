"""The commands of `segnode`. Each module holds a few of them; this one parses and dispatches.

Only the module of the typed command is imported, and it imports what it needs when it runs: a
health check must answer within a second on a busy machine.
"""

import argparse
import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from node import __version__
from node.commands.exits import EPILOGUE, OK, node_error_of, status_of
from node.errors import Defect, NodeError
from node.logs import start as start_logs
from node.private import keep_private

MODULES = {  # command -> the module that adds it
    "init": "admin",
    "check": "admin",
    "serve": "serve",
    "reload": "reload",
    "status": "status",
    "user": "user",
    "find": "find",
    "history": "history",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
    "explain": "explain",
    "jobs": "queue",
    "retract": "retract",
    "try": "offline",
    "selftest": "offline",
    "send-test": "send_test",
    "models": "models",
    "rules": "rules",
    "demo": "demo",
}
INTERRUPTED = 130  # 128 + SIGINT, as in a shell
log = logging.getLogger("node.commands")


def parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Build the command line for `arguments`: their command, or all commands without one."""
    top = argparse.ArgumentParser(
        prog="segnode",
        description="Receive DICOM studies, segment them on the CPU, send DICOM SEG back.",
        epilog=EPILOGUE,
    )
    top.add_argument("--version", action="version", version=f"segnode {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    gc.disable()  # what an import makes is no garbage, and looking for some takes a sixth longer
    try:
        for name in _modules_for(arguments):
            importlib.import_module(f"node.commands.{name}").add_to(commands)
    finally:
        gc.enable()
    return top


def _modules_for(arguments: Sequence[str]) -> list[str]:
    """Return the modules to import; none for `--version`, which argparse answers first."""
    first = arguments[0] if arguments else ""
    if first == "--version":
        return []
    return [MODULES[first]] if first in MODULES else list(dict.fromkeys(MODULES.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status. Errors become a message, never a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = parser(words).parse_args(words)
    process = getattr(chosen, "only", None) or chosen.command
    start_logs(process, getattr(chosen, "log_level", "warning"))
    if chosen.command != "init":  # it writes a configuration, which the node's user must read
        keep_private()
    try:
        result = int(chosen.run(chosen))
        if sys.stdout is not None:
            sys.stdout.flush()  # here, so that a full disk can still be reported
    except NodeError as exc:
        return _print_error(chosen.command, exc)
    except BrokenPipeError:
        # `segnode jobs list | head` closes our output early, which is not an error
        _discard_output()
        return OK
    except OSError as exc:
        _discard_output()
        return _print_error(chosen.command, node_error_of(exc))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:
        # the text of the exception could quote a data set, so only its type and place are logged
        log.critical("uncaught", exc_info=exc)
        message = (
            f"Internal error ({type(exc).__name__}). Please report it with the log line above."
        )
        print(message, file=sys.stderr)
        return status_of(Defect(message))
    return result


def _print_error(command: str, error: NodeError) -> int:
    print(f"segnode {command}: {error.message}", file=sys.stderr)
    if error.advice:
        print(f"  {error.advice}", file=sys.stderr)
    return status_of(error)


def _discard_output() -> None:
    """Discard buffered output: the interpreter would fail again when it flushes it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
