"""A family on the same batches: each network gets the weights of a separate training."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from PIL import Image

from kd.commands import main
from kd.release.command import noted
from kd.training.checkpoints import read_checkpoint
from kd.training.preview import BATCH
from kd.training.steps import train, train_all, training_cases
from kd.training.tasks import TrainingTask
from kd.training.trainer import Slice
from tests.support.kd_phantoms import data_set, recipe, write_recipe
from tests.support.kd_training import silent

pytestmark = pytest.mark.slow  # each test trains

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("family") / "balls", 4, 1)


@pytest.fixture(scope="module")
def runs(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a teacher's folds and soft targets."""
    root = tmp_path_factory.mktemp("teacher")
    words = ["teach", str(write_recipe(root / "recipe.yaml")), "--data", str(folder)]
    assert main([*words, "--runs", str(root), "--device", "cpu"]) == 0
    return root


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(run, CPU).averaged


def same(a: Path, b: Path) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


def test_each_network_equals_one_trained_alone(folder: Path, runs: Path, tmp_path: Path) -> None:
    words = [str(runs / "recipe.yaml"), "--data", str(folder), "--device", "cpu"]
    together = [*words, "--runs", str(runs), "--into", str(tmp_path)]
    assert main(["family", *together]) == 0
    alone = tmp_path / "alone"
    run = ["--size", "small", "--run"]
    assert main(["distill", *words, "--runs", str(runs), *run, str(alone)]) == 0
    assert same(tmp_path / "small", alone)
    assert main(["train", *words, *run, str(tmp_path / "plain")]) == 0
    assert same(tmp_path / "small-baseline", tmp_path / "plain")
    assert not same(tmp_path / "small-baseline", alone)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "alone",
        "plain",
        "small",
        "small-baseline",
    ]
    widths = {}
    for name in ("small", "small-baseline"):
        with Image.open(tmp_path / name / BATCH) as picture:
            widths[name] = picture.width
    assert widths["small"] > widths["small-baseline"], "only a student is shown a teacher"
    assert noted(tmp_path / "small") == (
        f"kd family recipe.yaml --data DATA --runs RUNS --into RUNS/{tmp_path.name}"
    )


def test_sizes_seed_and_baselines_are_chosen(
    folder: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["family", str(runs / "recipe.yaml"), "--data", str(folder), "--runs", str(runs)]
    chosen = ["--into", str(tmp_path), "--device", "cpu", "--seed", "2", "--size", "teacher"]
    assert (
        main([*words, *chosen, "--size", "small", "--no-baselines", "--steps", "20", "--json"]) == 0
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["small-seed2", "teacher-seed2"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["name"] for line in lines} == {"teacher-seed2", "small-seed2"}
    assert [line["step"] for line in lines[-2:]] == [20, 20]


def test_finished_runs_go_on(folder: Path, runs: Path, tmp_path: Path) -> None:
    words = [
        str(runs / "recipe.yaml"),
        "--data",
        str(folder),
        "--device",
        "cpu",
        "--runs",
        str(runs),
    ]
    first, then = tmp_path / "first", tmp_path / "then"
    assert main(["family", *words, "--into", str(first)]) == 0
    further = [*words, "--steps", "3", "--seed", "2"]
    assert main(["family", *further, "--start", str(first), "--into", str(then)]) == 0
    alone = ["--size", "small", "--run", str(tmp_path / "alone"), "--start", str(first / "small")]
    assert main(["distill", *further, *alone]) == 0
    assert same(then / "small-seed2", tmp_path / "alone")
    begun = {name: _start(then / f"{name}-seed2") for name in ("small", "small-baseline")}
    assert begun["small"] != begun["small-baseline"]

    shutil.rmtree(first / "small-baseline")  # then a baseline begins where its distilled run does
    assert main(["family", *further, "--start", str(first), "--into", str(tmp_path / "x")]) == 0
    assert _start(tmp_path / "x" / "small-baseline-seed2") == begun["small"]


def _start(run: Path) -> str:
    """Return the digest of the weights that a run began with."""
    start = read_checkpoint(run, CPU).run.start
    assert start is not None
    return start.weights


def test_runs_that_are_ahead_wait_after_a_kill(folder: Path, tmp_path: Path) -> None:
    chosen = recipe()
    task = TrainingTask("small", training_cases(chosen, folder, None))
    whole, ahead, behind = (tmp_path / name for name in ("whole", "ahead", "behind"))
    train(chosen, folder, task, whole, limits=Slice("cpu"), report=silent)
    for run, steps in ((ahead, 3), (behind, 1)):
        limits = Slice("cpu", stop_after_steps=steps)
        train(chosen, folder, task, run, limits=limits, report=silent)
    tasks = {ahead: task, behind: task}
    outcomes = train_all(chosen, folder, tasks, limits=Slice("cpu"))
    assert [len(outcomes[run].losses) for run in (ahead, behind)] == [3, 5]
    assert same(whole, ahead)
    assert same(whole, behind)


def test_budgets_may_differ_and_a_slice_ends_all(folder: Path, tmp_path: Path) -> None:
    chosen = recipe()
    sizes = chosen.sizes | {"small": msgspec.structs.replace(chosen.sizes["small"], steps=3)}
    chosen = msgspec.structs.replace(chosen, sizes=sizes)
    tasks = {
        tmp_path / size: TrainingTask(size, training_cases(chosen, folder, None))
        for size in ("teacher", "small")
    }
    begun = train_all(chosen, folder, tasks, limits=Slice("cpu", stop_after_steps=2))
    assert [(o.step, o.finished) for o in begun.values()] == [(2, False)] * 2
    rest = train_all(chosen, folder, tasks, limits=Slice("cpu"))
    assert [(o.step, o.finished) for o in rest.values()] == [(6, True), (3, True)]
