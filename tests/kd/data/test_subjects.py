"""Several cases of one subject: what a report counts, a card says, and pictures show."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kd.commands.packages import worst
from kd.data.cases import read_pairs
from kd.evaluation.measure import Agreement
from kd.evaluation.validate import Score, Validation, report_of, rows
from kd.release import cells, tables
from node.commands import main
from node.package import Package, write_manifest
from node.package.manifest import Interval, Metrics
from tests.support.kd_phantoms import data_set, recipe
from tests.support.packages import make_tiny_package


def scores(subjects: int, shift: float = 0.0) -> list[Score]:
    """Return two cases of each of some subjects, of different Dice."""
    found = []
    for number in range(2 * subjects):
        one = Agreement(0.5 + 0.02 * number + shift, 0.9, 1.0, 1.0, 1.0)
        found.append(Score(f"case {number}", (one, one), 1.0, f"subject {number // 2}"))
    return found


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return make_tiny_package(tmp_path_factory.mktemp("models"))


def report(package: Package, subjects: int) -> dict[str, Any]:
    found = {"teacher": scores(subjects), "small": scores(subjects, -0.001)}
    return report_of(package.manifest, Validation(found, {}))


def test_pairs_know_their_subjects_from_the_split_file(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "balls", 2, 1)
    said = {"train": ["ball_0", "ball_1"], "val": ["ball_2"], "subjects": {"ball_0": "somebody"}}
    (folder / "splits.json").write_text(json.dumps(said), encoding="utf-8")
    pairs = read_pairs(recipe(), folder, ["ball_0", "ball_1"])
    assert [pair.subject for pair in pairs] == ["somebody", "ball_1"]


def test_intervals_are_over_subjects(package: Package) -> None:
    many = report(package, 8)
    assert (many["cases"], many["subjects"]) == (16, 8)
    low, high = many["sizes"]["small"]["dice"]["ci"]
    alone = [Score(s.case, s.structures, s.seconds) for s in scores(8, -0.001)]
    as_if_alone = report_of(package.manifest, Validation({"small": alone}, {}))
    narrow = as_if_alone["sizes"]["small"]["dice"]["ci"]
    assert high - low > 1.2 * (narrow[1] - narrow[0])


def test_of_few_subjects_a_card_gives_no_interval_and_no_verdict(package: Package) -> None:
    few, enough = report(package, 4), report(package, 5)
    mean = few["sizes"]["small"]["dice"]["mean"]
    assert few["sizes"]["small"]["dice"]["ci"] == (mean, mean)
    text = "\n".join(tables.against_teacher(package.manifest, few))
    assert "| small | -0.0010 | +0.0000 | +0.0000 | too few subjects to tell |" in text
    assert tables.TOO_FEW not in "\n".join(tables.against_teacher(package.manifest, enough))
    assert cells.means(few) == "means; an interval takes 5 subjects, so there is none"
    assert cells.means(enough) == "means with 95 % bootstrap intervals over subjects"
    assert cells.cases_of(few) == "8 cases of 4 subjects"


def test_a_row_says_whose_the_case_is(package: Package) -> None:
    lines = rows(package.manifest, {"small": scores(1)})
    assert lines[0].startswith("run,case,subject,structure,")
    assert lines[1].startswith("small,case 0,subject 0,")


def test_pictures_are_of_the_worst_case_of_each_subject() -> None:
    assert [s.case for s in worst(scores(4))] == ["case 0", "case 2", "case 4"]
    assert [s.case for s in worst(scores(1))] == ["case 0"]


def test_the_node_lists_no_interval_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_tiny_package(tmp_path)
    dice = {
        "teacher": Interval(mean=0.5, ci=(0.5, 0.5)),
        "small": Interval(mean=0.4, ci=(0.3, 0.6)),
    }
    metrics = {
        size: Metrics(cases=3, dice=found, dice_per_segment={}) for size, found in dice.items()
    }
    write_manifest(msgspec.structs.replace(made.manifest, metrics=metrics), made.folder)
    assert main(["models", "list", "--models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (teacher,) = (line for line in lines if " teacher " in line)
    (small,) = (line for line in lines if " small " in line)
    assert "0.500 " in teacher
    assert "(" not in teacher
    assert "0.400 (0.300 to 0.600)" in small
