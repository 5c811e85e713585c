"""The pages of the released packages: short cards, and the text that the code writes today."""

from pathlib import Path

import pytest

from kd.errors import BadRecord
from kd.records import encode_report, read_report
from kd.release.card import card, licence
from kd.release.pages import packaged_recipe
from kd.release.validation_page import release_page
from node.package import load, models_in
from tests.support.kd_reports import report, size

PACKAGES = models_in(Path(__file__).parents[3] / "models")


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.parent.name)
def test_a_released_package_has_the_pages_that_its_report_gives(folder: Path) -> None:
    manifest, found = load(folder).manifest, read_report(folder / "report.json")
    recipe, command = packaged_recipe(manifest), manifest.provenance.training["command"]
    advice = f"type: kd card {folder}"
    texts = {
        "card.md": card(manifest, recipe, found),
        "validation.md": release_page(manifest, recipe, found, command),
        "LICENSE": licence(manifest),
    }
    for name, text in texts.items():
        assert (folder / name).read_text(encoding="utf-8") == text, advice
    assert len(texts["card.md"].splitlines()) <= 60
    shown = texts["card.md"].index("External validation" if found.external else "held-out cases")
    assert shown < texts["card.md"].index("| size |"), "the table says what it was measured on"


def test_a_report_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = report({"teacher": size(has_teacher=False), "small": size(0.1)})
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
