"""Write logs as one JSON object per line, without patient data.

Callers log facts by key (`extra={"series": uid}`). Only the keys listed below are written, so no
patient name or id can enter with a dataset or with the arguments of an exception.
"""

import json
import logging
import sys
import threading
import time
from types import TracebackType
from typing import Any

# Keys that may be written beside the message. Operators find studies by their UIDs, which are
# pseudonyms; names, ids and birth dates of patients are never written.
KEYS = (
    "ae",
    "host",
    "port",
    "association",
    "study",
    "series",
    "instance",
    "job",
    "kind",
    "target",
    "code",
    "status",
    "seconds",
    "count",
    "bytes",
    "package",
    "size",
    "path",
    "advice",
    "attempt",
    "pid",
    "stage",
)

OURS = ("node", "kd")  # the loggers whose lines are written


class JsonLines(logging.Formatter):
    """Format a log record as one line of JSON with a UTC time."""

    def __init__(self, process: str) -> None:
        """Write `process` into every line."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an exception is written as type and place, without its text."""
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "from": record.name,
            "message": record.getMessage(),
        }
        line["process"] = self._process
        line |= {key: getattr(record, key) for key in KEYS if key in record.__dict__}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["where"] = _where(record.exc_info[2])
        return json.dumps(line, default=str, ensure_ascii=False)


def start(process: str, level: str = "info") -> None:
    """Write the logs of `process` to standard error, one JSON object per line.

    The libraries put values of data sets into messages, warnings and exceptions, so their logs are
    switched off; an uncaught exception is logged with its type and place only.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    handler.addFilter(_is_ours)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    logging.getLogger("node").setLevel(level.upper())
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _is_ours(record: logging.LogRecord) -> bool:
    """Keep lines of libraries out, at whatever time they set levels of their own."""
    return record.levelno >= logging.CRITICAL or record.name.partition(".")[0] in OURS


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        logging.getLogger("node").critical(
            "internal error: uncaught exception", exc_info=(kind, error, traceback)
        )


def _uncaught_in_thread(hook: threading.ExceptHookArgs) -> None:
    error = hook.exc_value or hook.exc_type()
    logging.getLogger("node").critical(
        "internal error: uncaught exception in a thread",
        exc_info=(hook.exc_type, error, hook.exc_traceback),
    )


def _where(traceback: TracebackType | None) -> list[str]:
    steps = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        steps.append(f"{code.co_filename.rsplit('/', 1)[-1]}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return steps[-6:]
