"""Soft targets: means of teachers, mirrored only where the recipe allows it, refused by name."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd.data.cases import Case, prepare, read_pair
from kd.data.soft_targets import (
    MAKER,
    TRAINING_CASES,
    Makers,
    read_maps,
    soft_map,
    training_cases_of,
    write_maps,
)
from kd.errors import BadTeacher
from kd.recipe.read import Recipe
from tests.support.kd_phantoms import data_set, recipe

CPU = torch.device("cpu")


class Sided(nn.Module):
    """Says class 1 towards the left end of a patch, whatever the image."""

    def forward(self, x_bczyx: Tensor) -> Tensor:
        ramp = torch.linspace(-4, 4, x_bczyx.shape[4]).expand_as(x_bczyx)
        return torch.cat([torch.zeros_like(ramp), ramp, torch.full_like(ramp, -9)], 1)


class Confident(nn.Module):
    """Says class 2 everywhere."""

    def forward(self, x_bczyx: Tensor) -> Tensor:
        zeros = torch.zeros_like(x_bczyx)
        return torch.cat([zeros, zeros, zeros + 30], 1)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return prepare(recipe(), read_pair(recipe(), data_set(tmp_path / "balls", 1, 1), "ball_0"))


def _mirrored(*, is_on: bool) -> Recipe:
    augment = msgspec.structs.replace(recipe().augment, mirror_left=is_on)
    return msgspec.structs.replace(recipe(), augment=augment)


def test_a_map_holds_log_probabilities_of_every_class(case: Case) -> None:
    soft = soft_map(case, [Sided()], _mirrored(is_on=False), CPU)
    assert soft.shape == (3, *case.labels.array.shape)
    np.testing.assert_allclose(np.exp(soft.astype(float)).sum(0), 1, atol=5e-3)


def test_sides_are_kept_unless_the_recipe_mirrors(case: Case) -> None:
    as_is = soft_map(case, [Sided()], _mirrored(is_on=False), CPU)[1].astype(float)
    mixed = soft_map(case, [Sided()], _mirrored(is_on=True), CPU)[1].astype(float)
    assert as_is[..., -1].mean() - as_is[..., 0].mean() > 2
    assert abs(mixed[..., -1].mean() - mixed[..., 0].mean()) < 0.1


def test_several_teachers_are_averaged_in_probability(case: Case) -> None:
    both = soft_map(case, [Sided(), Confident()], _mirrored(is_on=False), CPU)
    alone = soft_map(case, [Sided()], _mirrored(is_on=False), CPU)
    expected = np.exp(alone[1].astype(float)) / 2
    np.testing.assert_allclose(np.exp(both[1].astype(float)), expected, atol=5e-3)


def test_maps_are_written_once_and_read_back(case: Case, tmp_path: Path) -> None:
    chosen = _mirrored(is_on=False)
    assert write_maps([case], Makers(lambda _: [Sided()], []), chosen, CPU, tmp_path / "soft") == 1
    assert write_maps([case], Makers(lambda _: [Sided()], []), chosen, CPU, tmp_path / "soft") == 0
    assert read_maps([case], 3, tmp_path / "soft")[0].dtype == np.float16


def test_maps_record_the_cases_of_their_makers(case: Case, tmp_path: Path) -> None:
    chosen, folder = _mirrored(is_on=False), tmp_path / "soft"
    write_maps([case], Makers(lambda _: [Sided()], ["ball_1", "ball_2"]), chosen, CPU, folder)
    assert training_cases_of(folder) == ("ball_1", "ball_2")
    (folder / TRAINING_CASES).unlink()
    with pytest.raises(BadTeacher, match=TRAINING_CASES):
        training_cases_of(folder)
    (folder / TRAINING_CASES).write_text("{}", encoding="utf-8")
    with pytest.raises(BadTeacher, match=TRAINING_CASES):
        training_cases_of(folder)


def test_a_map_of_another_shape_is_refused_by_name(case: Case, tmp_path: Path) -> None:
    np.save(tmp_path / "ball_0.npy", np.zeros((3, 2, 2, 2), np.float16))
    with pytest.raises(BadTeacher, match="case ball_0 has another shape"):
        read_maps([case], 3, tmp_path)


def test_a_damaged_map_is_refused_by_name(case: Case, tmp_path: Path) -> None:
    (tmp_path / "ball_0.npy").write_bytes(b"no array")
    with pytest.raises(BadTeacher, match="case ball_0"):
        read_maps([case], 3, tmp_path)


def test_maps_of_two_teachers_never_mix(case: Case, tmp_path: Path) -> None:
    chosen, folder = _mirrored(is_on=False), tmp_path / "soft"
    write_maps([case], Makers(lambda _: [nn.Conv3d(1, 3, 1)], []), chosen, CPU, folder)
    with pytest.raises(BadTeacher, match="folder soft holds soft targets of another teacher"):
        write_maps([case], Makers(lambda _: [nn.Conv3d(1, 3, 1)], []), chosen, CPU, folder)
    (folder / MAKER).unlink()
    with pytest.raises(BadTeacher, match="no record of their teacher"):
        write_maps([case], Makers(lambda _: [nn.Conv3d(1, 3, 1)], []), chosen, CPU, folder)


def test_a_full_disk_is_reported_and_leaves_no_partial_map(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(BadTeacher, match="in soft could not be saved: No space left"):
        write_maps(
            [case], Makers(lambda _: [Sided()], []), _mirrored(is_on=False), CPU, tmp_path / "soft"
        )
    assert sorted(path.name for path in (tmp_path / "soft").iterdir()) == [MAKER, TRAINING_CASES]
