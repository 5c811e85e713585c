"""Keep README and docs runnable: the Python example works, and shown commands and options exist."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import kd.commands
import node.commands
from node.config import When
from node.imaging.nifti import read_labels
from node.package import load
from node.package.validation import evidence

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# records show the commands of their time
PAGES = [page for page in PAGES if page.parent.name not in {"records", "decisions"}]


def lines_in_fences(page: Path) -> Iterator[str]:
    """Return the lines of every fenced block, those that end with a backslash joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        yield from block.splitlines()


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """Return the parser of the deepest command that `words` name."""
    main = {"segnode": node.commands.parser, "kd": kd.commands.parser}[words[0]]
    parser = main()
    for word in words[1:]:
        choices = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not choices:
            break
        assert word in choices[0], f"{words[0]} has no command {word}"
        parser = choices[0][word]
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_shown_commands_and_options_exist(page: Path) -> None:
    for line in lines_in_fences(page):
        words = shlex.split(line, comments=True) if re.match(r"(segnode|kd) [a-z]", line) else []
        if words:
            known = parser_of(words)._option_string_actions
            unknown = [word for word in words if word.startswith("--") and word not in known]
            assert not unknown, f"{line}: {unknown}"


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    for name in ("models", "node"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert len(set(read_labels(tmp_path / "labels.nii.gz").array.ravel())) > 30


def test_the_readme_leads_with_the_measured_accuracy() -> None:
    rows = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for folder in ROOT.glob("models/*/*"):
        link = f"({(folder / 'card.md').relative_to(ROOT).as_posix()})"
        (row,) = [row for row in rows if link in row]
        best = evidence(load(folder), "small")[0]
        assert f"mean Dice {best.dice.mean:.3f}" in row
        assert f"{best.cases} " in row
        assert ("No external data" in row) is not best.is_external


def test_every_record_stands_in_its_index() -> None:
    folder = ROOT / "docs/records"
    index = (folder / "README.md").read_text(encoding="utf-8")
    for page in folder.glob("*.md"):
        title = page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        assert page.name == "README.md" or f"[{title}]({page.name})" in index


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_prose_is_wrapped_at_100_columns(page: Path) -> None:
    """Tables, pictures and fenced or generated blocks cannot be wrapped."""
    text = page.read_text(encoding="utf-8")
    blocks = r"^```.*?^```|^<!-- [^\n]*begin -->.*?^<!-- [^\n]*end -->"
    prose = re.sub(blocks, "", text, flags=re.DOTALL | re.MULTILINE).splitlines()
    assert not [line for line in prose if len(line) > 100 and not line.startswith(("|", "!["))]


def test_every_condition_of_rules_has_a_row() -> None:
    page = (ROOT / "docs/reference/rules.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)
    assert rows == list(dict.fromkeys(rows))
    assert set(rows) == set(When.__struct_fields__)
