"""Several cases of one subject: in reports, on pages and in the choice of pictures."""

import json
from pathlib import Path

import msgspec
import pytest

from kd.commands.packages import worst
from kd.data.cases import read_pairs
from kd.evaluation.measure import Agreement
from kd.evaluation.scores import Score, rows
from kd.evaluation.summary import report_of
from kd.recipe.choices import Gates
from kd.records import Report
from kd.release import cells, tables
from node.commands import main
from node.package import Package, write_manifest
from node.package.manifest import Interval, Metrics, SizeName
from tests.support.kd_phantoms import data_set, recipe
from tests.support.packages import make_tiny_package


def scores(subjects: int, shift: float = 0.0) -> list[Score]:
    """Return two cases of each of some subjects, of different Dice."""
    cases = []
    for number in range(2 * subjects):
        one = Agreement(0.5 + 0.02 * number + shift, 0.9, 1.0, 1.0, 1.0)
        cases.append(Score(f"case {number}", (one, one), 1.0, f"subject {number // 2}"))
    return cases


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return make_tiny_package(tmp_path_factory.mktemp("models"))


def report(package: Package, subjects: int) -> Report:
    by_size: dict[SizeName, list[Score]] = {
        "teacher": scores(subjects),
        "small": scores(subjects, -0.001),
    }
    return report_of(package.manifest, by_size, {})


def test_pairs_have_their_subjects_from_the_split_file(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "balls", 2, 1)
    splits = {"train": ["ball_0", "ball_1"], "val": ["ball_2"], "subjects": {"ball_0": "somebody"}}
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    pairs = read_pairs(recipe(), folder, ["ball_0", "ball_1"])
    assert [pair.subject for pair in pairs] == ["somebody", "ball_1"]


def test_intervals_are_over_subjects(package: Package) -> None:
    many = report(package, 12)
    assert (many.cases, many.subjects) == (24, 12)
    low, high = many.sizes["small"].dice.ci
    alone = [Score(s.case, s.structures, s.seconds) for s in scores(12, -0.001)]
    narrow = report_of(package.manifest, {"small": alone}, {}).sizes["small"].dice.ci
    assert high - low > 1.2 * (narrow[1] - narrow[0])


def test_few_subjects_have_no_interval_and_no_verdict(package: Package) -> None:
    few, enough = report(package, 9), report(package, 10)
    dice = few.sizes["small"].dice
    assert dice.ci == (dice.mean, dice.mean)
    assert tables.TOO_FEW in "\n".join(tables.against_teacher(Gates(), few))
    assert tables.TOO_FEW not in "\n".join(tables.against_teacher(Gates(), enough))
    assert "Means only" in cells.statistics(few)
    assert "intervals over subjects" in cells.statistics(enough)
    assert cells.cases_of(few) == "18 cases of 9 subjects"


def test_a_row_names_the_subject_of_the_case(package: Package) -> None:
    lines = rows(package.manifest, [("small", scores(1))])
    assert lines[0].startswith("run,case,subject,structure,")
    assert lines[1].startswith("small,case 0,subject 0,")


def test_pictures_are_of_the_worst_case_of_each_subject() -> None:
    assert [s.case for s in worst(scores(4))] == ["case 0", "case 2", "case 4"]
    assert [s.case for s in worst(scores(1))] == ["case 0"]


def test_the_node_lists_no_interval_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = make_tiny_package(tmp_path)
    dice = {
        "teacher": Interval(mean=0.5, ci=(0.5, 0.5)),
        "small": Interval(mean=0.4, ci=(0.3, 0.6)),
    }
    metrics = {
        size: Metrics(cases=3, dice=interval, dice_per_segment={})
        for size, interval in dice.items()
    }
    write_manifest(msgspec.structs.replace(package.manifest, metrics=metrics), package.folder)
    assert main(["models", "list", "--models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (teacher,) = (line for line in lines if " teacher " in line)
    (small,) = (line for line in lines if " small " in line)
    assert "0.500 " in teacher
    assert "(" not in teacher
    assert "0.400 (0.300 to 0.600)" in small
