"""`segnode models bench`, and sizes and engines in status, check and explain."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node import measured
from node.config import Config, load
from node.engines import versions
from node.measured import this_host
from node.package import Package
from node.package import load as load_package
from node.segmenter import run as run_segmenter
from tests.support.commanding import Run, configure
from tests.support.housekeeping import planned_phantom
from tests.support.measuring import a_measurement

FAST_S, SLOW_S = 0.01, 1.0  # per patch


@pytest.fixture
def package(tiny_models: Path) -> Package:
    return load_package(tiny_models / "tiny-mr/1.0")


def with_auto(folder: Path, models: Path, **model: Any) -> Path:
    """Write a configuration in which measurements choose the size."""
    chosen = {"dir": str(models), "size": "auto", "engine": "onnxruntime"} | model
    return configure(folder / "node.yaml", models, model=chosen, limits={"threads": 1})


def measure(config: Config, package: Package, size: str, **changes: Any) -> None:
    """Write a measurement of this machine."""
    host = this_host(config.limits.threads)
    one = msgspec.structs.replace(
        a_measurement(package, size), cpu=host.cpu, threads=host.threads,
        version=host.versions["onnxruntime"], **changes,
    )  # fmt: skip
    measured.write(config.data, one)


@pytest.mark.slow
def test_bench_measures_every_size_and_engine_and_keeps_it(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = with_auto(tmp_path, tiny_models)
    status, printed, _ = run("models", "bench", "--config", file, "--json")
    measurements = json.loads(printed)
    assert status == 0
    assert {(one["size"], one["engine"]) for one in measurements} == {
        (size, engine) for size in ("teacher", "small") for engine in versions()
    }
    config = load(file)
    assert len(measured.read(config.data, this_host(1))) == len(measurements)
    printed = run("status", "--config", file)[1]
    assert "tiny-mr/1.0 small    onnxruntime, reference case" in printed


def test_bench_without_a_configuration_prints_a_table_and_its_progress(
    run: Run, tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--models", str(tiny_models), "--size", "small", "--threads", "1"]
    status, printed, progress = run("models", "bench", *options)
    assert (status, printed.count("tiny-mr/1.0  small")) == (0, len(versions()))
    assert printed.count("fastest") == 1
    assert "measuring tiny-mr/1.0, size small, onnxruntime" in progress
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("deadline", "size"), [("30 s", "teacher"), ("2 s", "small")])
def test_the_deadline_selects_the_size_and_choose_has_the_reason(
    run: Run, tmp_path: Path, tiny_models: Path, package: Package, deadline: str, size: str
) -> None:
    file = with_auto(tmp_path, tiny_models, deadline=deadline)
    config = load(file)
    measure(config, package, "teacher", patch_s=SLOW_S)
    measure(config, package, "small", patch_s=FAST_S)
    chosen = run("models", "choose", "all", "--config", file)[1]
    assert f"the most accurate size that fits {deadline} and" in chosen
    job = planned_phantom(file, tmp_path)
    assert job.segment_payload().size == size
    printed = run("explain", job.study_uid, "--config", file)[1]
    assert f"rule all: tiny-mr/1.0, size {size}" in printed
    assert f"size {size} was chosen for this rule" in printed


def test_without_measurements_a_series_gets_the_size_small(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = with_auto(tmp_path, tiny_models)
    assert "Not benchmarked yet" in run("status", "--config", file)[1]
    job = planned_phantom(file, tmp_path)
    assert job.segment_payload().size == "small"
    run_segmenter(load(file), once=True)
    printed = run("explain", job.study_uid, "--config", file)[1]
    assert "size small until the sizes are measured here" in printed
    assert "computed by onnxruntime" in printed


def test_each_size_has_a_separate_job(
    run: Run, tmp_path: Path, tiny_models: Path, package: Package
) -> None:
    keys = set()
    for deadline in ("30 s", "2 s"):
        folder = tmp_path / deadline.partition(" ")[0]
        folder.mkdir()
        file = with_auto(folder, tiny_models, deadline=deadline)
        measure(load(file), package, "teacher", patch_s=SLOW_S)
        measure(load(file), package, "small", patch_s=FAST_S)
        assert run("models", "choose", "all", "--config", file)[0] == 0
        keys.add(planned_phantom(file, folder).dedup_key)
    assert len(keys) == 2


def findings(run: Run, file: Path) -> dict[str, dict[str, Any]]:
    return {one["subject"]: one for one in json.loads(run("check", "--config", file, "--json")[1])}


def test_check_refuses_a_size_that_exceeds_the_memory(
    run: Run, tmp_path: Path, tiny_models: Path, package: Package
) -> None:
    file = with_auto(tmp_path, tiny_models, size="small", memory="2 GiB")
    assert "not measured yet" in findings(run, file)["rule all, memory"]["message"]
    measure(load(file), package, "small", peak_mb=3000.0)
    finding = findings(run, file)["rule all, memory"]
    assert not finding["ok"]
    assert "MiB at size small, 2048 MiB are allowed" in finding["message"]
    assert "model.memory" in finding["advice"]
    assert run("check", "--config", file)[0] == 1


def test_check_lists_the_installed_engines(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    finding = findings(run, with_auto(tmp_path, tiny_models, engine="auto"))["engine"]
    assert finding["ok"]
    assert f"onnxruntime {versions()['onnxruntime']}" in finding["message"]


@pytest.mark.skipif("openvino" in versions(), reason="openvino is installed")
def test_an_engine_that_is_not_installed_prevents_the_start(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = with_auto(tmp_path, tiny_models, engine="openvino")
    for command in ("check", "serve"):
        status, printed, errors = run(command, "--config", file)
        assert status == (1 if command == "check" else 78)
        assert "engine openvino: the package openvino is not installed" in printed + errors
        assert "pip install 'segnode[fast]'" in printed + errors


def test_bench_and_status_report_a_size_that_no_engine_reproduces(
    run: Run, tmp_path: Path, tiny_models: Path, package: Package
) -> None:
    file = with_auto(tmp_path, tiny_models)
    measure(load(file), package, "teacher", problem="the reference case reaches Dice 0.9")
    printed = run("status", "--config", file)[1]
    assert "tiny-mr/1.0 teacher  the reference case reaches Dice 0.9" in printed
