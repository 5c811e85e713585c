"""The size of a rule with `size: auto`: decided once, written until a person accepts another."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml

from node import engines, measured, queue, schema
from node.config import Config, DataConfig, load_text
from node.errors import Misconfigured
from node.housekeeping.sizes import decide_sizes, with_sizes
from node.measured import suggestion, this_host, with_size
from node.measured.cost import MIB
from node.package import Package, Use, uses
from node.package.manifest import SizeName
from node.queue import ChosenSize
from node.schema import NODE
from tests.support.commanding import Run, configure
from tests.support.measuring import HOST, a_measurement, written
from tests.support.packages import make_tiny_package
from tests.support.rows import T0

SIZES: tuple[SizeName, ...] = ("teacher", "small", "tiny")
COSTS = {"teacher": 12.0, "small": 3.0, "tiny": 0.6}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return make_tiny_package(tmp_path_factory.mktemp("models"), sizes=SIZES)


def auto(package: Package, deadline_s: float = 30.0) -> Use:
    return Use("a", package, "auto", deadline_s=deadline_s)


def test_nothing_is_suggested_until_every_size_is_measured(
    package: Package, tmp_path: Path
) -> None:
    data = DataConfig(dir=tmp_path / "data")
    every = [a_measurement(package, size, engine) for size in SIZES for engine in HOST.versions]
    assert suggestion(auto(package), written(data, *every[:-1]), HOST) is None
    choice = suggestion(auto(package), written(data, *every), HOST)
    assert choice is not None
    assert choice.size == "teacher"


def test_no_size_is_suggested_that_failed_or_exceeds_the_memory(
    package: Package, tmp_path: Path
) -> None:
    every = [a_measurement(package, size, engine) for size in SIZES for engine in HOST.versions]
    failed = [msgspec.structs.replace(one, problem="other labels") for one in every]
    data = DataConfig(dir=tmp_path / "data")
    assert suggestion(auto(package), written(data, *failed), HOST) is None
    large = [
        msgspec.structs.replace(one, peak_mb=9000.0) if one.size == "teacher" else one
        for one in every
    ]
    needs = measured.largest_mb(auto(package), written(data, *large))
    for memory_mb, size in ((needs["teacher"], "teacher"), (needs["small"], "small"), (1, "small")):
        use = replace(auto(package), memory_bytes=memory_mb * MIB)
        choice = suggestion(use, written(data, *large), HOST)
        assert choice is not None
        assert choice.size == size


def test_until_measured_small_runs_or_the_smallest_size(package: Package, tmp_path: Path) -> None:
    assert with_size(auto(package), None).size == "small"
    without = make_tiny_package(tmp_path, sizes=("teacher", "tiny"))
    assert with_size(auto(without), None).size == "tiny"
    assert with_size(auto(package), "tiny").size == "tiny"
    assert with_size(auto(without), "small").size == "tiny"  # a size that its package lost
    fixed = Use("a", package, "teacher")
    assert with_size(fixed, "tiny") == fixed


@pytest.fixture
def config(tmp_path: Path) -> Config:
    make_tiny_package(tmp_path / "models", sizes=SIZES)
    text = """
data: {dir: data}
model: {dir: models, size: auto, deadline: 4 s, engine: onnxruntime}
targets: {pacs: {ae: PACS, host: h}}
rules: [{name: a, use: tiny-mr, send_to: [pacs]}]
"""
    return load_text(text, base=tmp_path)


def by_rule(config: Config) -> dict[str, Use]:
    return {use.rule: use for use in uses(config)}


def measure(config: Config, costs: dict[str, float]) -> None:
    """Write measurements that are valid for this machine."""
    host = this_host(config.limits.threads)
    (use,) = uses(config)
    for size, seconds in costs.items():
        one = a_measurement(use.package, size, patch_s=0.0, voxel_s=0.0)
        at_here = msgspec.structs.replace(
            one, cpu=host.cpu, threads=host.threads, version=engines.versions()["onnxruntime"],
            seconds=seconds, patch_s=seconds / 1000, voxel_s=0.0,
        )  # fmt: skip
        measured.write(config.data, at_here)


def test_a_decision_is_made_once_and_stays(config: Config) -> None:
    engine = schema.open_configured(config.data)
    assert decide_sizes(engine, config, by_rule(config), T0) == 0
    assert with_sizes(engine, by_rule(config))["a"].size == "small"
    measure(config, COSTS)
    assert decide_sizes(engine, config, by_rule(config), T0) == 1
    (chosen,) = queue.sizes(engine).values()
    assert (chosen.rule, chosen.task, chosen.by, chosen.at) == ("a", "tiny-mr", NODE, T0)
    first = chosen.size
    measure(config, dict.fromkeys(SIZES, 1e6))  # another day, a busy machine
    assert decide_sizes(engine, config, by_rule(config), T0 + 1) == 0
    assert with_sizes(engine, by_rule(config))["a"].size == first
    # the node never replaces what is written
    by_node = ChosenSize(rule="a", task="tiny-mr", size="tiny", at=T0, by=NODE, why="")
    assert not queue.choose_size(engine, by_node)
    assert queue.sizes(engine)["a", "tiny-mr"].size == first
    engine.dispose()


def test_a_person_accepts_another_size(run: Run, tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models", sizes=SIZES)
    file = configure(
        tmp_path / "node.yaml", tmp_path / "models",
        model={"dir": str(tmp_path / "models"), "size": "auto"},
    )  # fmt: skip
    status, _, err = run("models", "choose", "all", "--config", file)
    assert (status, "segnode models bench" in err) == (1, True)
    status, out, _ = run("models", "choose", "all", "tiny", "--config", file)
    assert (status, "size tiny from now on (before: small)" in out) == (0, True)
    assert run("models", "choose", "all", "teacher", "--config", file)[0] == 0
    assert "auto: teacher" in run("rules", "list", "--config", file)[1]
    assert run("models", "choose", "all", "large", "--config", file)[0] == 78  # not in the package
    engine = schema.open_configured(DataConfig(dir=tmp_path / "data"))
    acts = [one for one in queue.history_between(engine) if one.event == "choose-size"]
    assert [one.actor.startswith("os:") for one in acts] == [True, True]
    engine.dispose()
    fixed = configure(tmp_path / "fixed.yaml", tmp_path / "models")
    status, _, err = run("models", "choose", "all", "tiny", "--config", fixed)
    assert (status, "uses size small, as configured" in err) == (78, True)


def test_comparable_forbids_stepping_down() -> None:
    rule = {"name": "a", "use": "tiny-mr", "send_to": ["pacs"], "comparable": True}
    rest = {"targets": {"pacs": {"ae": "P", "host": "h"}}}
    load_text(yaml.safe_dump({**rest, "rules": [rule]}))
    with pytest.raises(Misconfigured, match="comparable: true forbids another size"):
        load_text(yaml.safe_dump({**rest, "rules": [{**rule, "step_down_above": 3}]}))
