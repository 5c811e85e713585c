"""Training: learns, repeats itself exactly, survives kills, damaged files and full disks."""

import math
from pathlib import Path

import msgspec
import pytest
import torch
import yaml

from kd.commands import main
from kd.data.batches import Batches
from kd.data.cases import read_cases
from kd.data.splits import names_of
from kd.errors import BadRecipe, BadSplit, Diverged
from kd.evaluation.score import score
from kd.networks import checkpoint
from kd.networks.precision import autocast
from kd.recipe.choices import Augment
from kd.recipe.read import read_recipe
from kd.training.checkpoints import CHECKPOINT, read_checkpoint
from kd.training.loop import TrainingRun, train_runs
from kd.training.losses import supervised
from kd.training.runs import new_network
from kd.training.steps import held_out, train, training_cases
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import (
    Slice,
    Trainer,
    averaged_network,
    schedule,
)
from node.pipeline import dice
from tests.support.kd_phantoms import data_set, recipe, write_recipe
from tests.support.kd_training import silent, train_small

EFFECTS = [f.name for f in msgspec.structs.fields(Augment) if f.name.endswith("_p")]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("train") / "balls", 2, 1)


@pytest.mark.slow
def test_two_small_cases_are_overfitted(folder: Path, tmp_path: Path) -> None:
    still = Augment(**dict.fromkeys(EFFECTS, 0.0), mirror_left=False, shift_voxels=0)  # type: ignore[arg-type]
    chosen = msgspec.structs.replace(recipe(steps=200), augment=still)
    task = TrainingTask("teacher", training_cases(chosen, folder, None))
    train(chosen, folder, task, tmp_path, limits=Slice("cpu"), report=silent)
    network, run = averaged_network(new_network(chosen, "teacher"), tmp_path, CPU)
    assert run.step == 200
    cases = read_cases(chosen, folder, ["ball_0", "ball_1"])
    batch = Batches(cases, (16, 16, 16), chosen.training, CPU).at(0, None)
    with torch.no_grad():
        labels = network(batch.image_bczyx).argmax(1)
    for number in (1, 2):
        a, b = (labels == number).numpy(), (batch.labels_bzyx == number).numpy()
        assert dice(a, b) > 0.9


@pytest.mark.slow
def test_the_same_seed_gives_the_same_losses_to_the_last_digit(
    folder: Path, tmp_path: Path
) -> None:
    first = train_small(folder, tmp_path / "a")
    assert first.losses == train_small(folder, tmp_path / "b").losses
    assert first.losses != train_small(folder, tmp_path / "c", seed=2).losses


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    folder: Path, tmp_path: Path, optimiser: str
) -> None:
    whole = train_small(folder, tmp_path / "whole", optimiser=optimiser)
    begun = train_small(folder, tmp_path / "parts", stop_after=2, optimiser=optimiser)
    assert not begun.finished
    rest = train_small(folder, tmp_path / "parts", optimiser=optimiser)
    assert rest.finished
    assert begun.losses + rest.losses == whole.losses
    states = [checkpoint.load(tmp_path / run / CHECKPOINT, CPU) for run in ("whole", "parts")]
    for name, weight in states[0]["averaged"].items():
        assert torch.equal(weight, states[1]["averaged"][name]), name


@pytest.mark.slow
def test_a_size_may_have_its_own_training_unless_the_command_line_says_one(
    folder: Path, tmp_path: Path
) -> None:
    raw = yaml.safe_load(write_recipe(tmp_path / "recipe.yaml").read_text(encoding="utf-8"))
    raw["sizes"]["small"] |= {"steps": 3, "optimiser": "muon", "rate": 0.02}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    chosen = read_recipe(tmp_path / "recipe.yaml")
    small, teacher = chosen.training_of("small"), chosen.training_of("teacher")
    assert (small.steps, small.optimiser, small.rate) == (3, "muon", 0.02)
    assert (teacher.steps, teacher.optimiser, teacher.rate) == (6, "adamw", 0.01)
    words = ["train", str(tmp_path / "recipe.yaml"), "--data", str(folder), "--size", "small"]
    for run, steps, options in (("a", 3, []), ("b", 2, ["--steps", "2"])):
        assert main([*words, "--run", str(tmp_path / run), *options, "--device", "cpu"]) == 0
        assert read_checkpoint(tmp_path / run, CPU).run.step == steps


@pytest.mark.slow
def test_patches_may_be_smaller_in_training(folder: Path, tmp_path: Path) -> None:
    shapes: list[torch.Size] = []

    def objective(outputs: list[torch.Tensor], _batch: object, _share: float) -> torch.Tensor:
        shapes.append(outputs[0].shape[2:])
        return outputs[0].square().mean()

    chosen = recipe(steps=1, patch_zyx=[8, 12, 8])
    names = training_cases(chosen, folder, None)
    cases = read_cases(chosen, folder, names)
    batches = Batches(cases, chosen.training_patch_zyx, chosen.training, CPU)
    record = new_run(chosen, TrainingTask("small", names), None)
    trainer = Trainer(new_network(chosen, "small"), record, CPU)
    train_runs([TrainingRun(trainer, objective, tmp_path)], batches)
    assert shapes == [(8, 12, 8)]
    small = train_small(folder, tmp_path / "small", patch_zyx=[8, 12, 8])
    assert small.losses != train_small(folder, tmp_path / "whole").losses, "train uses it too"
    with pytest.raises(BadRecipe, match=r"patch \(8, 11, 8\) is no multiple"):
        recipe(patch_zyx=[8, 11, 8]).topology("small")


