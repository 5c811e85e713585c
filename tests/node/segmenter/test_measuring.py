"""Measure real packages in real processes; a study never waits for a measurement."""

from pathlib import Path
from threading import Event, Thread

import msgspec
import numpy as np
import psutil
import pytest

from node import measured, queue, segmenter
from node.config import Config, Rule
from node.config.units import Bytes
from node.engines import versions
from node.imaging import Labels, nifti
from node.measured import Candidate, candidates, this_host
from node.package import Use, write_manifest
from node.segmenter import measure_now
from node.segmenter.loop import libraries_of
from node.segmenter.measuring import COMPILED, BackgroundMeasuring
from node.segmenter.requests import engine_of
from node.states import State
from tests.support.measuring import ENGINES_HERE, a_measurement
from tests.support.packages import phantom
from tests.support.running import wait_until
from tests.support.segmenting import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def with_auto(config: Config) -> Config:
    """Return a configuration with one rule and `size: auto`."""
    model = msgspec.structs.replace(config.model, size="auto")
    rule = Rule(name="all", use="tiny-mr", send_to=("pacs",))
    return msgspec.structs.replace(config, model=model, rules=(rule,))


def measuring_processes() -> list[psutil.Process]:
    """Return our children that measure; readers and databases of other tests may be there too."""
    children = psutil.Process().children()
    return [child for child in children if "node.footprint" in " ".join(child.cmdline())]


def the_measuring_process() -> psutil.Process:
    """Wait for our only child that measures: a new process has no command line for a moment."""
    wait_until(lambda: len(measuring_processes()) == 1, describe=lambda: "none measures")
    return measuring_processes()[0]


def candidate(site: Site, engine: str = "onnxruntime") -> Candidate:
    return Candidate(site.package, "small", engine)


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_measurement_has_seconds_and_memory(site: Site, engine: str) -> None:
    measurement = measure_now(site.config, this_host(1), candidate(site, engine))
    assert (measurement.problem, measurement.dice, measurement.engine) == ("", 1.0, engine)
    assert 0 < measurement.patch_s <= measurement.seconds
    assert 0 <= measurement.voxel_s < measurement.seconds
    assert measurement.peak_mb > 50
    measured.write(site.config.data, measurement)
    assert measured.read(site.config.data, this_host(1)) == [measurement]
    assert (site.config.data.dir / COMPILED).exists() == (engine != "onnxruntime")


def test_wrong_labels_are_a_problem_that_names_the_dice(site: Site) -> None:
    reference = site.package.folder / "reference/small.nii.gz"
    labels = nifti.read_labels(reference).array
    wrong = np.where(labels > 0, 3 - labels, 0).astype(np.uint8)  # both structures, exchanged
    nifti.write(Labels(wrong, phantom().grid), reference)
    altered = write_manifest(site.package.manifest, site.package.folder)
    measurement = measure_now(site.config, this_host(1), Candidate(altered, "small", "onnxruntime"))
    assert "Dice 0." in measurement.problem
    assert "0.999" in measurement.problem


def test_too_little_memory_is_a_problem(tmp_path: Path) -> None:
    site = make_site(tmp_path, patch_zyx=(96, 96, 96), ballast=600)  # a hidden layer of 2 GB
    config = site.limited(memory=Bytes(200 << 20))
    measurement = measure_now(config, this_host(1), candidate(site))
    assert "limits.memory" in measurement.problem


def test_an_altered_package_is_a_problem(site: Site) -> None:
    site.package.network_file("small").write_bytes(b"")
    measurement = measure_now(site.config, this_host(1), candidate(site))
    assert "small.onnx" in measurement.problem


