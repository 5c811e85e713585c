"""Tables and progress: fitted to a terminal, complete in a pipe."""

import io
import re
import sys
from pathlib import Path

import pytest

from node.commands.terminal import Progress, print_table
from node.package import load, models_in
from node.package.validation import evidence
from node.volumes import rounded
from tests.support.commanding import Run

UID = "1.2.826.0.1.3680043.8.498.12345678901234567890123456789012345678"
ROWS = [(1, "segment", UID, "a reason that is longer than a terminal is wide " * 3)]
HEAD = ("job", "kind", "series", "reason")
WIDTH = 80
RELEASED = models_in(Path(__file__).parents[3] / "models")


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_a_piped_table_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEAD, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert UID in lines[1]
    assert ROWS[0][3].strip() in lines[1]


def test_a_table_fits_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(HEAD, ROWS)
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert max(map(len, text.splitlines())) <= WIDTH
    assert UID[-14:] in text
    words = " ".join(text.split())
    assert words.count("terminal") == 3, "nothing is cut off"


def test_a_table_that_cannot_fit_becomes_one_block_per_row(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    head = [f"column {number}" for number in range(20)]
    print_table(head, [range(1000, 1020)])
    assert terminal.getvalue().splitlines()[:2] == ["column 0: 1000", "column 1: 1001"]


def test_a_narrow_table_needs_no_fitting(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    print_table(("a", "b"), [("[red]1", 2)])
    assert terminal.getvalue() == "a       b\n[red]1  2\n"


def test_progress_is_one_line_per_step_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    with progress.running("step"):
        pass
    with progress.stages() as report:
        for share in (0.0, 0.5, 1.0):
            report("segment", share)
    assert list(progress.each("making", [1, 2])) == [1, 2]
    assert capsys.readouterr().err.splitlines() == ["step", "segment done"]


def test_progress_on_a_terminal_leaves_standard_output_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress()
    with progress.stages() as report:
        report("segment", 0.5)
        print_table(["result"], [])
    with progress.running("one step"):
        pass
    assert list(progress.each("making", [1, 2])) == [1, 2]
    assert capsys.readouterr().out == "result\n"
    assert "segment" in terminal.getvalue()
    assert "one step" in terminal.getvalue()


def test_quiet_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(quiet=True)
    progress.say("x")
    with progress.running("x"), progress.stages() as report:
        report("segment", 1.0)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (123.45, "123"), (12.345, "12.3"), (0.012345, "0.0123"), (0.0, "0")],
)
def test_quantities_have_three_significant_digits(value: float, text: str) -> None:
    assert rounded(value) == text


def test_external_validation_comes_first() -> None:
    packages = {folder.parent.name: load(folder) for folder in RELEASED}
    measured = evidence(packages["brain-mr"], "small")
    kinds = [one.is_external for one in measured]
    assert kinds[0]
    assert kinds == sorted(kinds, reverse=True)
    assert all(one.data_set for one in measured)
    assert [one.is_external for one in evidence(packages["headneck-ct"], "small")] == [False]


def test_models_list_names_the_data_set(run: Run) -> None:
    models = RELEASED[0].parents[1]
    status, out, _ = run("models", "list", "--models", models)
    assert status == 0
    rows = {tuple(line.split()[:2]): line for line in out.splitlines()}
    assert "external" in rows["brain-mr/1.3", "small"]
    assert "held out" in rows["headneck-ct/1.0", "small"]
    assert "OpenKBP" in rows["headneck-ct/1.0", "small"]
