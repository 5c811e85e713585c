"""Log lines contain the listed keys and no patient data."""

import json
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from node import logs

CANARY = "Canary^Wünsch"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging and the hooks of the interpreter as they were."""
    root, ours = logging.getLogger(), logging.getLogger("node")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    hooks = sys.excepthook, threading.excepthook
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what reads the lines; the test itself calls `logs.start`: pytest swaps streams."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_names_time_level_place_and_process(lines: Any) -> None:
    logs.start("listener")
    logging.getLogger("node.listener").warning("instance refused", extra={"series": "1.2.3"})
    (line,) = lines()
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "from": "node.listener",
        "message": "instance refused",
        "process": "listener",
        "series": "1.2.3",
    }


def test_only_keys_of_the_closed_list_are_written(lines: Any) -> None:
    logs.start("listener")
    log = logging.getLogger("node")
    log.info("came", extra={"patient": CANARY, "PatientID": CANARY, "job": 7})
    log.info("all", extra=dict.fromkeys(logs.KEYS, 1))
    first, second = lines()
    assert first["job"] == 7
    assert CANARY not in json.dumps(first, ensure_ascii=False)
    assert set(logs.KEYS) <= set(second)
    assert set(second) - set(logs.KEYS) == {"at", "level", "from", "message", "process"}


def break_down() -> None:
    raise RuntimeError(CANARY) from ValueError(CANARY)


def test_only_type_and_place_of_an_exception_are_written(lines: Any) -> None:
    logs.start("listener")
    try:
        break_down()
    except RuntimeError:
        logging.getLogger("node").exception("it broke")
    (line,) = lines()
    assert line["exception"] == "RuntimeError"
    assert line["where"][-1].startswith("test_logs.py:")
    assert CANARY not in json.dumps(line, ensure_ascii=False)


def test_values_of_every_type_can_be_written(lines: Any) -> None:
    logs.start("listener")
    logging.getLogger("node").info("odd", extra={"path": object(), "code": b"x", "count": None})
    (line,) = lines()
    assert line["count"] is None


def test_libraries_cannot_write_dataset_values(lines: Any) -> None:
    logs.start("listener")
    for name in ("pydicom", "pynetdicom.acse", "highdicom", "PIL", "sqlalchemy.engine", "other"):
        logging.getLogger(name).error("the value %s", CANARY)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"Invalid value for VR DA: {CANARY}", UserWarning, stacklevel=1)
    assert lines() == []


def test_the_level_is_chosen_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    logs.start("sender", "warning")
    logging.getLogger("node.sender").info("unheard")
    logging.getLogger("node.sender").warning("a message")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == [
        "a message"
    ]


@pytest.mark.parametrize("where", ["main", "thread"])
def test_an_uncaught_exception_is_logged_without_its_text(where: str) -> None:
    program = f"""
import threading
from node import logs
logs.start("housekeeping")
def break_down():
    raise ValueError("{CANARY}")
{"break_down()" if where == "main" else "threading.Thread(target=break_down).start()"}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (line["level"], line["exception"]) == ("critical", "ValueError")
    assert "Canary" not in done.stderr


def test_a_library_that_sets_its_level_later_writes_nothing(lines: Any) -> None:
    """pydicom does so when it is imported, and warns of each odd element that a peer sends."""
    logs.start("listener")
    logging.getLogger("pydicom").setLevel(logging.WARNING)
    logging.getLogger("pydicom").warning("the value %s", CANARY)
    assert lines() == []
