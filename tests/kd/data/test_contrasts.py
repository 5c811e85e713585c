"""Kinds of scan among the synthetic images: their shares, and random contrasts for the rest."""

from pathlib import Path

import msgspec
import pytest

from kd.data.cases import read_anatomy
from kd.data.synthesis import synthesise_scan
from kd.errors import BadRecipe
from kd.recipe.choices import Contrast
from tests.kd.data.test_synthesis import (
    ANATOMY,
    FLUID,
    LEFT,
    RIGHT,
    changed,
    head,
    synthetic_recipe,
)

KINDS = (
    Contrast(name="bright", share=0.5, means=(0.9, 0.1)),
    Contrast(name="dark", share=0.5, means=(0.2, 0.6)),
)
GROUPED = msgspec.structs.replace(ANATOMY, alike=((LEFT, RIGHT), (FLUID,)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One head."""
    root = tmp_path_factory.mktemp("heads")
    head(root)
    return root


def test_kinds_of_scan_have_their_shares(folder: Path) -> None:
    choice = changed(anatomy=GROUPED, contrasts=KINDS, contrast_spread=0.01, alike_spread=0.01)
    anatomy = read_anatomy(synthetic_recipe(choice), folder, "head_0")
    labels = anatomy.targets[anatomy.tissue_zyx.int()]
    fluid = anatomy.alike[anatomy.tissue_zyx.int()] == 1
    brighter = 0
    for seed in range(60):
        image, _ = synthesise_scan(anatomy, choice, seed)
        brain, water = (float(image.array[m.numpy()].mean()) for m in (labels > 0, fluid))
        brighter += brain > water
    assert 15 <= brighter <= 45
    assert (
        len({float(synthesise_scan(anatomy, choice, seed)[0].array.max()) for seed in (1, 2, 3)})
        == 3
    )


def test_other_images_have_a_random_contrast(folder: Path) -> None:
    only_one = (Contrast(name="bright", share=0.0, means=(0.9, 0.1)),)
    choice = changed(anatomy=GROUPED, contrasts=only_one, alike_p=1.0, alike_spread=0.0)
    anatomy = read_anatomy(synthetic_recipe(choice), folder, "head_0")
    images = [synthesise_scan(anatomy, choice, seed)[0].array for seed in range(20)]
    labels = anatomy.targets[anatomy.tissue_zyx.int()].numpy()
    fluid = (anatomy.alike[anatomy.tissue_zyx.int()] == 1).numpy()
    signs = {bool(a[labels > 0].mean() > a[fluid].mean()) for a in images}
    assert signs == {True, False}


def test_contrasts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadRecipe, match="contrast bright has 2 means for 0 groups"):
        changed(contrasts=KINDS)
    twice = tuple(msgspec.structs.replace(kind, share=0.6) for kind in KINDS)
    with pytest.raises(BadRecipe, match="more than 1 together"):
        changed(anatomy=GROUPED, contrasts=twice)
