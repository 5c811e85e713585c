"""Commands that monitors and health checks run often import no library that they do not need."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.commands import MODULES, parser
from tests.support.running import Node

IMAGES = {"pydicom", "highdicom", "SimpleITK", "PIL"}
NETWORKS = {"onnxruntime", "openvino"}
OTHERS = {"pynetdicom", "scipy", "torch", "kd"}
HEAVY = IMAGES | NETWORKS | OTHERS
DATABASE = {"sqlalchemy", "numpy", "ruamel", "rich"}

# prints the status and the modules, also when the command ends the interpreter
PROGRAM = """
import sys
from node import commands
try:
    status = commands.main(sys.argv[1:])
except SystemExit as end:
    status = end.code
print(status, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def imported(folder: Path, *arguments: str) -> tuple[str, set[str]]:
    """Run a command in a fresh process; return its exit status and the modules it imported."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment, check=True
    )
    status, *modules = done.stderr.splitlines()[-1].split()
    return status, set(modules)


def test_the_version_needs_no_library(tmp_path: Path) -> None:
    status, modules = imported(tmp_path, "--version")
    assert status == "0"
    assert not modules & (HEAVY | DATABASE)


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("status", "--json"), ("jobs", "list"), ("jobs", "show", "1")],
    ids=" ".join,
)
def test_commands_that_only_read_the_database_need_no_image_library(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    node = Node(tmp_path, target_port=1, models=tmp_path / "models")
    node.configure()
    status, modules = imported(tmp_path, *arguments, "--config", str(node.config_file))
    assert status in ("0", "1", "69")
    assert "sqlalchemy" in modules
    assert not modules & HEAVY


@pytest.mark.parametrize("command", ["status", "jobs", "explain", "serve"])
def test_the_help_of_one_command_imports_no_other(tmp_path: Path, command: str) -> None:
    status, modules = imported(tmp_path, command, "--help")
    assert status == "0"
    assert not modules & HEAVY


def test_the_table_of_modules_names_every_command() -> None:
    (commands,) = [action for action in parser()._actions if action.dest == "command"]
    assert set(commands.choices or ()) == set(MODULES)


def test_a_child_process_starts_without_a_warning() -> None:
    for child in ("node.reader.child", "node.segmenter.child"):
        command = [sys.executable, "-W", "error::RuntimeWarning", "-m", child, '{"threads": 1}']
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.stderr == b"", child
