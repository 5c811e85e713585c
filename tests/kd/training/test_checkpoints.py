"""Checkpoints: resumed, refused when damaged or of another run, and continued by other runs."""

from pathlib import Path

import msgspec
import pytest
import torch

from kd.commands import main
from kd.errors import BadCheckpoint, BadRecipe
from kd.networks import checkpoint
from kd.recipe.choices import Net
from kd.records import encode_run
from kd.training.checkpoints import CHECKPOINT, Checkpoint, read_checkpoint, write_checkpoint
from kd.training.steps import train, training_cases
from kd.training.tasks import TrainingTask
from kd.training.trainer import Outcome, Slice
from tests.support.kd_phantoms import data_set, recipe, write_recipe
from tests.support.kd_training import silent, train_small

pytestmark = pytest.mark.slow  # most tests train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("train") / "balls", 2, 1)


def test_a_finished_checkpoint_keeps_only_averaged_weights(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path, stop_after=1)
    begun = (tmp_path / CHECKPOINT).stat().st_size
    train_small(folder, tmp_path)
    finished = (tmp_path / CHECKPOINT).read_bytes()
    assert len(finished) < begun / 2
    again = train_small(folder, tmp_path)
    assert (again.finished, again.losses) == (True, ())
    assert (tmp_path / CHECKPOINT).read_bytes() == finished


def test_another_recipe_does_not_continue_a_training(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path, stop_after=1)
    with pytest.raises(BadCheckpoint, match="another training"):
        train_small(folder, tmp_path, rate=0.02)


def test_a_damaged_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path, stop_after=1)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:middle], b"", flipped):
        path.write_bytes(damaged)
        with pytest.raises(BadCheckpoint, match="damaged"):
            train_small(folder, tmp_path)


def test_a_checkpoint_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path, stop_after=1)
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
    train_small(folder, tmp_path, stop_after=1)
    saved = read_checkpoint(tmp_path, CPU)
    write_checkpoint(Checkpoint(saved.run, saved.averaged), tmp_path)
    with pytest.raises(BadCheckpoint, match="lacks the state"):
        train_small(folder, tmp_path)


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


def test_a_training_may_add_a_fine_stage(folder: Path, tmp_path: Path) -> None:
    coarse, fine = (
        msgspec.structs.replace(
            recipe(steps=steps),
            strides_zyx=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
            sizes={"small": Net(base=4, norm="batch", stem_stride=2, fine_width=width)},
        )
        for steps, width in ((2, 0), (1, 4))
    )
    names = training_cases(coarse, folder, None)
    limits = Slice("cpu")
    first = TrainingTask("small", names)
    train(coarse, folder, first, tmp_path / "first", limits=limits, report=silent)
    task = TrainingTask("small", names, start=tmp_path / "first")
    train(fine, folder, task, tmp_path / "fine", limits=limits, report=silent)
    saved = read_checkpoint(tmp_path / "fine", CPU)
    assert "fine.head.weight" in saved.averaged
    task = TrainingTask("small", names, start=tmp_path / "fine")
    with pytest.raises(BadCheckpoint, match="another network"):  # not the reverse
        train(coarse, folder, task, tmp_path / "x", limits=limits, report=silent)


def test_only_the_fine_stage_may_be_trained(folder: Path, tmp_path: Path) -> None:
    chosen = msgspec.structs.replace(
        recipe(steps=2),
        strides_zyx=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        sizes={"small": Net(base=4, norm="batch", stem_stride=2, fine_width=4)},
    )
    names, limits = training_cases(chosen, folder, None), Slice("cpu")
    task = TrainingTask("small", names)
    train(chosen, folder, task, tmp_path / "whole", limits=limits, report=silent)
    choice = msgspec.structs.replace(chosen.training, optimiser="muon", fine_stage_only=True)
    part = msgspec.structs.replace(chosen, training=choice)
    with pytest.raises(BadRecipe, match="needs a trained network"):
        train(part, folder, task, tmp_path / "x", limits=limits, report=silent)
    task = TrainingTask("small", names, start=tmp_path / "whole")
    train(part, folder, task, tmp_path / "part", limits=limits, report=silent)
    before, after = (read_checkpoint(tmp_path / run, CPU).averaged for run in ("whole", "part"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("fine.") for name in changed)
    convolutions = {f"fine.{part}.weight" for part in ("stem.0", "up", "decoder.1.0", "head")}
    assert convolutions <= changed


def test_a_size_without_a_fine_stage_cannot_train_it_alone(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path / "first")
    plain = recipe(steps=1)
    choice = msgspec.structs.replace(plain.training, fine_stage_only=True)
    chosen = msgspec.structs.replace(plain, training=choice)
    task = TrainingTask("small", training_cases(chosen, folder, None), start=tmp_path / "first")
    with pytest.raises(BadRecipe, match="size small has none"):
        train(chosen, folder, task, tmp_path / "x", limits=Slice("cpu"), report=silent)


def test_a_training_may_continue_another(folder: Path, tmp_path: Path) -> None:
    train_small(folder, tmp_path / "first")
    chosen = recipe(steps=4)
    names = training_cases(chosen, folder, None)
    task = TrainingTask("small", names, start=tmp_path / "first")

    def go_on(run: str, stop: int | None = None) -> Outcome:
        limits = Slice("cpu", stop_after_steps=stop)
        return train(chosen, folder, task, tmp_path / run, limits=limits, report=silent)

    whole = go_on("whole")
    plain = TrainingTask("small", names)
    limits = Slice("cpu")
    from_nothing = train(chosen, folder, plain, tmp_path / "x", limits=limits, report=silent)
    assert whole.losses[0] < from_nothing.losses[0], "it starts from trained weights"
    assert go_on("parts", 2).losses + go_on("parts").losses == whole.losses
    lineage = read_checkpoint(tmp_path / "whole", CPU).run.lineage
    assert [one.step for one in lineage] == [4, 6]
    with pytest.raises(BadCheckpoint, match="another training"):
        train(chosen, folder, plain, tmp_path / "parts", limits=limits, report=silent)


def test_only_a_finished_run_of_the_same_network_is_continued(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_small(folder, tmp_path / "half", stop_after=2)
    train_small(folder, tmp_path / "whole")
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
