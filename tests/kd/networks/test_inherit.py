"""Students that begin with their teacher's channels: the right ones, in the right places."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from msgspec.structs import replace
from torch import Tensor, nn

from kd.commands import main
from kd.errors import BadRecipe
from kd.networks.inherit import inherit
from kd.networks.unet import Ensemble, UNet
from kd.recipe.choices import uniform
from kd.recipe.read import read_recipe
from kd.training.checkpoints import read_checkpoint
from kd.training.runs import new_network, open_run
from kd.training.steps import training_cases
from kd.training.trainer import seeded
from tests.support.kd_phantoms import data_set, write_recipe

STRIDES = ((1, 1, 1), (2, 2, 2), (2, 2, 2))
CPU = torch.device("cpu")


def network(base: int, seed: int, *, fine_width: int = 0, **choices: Any) -> UNet:
    topology = replace(uniform(base, STRIDES, **choices), fine_width=fine_width)
    with seeded(seed):
        return UNet(topology, 3).eval()


def first_weight(network: nn.Module) -> Tensor:
    """Return the weights of the first convolution of the encoder."""
    return network.get_parameter("encoder.0.0.0.weight")


def silence(wide: UNet, share: int) -> None:
    """Switch off all but one in `share` channels of every layer, which ones by chance."""
    with torch.no_grad():
        for module in wide.modules():
            if isinstance(module, nn.InstanceNorm3d | nn.BatchNorm3d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.1, 0.1)
                off = torch.randperm(module.num_features)[module.num_features // share :]
                module.weight[off] = 0
                module.bias[off] = 0
            if isinstance(module, nn.ConvTranspose3d) and module.out_channels > 3:
                assert module.bias is not None
                off = torch.randperm(module.out_channels)[module.out_channels // share :]
                module.weight[:, off] = 0
                module.bias[off] = 0


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("stem_stride", "fine"), [(1, 0), (2, 0), (2, 8)])
@pytest.mark.parametrize("share", [1, 2, 4])
def test_what_is_left_of_a_teacher_gives_its_answer(
    norm: str, stem_stride: int, fine: int, share: int
) -> None:
    wide = network(8, 1, norm=norm, stem_stride=stem_stride, fine_width=fine)
    if wide.fine is not None:
        nn.init.normal_(wide.fine.head.weight)  # a trained fine stage corrects something
    with seeded(2):
        silence(wide, share)
    narrow = network(8 // share, 3, norm=norm, stem_stride=stem_stride, fine_width=fine // share)
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert not torch.allclose(narrow(x), wide(x), atol=0.01)
        inherit(narrow, wide)
        for mine, theirs in zip(narrow.deep(x), wide.deep(x), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("widths", [(8, 16, 32), (8, 16, 16), (8, 8, 16)])
def test_what_is_left_of_a_residual_teacher_gives_its_answer(
    norm: str, widths: tuple[int, ...]
) -> None:
    """All blocks of a stage add to the same channels, so these are switched off together."""
    topology = replace(
        uniform(8, STRIDES, norm=norm),  # type: ignore[arg-type]
        blocks="residual",
        widths=widths,
        convolutions=(1, 2, 3),
    )
    with seeded(1):
        wide = UNet(topology, 3).eval()
    with seeded(2), torch.no_grad():
        silence(wide, 2)
        off: dict[int, Tensor] = {}
        for at, stage in enumerate(wide.encoder):
            blocks = list(stage.children())
            changes = at > 0 and widths[at] != widths[at - 1]
            if at == 0 or changes:
                off[at] = torch.randperm(widths[at])[widths[at] // 2 :]
            else:
                off[at] = off[at - 1]
            ends = [block.second[1] for block in blocks]  # type: ignore[index]
            ends += [wide.stem[1]] if at == 0 else []  # type: ignore[index]
            ends += [blocks[0].shortcut[-1][1]] if changes else []  # type: ignore[index]
            for end in ends:
                assert isinstance(end, nn.InstanceNorm3d | nn.BatchNorm3d)
                end.weight.fill_(1.0)
                end.bias.uniform_(-0.1, 0.1)
                end.weight[off[at]] = end.bias[off[at]] = 0
    with seeded(3):
        narrow = UNet(replace(topology, widths=tuple(w // 2 for w in widths)), 3).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        inherit(narrow, wide)
        for mine, theirs in zip(narrow.deep(x), wide.deep(x), strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_residual_stages_need_the_same_changes_of_width() -> None:
    topology = replace(uniform(8, STRIDES), blocks="residual")
    narrow = replace(topology, widths=(4, 4, 8))
    with pytest.raises(BadRecipe, match="widths"):
        inherit(UNet(narrow, 3), UNet(topology, 3))


def test_stages_that_are_as_wide_as_the_teachers_are_kept_whole() -> None:
    wide = network(8, 1)
    narrow = network(4, 2, least_width=8)
    assert narrow.topology.widths == (8, 8, 16)
    inherit(narrow, wide)
    assert torch.equal(first_weight(narrow), first_weight(wide))


@pytest.mark.parametrize(
    ("choices", "named"),
    [
        ({"base": 16}, "widths"),
        ({"base": 4, "stem_stride": 2}, "stem_stride"),
        ({"base": 4, "convolutions": 1}, "convolutions"),
    ],
)
def test_a_network_of_another_build_inherits_nothing(choices: dict[str, Any], named: str) -> None:
    base = choices.pop("base")
    with pytest.raises(BadRecipe, match=named):
        inherit(network(base, 1, **choices), network(8, 2))


def test_a_fine_stage_is_inherited_from_a_teacher_that_has_one() -> None:
    narrow = network(4, 1, stem_stride=2, fine_width=4)
    with pytest.raises(BadRecipe, match="fine"):
        inherit(narrow, network(8, 2, stem_stride=2))


def test_an_ensemble_has_no_channels_to_inherit() -> None:
    with pytest.raises(BadRecipe, match="one network"):
        inherit(network(4, 1), Ensemble([network(8, 2), network(8, 3)]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a recipe whose small size inherits, beside its teacher's folds, and a data set."""
    root = tmp_path_factory.mktemp("inherit")
    folder = data_set(root / "balls", 4, 1)
    raw = yaml.safe_load(write_recipe(root / "recipe.yaml").read_text(encoding="utf-8"))
    raw["sizes"]["small"] |= {"inherits": True, "norm": "instance"}
    (root / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    words = ["teach", str(root / "recipe.yaml"), "--data", str(folder)]
    assert main([*words, "--runs", str(root), "--device", "cpu"]) == 0
    return root, folder


@pytest.mark.slow
def test_the_distilled_student_inherits_and_its_baseline_does_not(
    trained: tuple[Path, Path],
) -> None:
    root, folder = trained
    words = [str(root / "recipe.yaml"), "--data", str(folder), "--device", "cpu"]
    slow = ["--steps", "1", "--into", str(root / "one")]  # warming up: hardly moved
    assert main(["family", *words, "--runs", str(root), *slow]) == 0
    chosen = read_recipe(root / "recipe.yaml")
    wide, _ = open_run(chosen, "teacher", root / "teacher_0", CPU)
    expected = new_network(chosen, "small")
    random = first_weight(expected).detach().clone()
    inherit(expected, wide)
    records = {}
    for run, like in (("small", first_weight(expected)), ("small-baseline", random)):
        network, records[run] = open_run(chosen, "small", root / "one" / run, CPU)
        assert (first_weight(network) - like).abs().max() < 0.02
    wide_run = records["small"].inherits
    assert wide_run is not None
    assert wide_run.run.step == 6
    assert records["small-baseline"].inherits is None


@pytest.mark.slow
def test_cases_of_an_ancestor_count_as_used(trained: tuple[Path, Path]) -> None:
    root, folder = trained
    words = [str(root / "recipe.yaml"), "--data", str(folder), "--device", "cpu"]
    soft = ["--soft", str(root / "soft-1")]
    teacher = ["--size", "teacher", "--run", str(root / "teacher_1")]
    assert main(["soften", str(root / "recipe.yaml"), "--data", str(folder), *teacher, *soft]) == 0
    student = [
        "--size",
        "small",
        "--no-baselines",
        "--into",
        str(root / "held"),
        "--without-fold",
        "1",
    ]
    assert main(["family", *words, "--runs", str(root), *soft, *student]) == 0
    run = read_checkpoint(root / "held" / "small", CPU).run
    # it inherits from the network of fold 1, which was trained without that fold
    assert run.cases_used == set(training_cases(read_recipe(root / "recipe.yaml"), folder, 1))
    assert run.inherits is not None
    other = replace(run.inherits, run=replace(run.inherits.run, cases=("another",)))
    assert replace(run, inherits=other).cases_used == {*run.cases, "another"}


@pytest.mark.slow
def test_maps_alone_have_no_channels(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root, folder = trained
    words = [str(root / "recipe.yaml"), "--data", str(folder), "--device", "cpu"]
    run = ["--size", "small", "--run", str(root / "other")]
    assert main(["distill", *words, "--soft", str(root / "soft"), *run]) != 0
    assert "size small inherits channels" in capsys.readouterr().err