@pytest.mark.parametrize(
    ("capabilities", "is_chosen"),
    [
        ({"avx2": True}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, False),  # slower than float32
        ({"avx512_bf16": True, "amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
    ],
)
def test_bfloat16_is_chosen_only_with_matrix_units(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], is_chosen: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    with autocast(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert (product.dtype == torch.bfloat16) is is_chosen


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    train_small(folder, tmp_path, stop_after=2)
    chosen = recipe()
    cases = read_cases(chosen, folder, ["ball_0"])
    batches = Batches(cases, (16, 16, 16), chosen.training, CPU)
    network = new_network(chosen, "small")
    names = names_of(chosen, folder, "train")
    record = new_run(chosen, TrainingTask("small", names), None)
    trainer = Trainer(network, record, CPU)
    with pytest.raises(Diverged, match="step 2"):
        train_runs(
            [TrainingRun(trainer, lambda out, *_: out[0].sum() * math.nan, tmp_path)], batches
        )
    assert read_checkpoint(tmp_path, CPU).run.step == 2


@pytest.mark.slow
def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    chosen = recipe()
    batches = Batches(read_cases(chosen, folder, ["ball_0"]), (16, 16, 16), chosen.training, CPU)
    network = new_network(chosen, "small")
    trainer = Trainer(network, new_run(chosen, TrainingTask("small", ("ball_0",)), None), CPU)
    with pytest.raises(Diverged, match="gradient is nan at step 0"):
        # finite itself, but its slope at zero is not
        train_runs(
            [TrainingRun(trainer, lambda out, *_: (out[0] * 0).sum().sqrt(), tmp_path)], batches
        )
    with pytest.raises(Diverged, match="gradient is nan at step 0"):
        trainer.save(tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.slow
def test_a_loss_is_checked_before_each_checkpoint_and_its_own_step_is_named(
    folder: Path, tmp_path: Path
) -> None:
    chosen = recipe(steps=20, checkpoint_every_s=0)
    batches = Batches(read_cases(chosen, folder, ["ball_0"]), (16, 16, 16), chosen.training, CPU)
    task = TrainingTask("small", ("ball_0",))
    trainer = Trainer(new_network(chosen, "small"), new_run(chosen, task, None), CPU)

    def objective(out: list[torch.Tensor], *_: object) -> torch.Tensor:
        return out[0].square().mean() * (math.nan if trainer.step == 4 else 1.0)

    with pytest.raises(Diverged, match="loss is nan at step 4"):
        train_runs([TrainingRun(trainer, objective, tmp_path)], batches)
    saved = read_checkpoint(tmp_path, CPU)
    assert saved.run.step == 4
    assert saved.network is not None
    weights = [*saved.averaged.values(), *saved.network.values()]
    assert all(bool(weight.isfinite().all()) for weight in weights)


@pytest.mark.slow
def test_losses_that_are_read_late_are_those_of_their_steps(folder: Path) -> None:
    chosen = recipe(steps=20)
    batches = Batches(read_cases(chosen, folder, ["ball_0"]), (16, 16, 16), chosen.training, CPU)
    losses = []
    for every in (1, 3, 7):
        task = TrainingTask("small", ("ball_0",))
        trainer = Trainer(new_network(chosen, "small"), new_run(chosen, task, None), CPU)
        for step in range(7):
            trainer.train_step(batches.at(step, chosen.augment), supervised())
            assert len(trainer.losses) == step // every * every
            if (step + 1) % every == 0:
                trainer.read_losses()
        trainer.read_losses()
        losses.append(trainer.losses)
    assert len(losses[0]) == 7
    assert losses[0] == losses[1] == losses[2]


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    choice = recipe().training
    assert schedule(0.0, choice) < 0.1
    assert schedule(choice.warm_up, choice) > 0.95
    assert schedule(1.0, choice) == 0.0


@pytest.mark.slow
def test_a_budget_is_steps_or_minutes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="either"):
        train_small(folder, tmp_path, minutes=1.0)


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r.yaml", epochs=5)
    with pytest.raises(BadRecipe, match="epochs"):
        read_recipe(path)


def test_a_recipe_comes_back_from_yaml_as_it_was(tmp_path: Path) -> None:
    assert read_recipe(write_recipe(tmp_path / "r.yaml")) == recipe()


@pytest.mark.slow
def test_a_case_of_an_ancestor_run_cannot_be_scored(folder: Path, tmp_path: Path) -> None:
    chosen = recipe(steps=2)
    first = TrainingTask("small", ("ball_0", "ball_1"))
    train(chosen, folder, first, tmp_path / "first", limits=Slice("cpu"), report=silent)
    held = held_out(chosen, folder, 0)
    rest = tuple(name for name in first.names if name not in held)
    task = TrainingTask("small", rest, start=tmp_path / "first")
    train(chosen, folder, task, tmp_path / "then", limits=Slice("cpu"), report=silent)
    with pytest.raises(BadSplit, match=f"was trained on case {held[0]}"):
        score(chosen, folder, "small", tmp_path / "then", 0, device="cpu")
