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
from kd.errors import BadCheckpoint, BadRecipe, BadSplit, Diverged
from kd.evaluation.score import score
from kd.networks import checkpoint
from kd.networks.precision import autocast
from kd.recipe.choices import Augment
from kd.recipe.read import read_recipe
from kd.records import encode_run
from kd.training.checkpoints import CHECKPOINT, Checkpoint, read_checkpoint, write_checkpoint
from kd.training.loop import TrainingRun, train_runs
from kd.training.runs import new_network
from kd.training.steps import held_out, train, training_cases
from kd.training.tasks import TrainingTask, new_run
from kd.training.trainer import (
    Outcome,
    Progress,
    Slice,
    Trainer,
    averaged_network,
    schedule,
)
from node.pipeline import dice
from tests.support.kd_phantoms import data_set, recipe, write_recipe

EFFECTS = [f.name for f in msgspec.structs.fields(Augment) if f.name.endswith("_p")]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("train") / "balls", 2, 1)


def silent(_: Progress) -> None:
    """Say nothing."""


def _train(
    folder: Path, run: Path, *, stop_after: int | None = None, **training: object
) -> Outcome:
    here = Slice("cpu", stop_after_steps=stop_after)
    chosen = recipe(**training)
    task = TrainingTask("small", training_cases(chosen, folder, None))
    return train(chosen, folder, task, run, here=here, report=silent)


def test_two_small_cases_are_overfitted(folder: Path, tmp_path: Path) -> None:
    still = Augment(**dict.fromkeys(EFFECTS, 0.0), mirror_left=False, shift_voxels=0)  # type: ignore[arg-type]
    chosen = msgspec.structs.replace(recipe(steps=200), augment=still)
    task = TrainingTask("teacher", training_cases(chosen, folder, None))
    train(chosen, folder, task, tmp_path, here=Slice("cpu"), report=silent)
    network, run = averaged_network(new_network(chosen, "teacher"), tmp_path, CPU)
    assert run.step == 200
    cases = read_cases(chosen, folder, ["ball_0", "ball_1"])
    batch = Batches(cases, (16, 16, 16), chosen.training, CPU).at(0, None)
    with torch.no_grad():
        found = network(batch.image_bczyx).argmax(1)
    for number in (1, 2):
        a, b = (found == number).numpy(), (batch.labels_bzyx == number).numpy()
        assert dice(a, b) > 0.9


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(
    folder: Path, tmp_path: Path
) -> None:
    first = _train(folder, tmp_path / "a")
    assert first.losses == _train(folder, tmp_path / "b").losses
    assert first.losses != _train(folder, tmp_path / "c", seed=2).losses


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_resumed_training_equals_an_uninterrupted_one(
    folder: Path, tmp_path: Path, optimiser: str
) -> None:
    whole = _train(folder, tmp_path / "whole", optimiser=optimiser)
    begun = _train(folder, tmp_path / "parts", stop_after=2, optimiser=optimiser)
    assert not begun.finished
    rest = _train(folder, tmp_path / "parts", optimiser=optimiser)
    assert rest.finished
    assert begun.losses + rest.losses == whole.losses
    states = [checkpoint.load(tmp_path / run / CHECKPOINT, CPU) for run in ("whole", "parts")]
    for name, weight in states[0]["averaged"].items():
        assert torch.equal(weight, states[1]["averaged"][name]), name


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
    small = _train(folder, tmp_path / "small", patch_zyx=[8, 12, 8])
    assert small.losses != _train(folder, tmp_path / "whole").losses, "train uses it too"
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


def test_a_finished_checkpoint_keeps_only_averaged_weights(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path, stop_after=1)
    begun = (tmp_path / CHECKPOINT).stat().st_size
    _train(folder, tmp_path)
    finished = (tmp_path / CHECKPOINT).read_bytes()
    assert len(finished) < begun / 2
    again = _train(folder, tmp_path)
    assert (again.finished, again.losses) == (True, ())
    assert (tmp_path / CHECKPOINT).read_bytes() == finished


def test_another_recipe_does_not_continue_a_training(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path, stop_after=1)
    with pytest.raises(BadCheckpoint, match="another training"):
        _train(folder, tmp_path, rate=0.02)


def test_a_damaged_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path, stop_after=1)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:middle], b"", flipped):
        path.write_bytes(damaged)
        with pytest.raises(BadCheckpoint, match="damaged"):
            _train(folder, tmp_path)


def test_a_checkpoint_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path, stop_after=1)
    saved = read_checkpoint(tmp_path, CPU)
    checkpoint.save({"format": 2, "averaged": saved.averaged}, tmp_path / CHECKPOINT)
    with pytest.raises(BadCheckpoint, match="another version"):
        read_checkpoint(tmp_path, CPU)
    record = encode_run(saved.run).replace('"format":3', '"format":4')
    content = {"run": record, "averaged": saved.averaged}
    checkpoint.save(content, tmp_path / CHECKPOINT)
    with pytest.raises(BadCheckpoint, match="format"):
        read_checkpoint(tmp_path, CPU)


