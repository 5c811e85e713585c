"""The pages of a package: short cards, and the text that the code writes from a report."""

from pathlib import Path

import msgspec
import pytest

from kd.errors import BadRecipe, BadRecord
from kd.records import Accuracy, EnsembleReport, VolumeAgreement, encode_report, read_report
from kd.release.card import card, licence
from kd.release.pages import packaged_recipe
from kd.release.tables import volume_bias
from kd.release.validation_page import inheritance, release_page, teacher_sentence
from node.package import load, models_in
from node.package.manifest import SizeName
from tests.support import kd_phantoms
from tests.support import kd_reports as reports
from tests.support.packages import make_tiny_package

PACKAGES = models_in(Path(__file__).parents[3] / "models")


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.parent.name)
def test_a_released_package_has_the_pages_that_its_report_gives(folder: Path) -> None:
    manifest, report = load(folder).manifest, read_report(folder / "report.json")
    recipe, command = packaged_recipe(manifest), manifest.provenance.training["command"]
    advice = f"type: kd card {folder}"
    texts = {
        "card.md": card(manifest, recipe, report),
        "validation.md": release_page(manifest, recipe, report, command),
        "LICENSE": licence(manifest),
    }
    for name, text in texts.items():
        assert (folder / name).read_text(encoding="utf-8") == text, advice
    assert len(texts["card.md"].splitlines()) <= 60
    shown = texts["card.md"].index("External validation" if report.external else "held-out cases")
    assert shown < texts["card.md"].index("| size |"), (
        "the card names the data set before the table"
    )


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = reports.report(
        {"teacher": reports.size(has_teacher=False), "small": reports.size(0.1)}
    )
    (tmp_path / "report.json").write_bytes(encode_report(written))
    assert read_report(tmp_path / "report.json") == written


@pytest.mark.parametrize(
    "content", [None, "no JSON", "{}", '{"format": 2}', '{"format": 1, "task": "x"}']
)
def test_a_report_of_another_format_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(BadRecord, match=r"report\.json"):
        read_report(path)


def test_the_page_says_whether_the_teacher_was_trained_on_the_cases() -> None:
    report = reports.report({"small": reports.size(0.0, reports.training(distilled=True))})
    one = reports.training()
    alone = msgspec.structs.replace(report, ensemble=EnsembleReport(size="teacher", folds=(one,)))
    assert "one network of size teacher (12 steps in 2 minutes)" in teacher_sentence(alone)
    both = EnsembleReport(size="teacher", folds=(one, one))
    sentence = teacher_sentence(msgspec.structs.replace(report, ensemble=both))
    assert "an ensemble of 2 networks of size teacher" in sentence


def test_the_page_says_which_sizes_inherit() -> None:
    plain, heir = (reports.size(0.0, reports.training(inherits=digest)) for digest in (None, "ab"))
    assert inheritance(reports.report({"teacher": plain, "large": plain})) == []
    (sentence,) = inheritance(reports.report({"teacher": plain, "small": heir, "tiny": heir}))
    assert "strongest channels: small, tiny." in sentence


def test_the_pages_have_the_bias_of_volumes_of_an_external_set(tmp_path: Path) -> None:
    """Large ones over all sizes and both sides on the card, each in validation.md."""

    def sizes(bright: float | None, left: float, right: float) -> Accuracy:
        percents = {"Bright ball": bright, "Left cube": left, "Right cube": right}
        volumes = {
            label: VolumeAgreement(bias=0.0, low=0.0, high=0.0, percent=percent)
            for label, percent in percents.items()
        }
        return msgspec.structs.replace(reports.accuracy(), volume_ml=volumes)

    measured: dict[SizeName, Accuracy] = {
        "teacher": sizes(None, -12.4, 3.0),
        "small": sizes(0.3, -2.0, 7.7),
    }
    others = reports.external("Another scanner", measured)
    structures = ("Bright ball", "Left cube", "Right cube")
    others = msgspec.structs.replace(others, structures=structures)
    table = volume_bias(others)
    assert "| Bright ball | not in the reference | 0 % |" in table
    assert "| Left cube | -12 % | -2 % |" in table
    report = reports.report({s: reports.size() for s in others.sizes})
    report = msgspec.structs.replace(report, external=(others,))
    text = card(make_tiny_package(tmp_path).manifest, kd_phantoms.recipe(), report)
    expected = "within 10 % of the reference volume, except cube -12 to +8 %."
    assert expected in " ".join(text.split())


def test_an_earlier_report_has_no_bias_in_percent() -> None:
    assert volume_bias(reports.external("Another scanner", {"small": reports.accuracy()})) == []


def test_a_package_without_a_recipe_can_be_validated_on_folders_alone(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="--images"):
        packaged_recipe(make_tiny_package(tmp_path).manifest)