def test_a_rule_without_a_choice_is_not_measured(site: Site) -> None:
    fixed = Use("a", site.package, "small", engine="onnxruntime")
    auto = Use("b", site.package, "auto", engine="onnxruntime")
    assert not list(candidates([fixed], this_host(1)))
    needed = [(one.size, one.engine) for one in candidates([fixed, auto, auto], this_host(1))]
    assert needed == [("small", "onnxruntime"), ("teacher", "onnxruntime")]
    engines = [one.engine for one in candidates([Use("c", site.package, "small")], this_host(1))]
    assert engines == (list(versions()) if len(versions()) > 1 else [])


@pytest.mark.slow
def test_an_idle_node_makes_all_missing_measurements_once(site: Site) -> None:
    background = BackgroundMeasuring(with_auto(site.config), idle_s=0.0)
    assert background.step().startswith("measuring tiny-mr/1.0, size small")
    wait_until(lambda: background.step() == "", describe=lambda: "measuring does not end")
    measurements = measured.read(site.config.data, this_host(1))
    assert {(one.size, one.engine) for one in measurements} == {
        (size, engine) for size in ("teacher", "small") for engine in versions()
    }
    restarted = BackgroundMeasuring(with_auto(site.config), idle_s=0.0)
    assert restarted.step() == ""


def test_a_job_interrupts_a_measurement(site: Site) -> None:
    background = BackgroundMeasuring(with_auto(site.config), idle_s=0.0)
    background.step()
    process = the_measuring_process()
    background.interrupt()
    assert not process.is_running()
    assert not measured.read(site.config.data, this_host(1))
    background.step()
    assert the_measuring_process().pid != process.pid
    background.close()


def test_a_node_that_was_just_busy_does_not_measure(site: Site) -> None:
    background = BackgroundMeasuring(with_auto(site.config), idle_s=60.0)
    assert background.step() == ""


def test_a_broken_package_is_not_measured(site: Site) -> None:
    site.package.network_file("small").write_bytes(b"")
    assert BackgroundMeasuring(with_auto(site.config), idle_s=0.0).step() == ""


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_job_runs_with_its_planned_engine_and_records_it(site: Site, engine: str) -> None:
    host = this_host(site.config.limits.threads)
    verified = a_measurement(site.package, "small", "onnxruntime")
    verified = msgspec.structs.replace(
        verified, engine=engine, version=host.versions[engine], cpu=host.cpu, threads=host.threads
    )
    measured.write(site.config.data, verified)
    _, job_id = site.add_series(engine=engine)
    segmenter.run(site.config, once=True)
    job = queue.get(site.engine, job_id)
    assert job.state is State.DONE, job.reason
    assert queue.as_plain(job.result)["engine"] == engine


def test_an_engine_that_is_not_verified_here_is_not_used(site: Site) -> None:
    _, job_id = site.add_series(engine="openvino")
    payload = queue.get(site.engine, job_id).segment_payload()
    assert engine_of(site.config, payload) == "onnxruntime"
    model = msgspec.structs.replace(site.config.model, engine="openvino")
    assert engine_of(msgspec.structs.replace(site.config, model=model), payload) == "openvino"


def test_the_child_imports_the_libraries_that_rules_may_use(site: Site) -> None:
    assert libraries_of(site.config) == ("onnxruntime", "openvino")
    model = msgspec.structs.replace(site.config.model, engine="onnxruntime")
    assert libraries_of(msgspec.structs.replace(site.config, model=model)) == ("onnxruntime",)


@pytest.mark.slow
def test_the_segmenter_measures_while_it_is_idle_and_still_takes_jobs(site: Site) -> None:
    stop = Event()
    config = with_auto(site.config)
    thread = Thread(target=segmenter.run, args=(config, stop))
    thread.start()
    try:
        wait_until(
            lambda: bool(measured.read(config.data, this_host(1))), describe=lambda: "nothing"
        )
        _, job_id = site.add_series()
        wait_until(
            lambda: queue.get(site.engine, job_id).state is State.DONE, 100, lambda: "not done"
        )
    finally:
        stop.set()
        thread.join()
    assert not measuring_processes(), "a measurement outlives its segmenter"