def test_an_unfinished_checkpoint_without_its_optimiser_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    _train(folder, tmp_path, stop_after=1)
    saved = read_checkpoint(tmp_path, CPU)
    write_checkpoint(Checkpoint(saved.run, saved.averaged), tmp_path)
    with pytest.raises(BadCheckpoint, match="lacks the state"):
        _train(folder, tmp_path)


def test_a_checkpoint_that_is_a_program_is_refused(tmp_path: Path) -> None:
    torch.save({"step": Path}, tmp_path / CHECKPOINT)
    with pytest.raises(BadCheckpoint, match="damaged"):
        checkpoint.load(tmp_path / CHECKPOINT, CPU)


def test_a_failed_save_leaves_the_last_checkpoint_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / CHECKPOINT
    checkpoint.save({"step": 1}, path)

    def full(_content: object, _file: object) -> None:
        message = "No space left on device"
        raise OSError(28, message)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(BadCheckpoint, match="could not be saved"):
        checkpoint.save({"step": 2}, path)
    monkeypatch.undo()
    assert checkpoint.load(path, CPU) == {"step": 1}
    assert [p.name for p in tmp_path.iterdir()] == [CHECKPOINT]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    folder: Path, tmp_path: Path
) -> None:
    _train(folder, tmp_path, stop_after=2)
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


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(
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
    assert all(bool(weight.isfinite().all()) for weight in network.parameters())


def test_the_schedule_warms_up_and_ends_at_zero() -> None:
    choice = recipe().training
    assert schedule(0.0, choice) < 0.1
    assert schedule(choice.warm_up, choice) > 0.95
    assert schedule(1.0, choice) == 0.0


def test_a_budget_is_steps_or_minutes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="either"):
        _train(folder, tmp_path, minutes=1.0)


def test_a_recipe_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "r.yaml", epochs=5)
    with pytest.raises(BadRecipe, match="epochs"):
        read_recipe(path)


def test_a_recipe_comes_back_from_yaml_as_it_was(tmp_path: Path) -> None:
    assert read_recipe(write_recipe(tmp_path / "r.yaml")) == recipe()


def test_a_training_may_continue_another(folder: Path, tmp_path: Path) -> None:
    _train(folder, tmp_path / "first")
    chosen = recipe(steps=4)
    names = training_cases(chosen, folder, None)
    task = TrainingTask("small", names, start=tmp_path / "first")

    def go_on(run: str, stop: int | None = None) -> Outcome:
        here = Slice("cpu", stop_after_steps=stop)
        return train(chosen, folder, task, tmp_path / run, here=here, report=silent)

    whole = go_on("whole")
    plain = TrainingTask("small", names)
    here = Slice("cpu")
    from_nothing = train(chosen, folder, plain, tmp_path / "x", here=here, report=silent)
    assert whole.losses[0] < from_nothing.losses[0], "it starts from trained weights"
    assert go_on("parts", 2).losses + go_on("parts").losses == whole.losses
    lineage = read_checkpoint(tmp_path / "whole", CPU).run.lineage
    assert [one.step for one in lineage] == [4, 6]
    with pytest.raises(BadCheckpoint, match="another training"):
        train(chosen, folder, plain, tmp_path / "parts", here=here, report=silent)


def test_only_a_finished_run_of_the_same_network_is_continued(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(folder, tmp_path / "half", stop_after=2)
    _train(folder, tmp_path / "whole")
    words = ["train", str(write_recipe(tmp_path / "recipe.yaml")), "--data", str(folder)]
    words += ["--device", "cpu", "--run", str(tmp_path / "new")]
    for size, run, raw in (
        ("small", "half", "stopped at step 2"),
        ("teacher", "whole", "is of another network"),
        ("small", "none", "has no checkpoint"),
    ):
        assert main([*words, "--size", size, "--start", str(tmp_path / run)]) == 1
        assert raw in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_case_of_an_ancestor_run_cannot_be_scored(folder: Path, tmp_path: Path) -> None:
    chosen = recipe(steps=2)
    first = TrainingTask("small", ("ball_0", "ball_1"))
    train(chosen, folder, first, tmp_path / "first", here=Slice("cpu"), report=silent)
    held = held_out(chosen, folder, 0)
    rest = tuple(name for name in first.names if name not in held)
    task = TrainingTask("small", rest, start=tmp_path / "first")
    train(chosen, folder, task, tmp_path / "then", here=Slice("cpu"), report=silent)
    with pytest.raises(BadSplit, match=f"was trained on case {held[0]}"):
        score(chosen, folder, "small", tmp_path / "then", 0, device="cpu")
