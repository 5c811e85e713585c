"""Write a benchmark's table, with its machine, between marks of docs/reference/performance.md."""

import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from node import engines
from node.package import Package
from node.pipeline import may_run, reference_dice

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "performance.md"
PLOTS = ROOT / "docs" / "reference" / "plots"


def write(name: str, text: str) -> None:
    """Replace the text between the marks of `name`; add a new name with its marks at the end."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n## {name}\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def verified_engines(package: Package, size: str) -> list[str]:
    """Return the engines that reproduce the reference case of one size; the node runs no other."""
    return [
        name
        for name in engines.versions()
        if may_run(package, reference_dice(package, size, 0, name))
    ]


def machine() -> str:
    """Return the number of cores and the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{os.cpu_count()} cores of {next(names, platform.processor())}"


def commit() -> str:
    """Return the short name of the commit, and "changed" where the code differs from it."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return _git("rev-parse", "--short", "HEAD") + (", changed" if changed else "")


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def origin(runs: str) -> str:
    """Return one line with the kind of the runs, the machine and the commit."""
    return f"{runs}, {machine()}, commit {commit()}."


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
