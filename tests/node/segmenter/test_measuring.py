"""Measuring: real processes, real packages, and a study that never waits for it."""

import time
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
from node.measured import here
from node.package import Use, write_manifest
from node.segmenter import Candidate, candidates, measure_now
from node.segmenter.loop import engine_of, libraries_of
from node.segmenter.measuring import COMPILED, Background
from node.states import State
from tests.support.measuring import ENGINES_HERE, a_measurement
from tests.support.packages import phantom
from tests.support.running import wait_until
from tests.support.segmenting import Site, make_site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(tmp_path)


def with_auto(config: Config) -> Config:
    """Return a configuration whose one rule lets measurements choose the size."""
    model = msgspec.structs.replace(config.model, size="auto")
    rule = Rule(name="all", use="tiny-mr", send_to=("pacs",))
    return msgspec.structs.replace(config, model=model, rules=(rule,))


def candidate(site: Site, engine: str = "onnxruntime") -> Candidate:
    return Candidate(site.package, "small", engine)


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_measurement_has_the_seconds_and_the_memory_of_a_process(site: Site, engine: str) -> None:
    found = measure_now(site.config, here(1), candidate(site, engine))
    assert (found.problem, found.dice, found.engine) == ("", 1.0, engine)
    assert 0 < found.patch_s <= found.seconds
    assert 0 <= found.voxel_s < found.seconds
    assert found.peak_mb > 50
    measured.write(site.config.data, found)
    assert measured.known(site.config.data, here(1)) == [found]
    assert (site.config.data.dir / COMPILED).exists() == (engine != "onnxruntime")


def test_labels_that_do_not_come_out_are_a_problem_with_the_number(site: Site) -> None:
    reference = site.package.folder / "reference/small.nii.gz"
    wrong = np.where(nifti.read_labels(reference).array == 2, 1, 0).astype(np.uint8)
    nifti.write(Labels(wrong, phantom().grid), reference)
    altered = write_manifest(site.package.manifest, site.package.folder)
    found = measure_now(site.config, here(1), Candidate(altered, "small", "onnxruntime"))
    assert "the reference case reaches Dice 0." in found.problem
    assert "0.999 is required" in found.problem


def test_too_little_memory_is_a_problem_and_ends_nobody_else(tmp_path: Path) -> None:
    site = make_site(tmp_path, patch_zyx=(96, 96, 96), ballast=600)  # a hidden layer of 2 GB
    config = site.limited(memory=Bytes(200 << 20))
    found = measure_now(config, here(1), candidate(site))
    assert "limits.memory" in found.problem


def test_a_package_that_is_altered_is_a_problem(site: Site) -> None:
    site.package.network_file("small").write_bytes(b"")
    found = measure_now(site.config, here(1), candidate(site))
    assert "small.onnx was altered" in found.problem


def test_what_leaves_nothing_to_choose_is_not_measured(site: Site) -> None:
    fixed = Use("a", site.package, "small", engine="onnxruntime")
    auto = Use("b", site.package, "auto", engine="onnxruntime")
    assert not list(candidates([fixed], here(1)))
    wanted = [(one.size, one.engine) for one in candidates([fixed, auto, auto], here(1))]
    assert wanted == [("small", "onnxruntime"), ("teacher", "onnxruntime")]
    engines = [one.engine for one in candidates([Use("c", site.package, "small")], here(1))]
    assert engines == (list(versions()) if len(versions()) > 1 else [])


def test_an_idle_node_measures_all_that_is_missing_and_then_rests(site: Site) -> None:
    background = Background(with_auto(site.config), idle_s=0.0)
    assert background.go_on().startswith("measuring tiny-mr/1.0, size small")
    wait_until(lambda: background.go_on() == "", 100, lambda: "it goes on and on")
    found = measured.known(site.config.data, here(1))
    assert {(one.size, one.engine) for one in found} == {
        (size, engine) for size in ("teacher", "small") for engine in versions()
    }
    again = Background(with_auto(site.config), idle_s=0.0)
    assert again.go_on() == ""


def test_a_study_ends_a_measurement_at_once(site: Site) -> None:
    background = Background(with_auto(site.config), idle_s=0.0)
    background.go_on()
    (process,) = psutil.Process().children()
    begun = time.monotonic()
    background.give_way()
    assert not process.is_running()
    assert time.monotonic() - begun < 1
    assert not measured.known(site.config.data, here(1))
    background.go_on()
    assert len(psutil.Process().children()) == 1
    background.close()


def test_a_node_that_was_just_busy_does_not_measure(site: Site) -> None:
    background = Background(with_auto(site.config), idle_s=60.0)
    assert background.go_on() == ""


def test_a_broken_package_stops_measuring_and_nothing_else(site: Site) -> None:
    site.package.network_file("small").write_bytes(b"")
    assert Background(with_auto(site.config), idle_s=0.0).go_on() == ""


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_job_is_computed_by_its_planned_engine_and_says_so(site: Site, engine: str) -> None:
    host = here(site.config.limits.threads)
    proof = a_measurement(site.package, "small", "onnxruntime")
    proof = msgspec.structs.replace(
        proof, engine=engine, version=host.versions[engine], cpu=host.cpu, threads=host.threads
    )
    measured.write(site.config.data, proof)
    _, job_id = site.add_series(engine=engine)
    segmenter.run(site.config, once=True)
    job = queue.get(site.engine, job_id)
    assert job.state is State.DONE, job.reason
    assert queue.as_plain(job.result)["engine"] == engine


def test_an_engine_that_is_not_proved_here_is_not_used(site: Site) -> None:
    _, job_id = site.add_series(engine="openvino")
    payload = queue.get(site.engine, job_id).segment_payload()
    assert engine_of(site.config, payload) == "onnxruntime"
    model = msgspec.structs.replace(site.config.model, engine="openvino")
    assert engine_of(msgspec.structs.replace(site.config, model=model), payload) == "openvino"


def test_the_child_imports_the_library_that_may_be_needed(site: Site) -> None:
    assert libraries_of(site.config) == ("openvino",)
    model = msgspec.structs.replace(site.config.model, engine="onnxruntime")
    assert libraries_of(msgspec.structs.replace(site.config, model=model)) == ("onnxruntime",)


@pytest.mark.slow
def test_the_segmenter_measures_while_it_is_idle_and_still_takes_jobs(site: Site) -> None:
    stop = Event()
    config = with_auto(site.config)
    thread = Thread(target=segmenter.run, args=(config, stop))
    thread.start()
    try:
        wait_until(lambda: bool(measured.known(config.data, here(1))), 100, lambda: "nothing")
        _, job_id = site.add_series()
        wait_until(
            lambda: queue.get(site.engine, job_id).state is State.DONE, 100, lambda: "not done"
        )
    finally:
        stop.set()
        thread.join()
    assert not psutil.Process().children(), "a measurement outlives its segmenter"
