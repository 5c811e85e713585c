"""Check the structure of the code: layers, sizes of files, and documents that agree with it."""

import argparse
import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import node
from node import errors
from node.commands import parser
from node.conditions import ConditionCode
from node.listener.contexts import TRANSFER_SYNTAXES

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 320  # lines: about one idea per file
SOURCES = sorted(path for top in ("node", "kd", "tests") for path in (ROOT / top).rglob("*.py"))
# Everything that belongs to the laboratory; the node must start where none of it is installed
LABORATORY = ("torch", "kd", "onnx", "onnxscript", "scipy")
OPTIONAL = {"openvino": "node.engines.open_vino"}  # and the one module that needs it


def test_the_node_imports_without_the_laboratory() -> None:
    blocked = ", ".join(f"{name!r}: None" for name in (*LABORATORY, *OPTIONAL))
    code = (
        f"import sys; sys.modules.update({{{blocked}}})\n"
        "import pkgutil, importlib, node\n"
        "for module in pkgutil.walk_packages(node.__path__, 'node.'):\n"
        f"    if not module.name.endswith(('__main__', *{list(OPTIONAL.values())})):\n"
        "        importlib.import_module(module.name); print(module.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 40


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_holds_one_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module has a docstring"


def test_third_party_libraries_live_in_their_module() -> None:
    users = {
        "pynetdicom": (
            "node/listener/", "node/sender/", "node/message_limits.py",
            "node/pynetdicom_adapter.py",
        ),
        "highdicom": ("node/seg/", "node/report.py", "node/rejection.py"),
        "onnxruntime": ("node/engines/onnx_runtime.py",),
        "openvino": ("node/engines/open_vino.py",),
        # Core's Engine is passed around; statements stand in schema and queue only
        "sqlalchemy": (
            "node/schema/", "node/database_faults.py", "node/queue/", "node/housekeeping/",
            "node/segmenter/", "node/sender/", "node/status.py", "node/commands/",
            "node/conditions/", "node/replan.py", "node/retract.py", "node/web/actions.py",
            "node/audit/", "node/rule_states.py",
        ),
        "SimpleITK": ("node/imaging/",),
        "PIL": ("node/preview.py",),
        "rich": ("node/commands/terminal.py",),
        "starlette": ("node/web/",),
        "jinja2": ("node/web/render.py",),
        "uvicorn": ("node/web/server.py",),
        "prometheus_client": ("node/web/metrics.py",),
        "ruamel": ("node/yaml_strict.py",),
    }  # fmt: skip
    for path in (ROOT / "node").rglob("*.py"):
        place = path.relative_to(ROOT).as_posix()
        for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(statement, ast.Import):
                names = [alias.name for alias in statement.names]
            elif isinstance(statement, ast.ImportFrom) and statement.module:
                names = [statement.module]
            for name in names:
                allowed = users.get(name.partition(".")[0])
                assert allowed is None or place.startswith(allowed), f"{place} imports {name}"


def commands(of: argparse.ArgumentParser, before: str = "") -> dict[str, argparse.ArgumentParser]:
    """Return every command and sub-command with its parser."""
    parsers = {}
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                parsers[f"{before}{name}"] = sub
                parsers |= commands(sub, f"{before}{name} ")
    return parsers


def test_every_command_has_help_and_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name, sub in commands(parser()).items():
        assert f"segnode {name.split()[0]}" in readme, name
        assert sub.format_help()


def test_every_error_code_stands_in_the_runbook() -> None:
    runbook = (ROOT / "docs/how-to/runbook.md").read_text(encoding="utf-8")
    runbook = runbook.partition("## Every code")[2].partition("\n## ")[0]
    written = set(re.findall(r"^\| `([a-z-]+)` \|", runbook, re.MULTILINE))
    for module in pkgutil.walk_packages(node.__path__, "node."):  # errors are known once imported
        if not module.name.endswith(("__main__", *OPTIONAL.values())):
            importlib.import_module(module.name)
    known = {c for c, kind in errors.by_code().items() if kind.__module__.startswith("node.")}
    assert written == known


def test_every_condition_has_a_section_in_the_runbook() -> None:
    runbook = (ROOT / "docs/how-to/runbook.md").read_text(encoding="utf-8")
    section = runbook.partition("\n## Conditions\n")[2].partition("\n## ")[0]
    assert re.findall(r"^### (.+)$", section, re.MULTILINE) == [
        code.value for code in ConditionCode
    ]


def test_every_transfer_syntax_stands_in_the_conformance_page() -> None:
    page = (ROOT / "docs/reference/conformance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (1\.2\.[0-9.]+) \|$", page, re.MULTILINE)
    assert {uid: name for name, uid in rows} == TRANSFER_SYNTAXES


def test_every_error_code_is_used_once() -> None:
    kinds = [errors.NodeError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    ours = [kind for kind in kinds if kind.__module__.startswith("node.")]
    assert len({kind.code for kind in ours}) == len(ours)


def test_links_between_documents_lead_somewhere() -> None:
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").glob("*.md"),
    ]:
        for link in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_decisions_are_indexed_and_short() -> None:
    """A number is never used twice: a page that became a record keeps its row in the index."""
    folder = ROOT / "docs/decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| \[([^\]]+)\]\(([^)]+)\) \| (.+) \|$", index, re.MULTILINE)
    numbers = [int(number) for number, *_ in rows]
    assert numbers == sorted(set(numbers))  # several pages may be written at once, with gaps
    status_of = {link: (number, title, status) for number, title, link, status in rows}
    pages = sorted(page for page in folder.glob("*.md") if page.name != "README.md")
    assert {page.name for page in pages} == {link for link in status_of if "/" not in link}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        number, title, status = status_of[page.name]
        assert text.startswith(f"# {number}. {title}\n\nStatus: {status}\n"), page.name
        assert int(page.name[:4]) == int(number)
        assert len(text.splitlines()) < 60, page.name
        for part in ("## Context", "## Choice", "## What would change our mind"):
            assert part in text, f"{page.name} lacks {part}"
