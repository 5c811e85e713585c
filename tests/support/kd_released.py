"""A family of phantoms, trained, distilled and released: the start of tests of releases."""

from pathlib import Path
from typing import Any

import yaml

from kd.commands import main
from tests.support.kd_phantoms import data_set, write_recipe

OTHER: dict[str, Any] = {
    "name": "Another scanner",
    "images": "other/images",
    "labels": "other/labels",
    "ids": "ids.csv",
    "subjects": {"ball_0": "somebody", "ball_1": "somebody"},
    "note": "Only the bright ball is known there.",
}
TWICE: dict[str, Any] = {  # the other contrast of the same people is the image itself
    "name": "The same people",
    "images": "other/images",
    "against": "other/images",
    "masks": "other/labels",
    "subjects": {"ball_0": "somebody", "ball_1": "somebody"},
    "note": "Without a reference.",
}
BUDGET = ["--steps", "12", "--device", "cpu"]


def make_world(root: Path) -> Path:
    """A data set, a trained and distilled family, a baseline, and the released package."""
    data_set(root / "balls", 4, 2)
    data_set(root / "other", 2, 1)
    (root / "ids.csv").write_text("id,segment\n1,1\n2,\n", encoding="utf-8")
    recipe = yaml.safe_load(write_recipe(root / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["external"] = [OTHER]
    recipe["unlabelled"] = [TWICE]
    (root / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (root / "notice.txt").write_text("made by the tests", encoding="utf-8")
    common = [str(root / "recipe.yaml"), "--data", str(root / "balls"), *BUDGET]
    runs = ["--runs", str(root / "runs")]
    assert main(["teach", *common, *runs]) == 0
    for size in ("teacher", "small"):
        run = ["--size", size, "--run", str(root / "runs" / size)]
        assert main(["distill", *common, *runs, *run]) == 0
    baseline = ["--size", "small", "--run", str(root / "runs" / "small-alone")]
    assert main(["train", *common, *baseline]) == 0
    assert main(release_words(root, "0.1")) == 0
    return root


def release_words(root: Path, version: str, recipe: str = "recipe.yaml") -> list[str]:
    """Return the arguments that release a version of the family."""
    words = ["release", str(root / recipe), "--data", str(root / "balls")]
    words += ["--runs", str(root / "runs"), "--version", version]
    words += ["--compare", f"baseline=small:{root / 'runs' / 'small-alone'}"]
    image = root / "balls" / "images" / "ball_0.nii.gz"
    words += ["--reference-image", str(image), "--notice", str(root / "notice.txt")]
    return [*words, "--external", str(root), "--models", str(root / "models")]


def package_of(world: Path) -> Path:
    """Return the folder of the released package."""
    return world / "models" / "two-balls" / "0.1"
