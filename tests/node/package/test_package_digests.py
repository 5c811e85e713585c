"""Packages that are pinned by digest in node.yaml: every other one is refused by name."""

import re
import shutil
from pathlib import Path

import pytest

from node.config import Config, load_text
from node.errors import BadPackage, Misconfigured
from node.package import uses
from tests.support.commanding import Run, configure
from tests.support.packages import make_tiny_package

WRONG = "0" * 64


def pinned(models: Path, digests: dict[str, str], use: str = "tiny-mr") -> Config:
    rule = f"{{name: a, use: {use}, send_to: [pacs]}}"
    lines = "".join(f'\n    {name}: "{digest}"' for name, digest in digests.items())
    text = f"targets: {{pacs: {{ae: PACS, host: h}}}}\nrules: [{rule}]\n"
    return load_text(f"{text}model:\n  dir: {models}\n  digests:{lines or ' {}'}\n")


def test_without_pins_any_intact_package_is_used(tmp_path: Path) -> None:
    make_tiny_package(tmp_path)
    assert len(uses(pinned(tmp_path, {}))) == 1


def test_a_package_with_its_pinned_digest_is_used(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    (use,) = uses(pinned(tmp_path, {"tiny-mr/1.0": package.digest}))
    assert use.package.digest == package.digest


def test_a_package_with_another_digest_is_refused(tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path)
    with pytest.raises(BadPackage, match=r"tiny-mr/1\.0") as refused:
        uses(pinned(tmp_path, {"tiny-mr/1.0": WRONG}))
    assert package.digest in refused.value.message
    assert WRONG in refused.value.message


def test_a_newer_version_without_a_pin_is_refused(tmp_path: Path) -> None:
    old = make_tiny_package(tmp_path)
    new = make_tiny_package(tmp_path, version="1.1")
    digests = {"tiny-mr/1.0": old.digest}
    with pytest.raises(BadPackage, match=r"tiny-mr/1\.1 is not in model\.digests") as refused:
        uses(pinned(tmp_path, digests))
    assert f'tiny-mr/1.1: "{new.digest}"' in refused.value.advice
    assert uses(pinned(tmp_path, digests, use="tiny-mr/1.0"))


@pytest.mark.parametrize(
    "line", ["brain-mr: " + WRONG, 'brain-mr/1.3: "12"', f'brain-mr/1.3: "{"A" * 64}"']
)
def test_other_names_and_digests_are_errors_of_the_configuration(line: str) -> None:
    with pytest.raises(Misconfigured, match=r"line 3: model\.digests"):
        load_text(f"model:\n  digests:\n    {line}\n")


def test_the_lines_of_models_list_pin_what_is_installed(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny_models, models)
    status, out, _ = run("models", "list", "--models", models)
    assert status == 0
    digests = dict(re.findall(r'^ +(\S+/\S+): "(\w{64})"$', out, re.MULTILINE))
    assert digests
    model = {"dir": str(models), "size": "small", "digests": digests}
    file = configure(tmp_path / "node.yaml", models, model=model)
    assert "model.digests" not in run("check", "--config", file)[1]
    make_tiny_package(models, version="9.0")
    status, out, _ = run("check", "--config", file)
    assert status == 1
    assert "FAIL  packages: package tiny-mr/9.0 is not in model.digests" in out
    assert run("serve", "--config", file)[0] == 78
