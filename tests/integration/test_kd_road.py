"""Run the commands of docs/reference/laboratory.md as written there, from plan to validate."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd.commands import main
from node.package import load
from node.pipeline import reference_dice
from tests.support.kd_phantoms import data_set
from tests.support.kd_training import fill_in

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "laboratory.md"
TRAINING = ("teach", "distill", "family")
BUDGET = ["--steps", "12", "--device", "cpu"]


def written() -> Iterator[list[str]]:
    """Return the words of each command of the page's first block."""
    text = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```\n(kd plan .*?)```", text, re.DOTALL)
    for line in block.strip().splitlines():
        yield shlex.split(line, comments=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_commands_of_the_page_make_a_package_that_the_node_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data_set(tmp_path / "DATA", 8, 2)
    Path("ITS_LICENCE").write_text("made by the tests", encoding="utf-8")
    Path("IMAGE.nii.gz").write_bytes(Path("DATA/images/ball_0.nii.gz").read_bytes())
    commands = []
    for words in written():
        assert words[0] == "kd"
        command = words[1]
        typed = ["IMAGE.nii.gz" if word == "IMAGE" else word for word in words[1:]]
        assert main([*typed, *(BUDGET if command in TRAINING else [])]) == 0, typed
        commands.append(command)
        if command == "plan":
            fill_in(tmp_path / "recipe.yaml")
    assert commands[:2] == ["plan", "teach"]
    assert commands[-2:] == ["release", "validate"]
    package = load(Path("models/hippocampus-mr/1.0"))
    assert list(package.manifest.sizes) == ["teacher", "large", "small", "tiny", "fast"]
    for size in package.manifest.sizes:
        assert reference_dice(package, size, threads=1) >= package.manifest.reference.least_dice, (
            size
        )
    report = json.loads(Path("report/report.json").read_text(encoding="utf-8"))
    assert report["cases"] == 2
    assert set(report["sizes"]) == set(package.manifest.sizes)
