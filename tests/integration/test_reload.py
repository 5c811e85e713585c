"""`segnode reload`: a whole node takes a changed configuration and drops nothing."""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest
import yaml
from pynetdicom import AE
from pynetdicom.association import Association

from node import queue
from node.config import in_use
from node.series.compose import Labelling, compose
from node.states import Ending, State
from tests.support.orthanc import Orthanc, free_port, needs_orthanc, started
from tests.support.packages import make_tiny_package, phantom
from tests.support.running import Node, needs_dcmtk, storescu, wait_until
from tests.support.running import started as node_started

pytestmark = [pytest.mark.slow, pytest.mark.orthanc, needs_orthanc, needs_dcmtk]
KNOWN = [{"ae": "MODALITY", "host": "127.0.0.1"}]


@pytest.fixture
def orthanc(tmp_path: Path) -> Orthanc:
    return Orthanc(tmp_path / "orthanc")


@pytest.fixture
def node(tmp_path: Path, orthanc: Orthanc) -> Iterator[Node]:
    make_tiny_package(tmp_path / "models")
    page = {"port": free_port()}
    complete = {"settle": "200 ms", "quiet": "600 s"}  # only a release completes a series
    changes = {"callers": [*KNOWN, {"ae": "TEST"}], "page": page, "complete": complete}
    node = Node(tmp_path / "node", orthanc.dicom_port, tmp_path / "models", changes=changes)
    with started(orthanc), node_started(node):
        yield node


def head(folder: Path, labelling: Labelling | None = None) -> list[Path]:
    made = compose(phantom(), folder, labelling or Labelling(), datetime(2026, 1, 2, tzinfo=UTC))
    return list(made.files)


def change(this: Node, **sections: object) -> None:
    """Replace sections of the file, without a reload."""
    text = yaml.safe_load(this.config_file.read_text())
    this.config_file.write_text(yaml.safe_dump(text | sections))


def digests(node: Node) -> dict[str, str]:
    """Return the configuration that each process uses."""
    return {name: used.digest for name, used in in_use(node.folder / "data").items()}


def alive(node: Node) -> dict[str, str]:
    """Return the processes that run, as `segnode status` shows them."""
    shown = node.json("status", ends=(0, 1, 69))["snapshot"]
    return {one["name"]: one["configuration"] for one in shown["processes"] if one["alive"]}


def opened(port: int, files: list[Path]) -> Association:
    ae = AE("MODALITY")
    first = pydicom.dcmread(files[0])
    ae.add_requested_context(first.SOPClassUID, first.file_meta.TransferSyntaxUID)
    return ae.associate("127.0.0.1", port, ae_title="SEGNODE")


def events(node: Node, name: str) -> list[queue.Event]:
    engine = node.engine
    try:
        return [event for event in queue.history_between(engine, 0.0, time.time() + 60.0)
                if event.event == name]  # fmt: skip
    finally:
        engine.dispose()


def test_all_processes_take_the_file_and_an_open_association_goes_on(
    tmp_path: Path, node: Node, orthanc: Orthanc
) -> None:
    files = head(tmp_path / "series")
    wait_until(lambda: len(digests(node)) == 5, describe=lambda: str(digests(node)))
    first = set(digests(node).values())
    assert len(first) == 1
    association = opened(node.port, files)
    assert association.send_c_store(pydicom.dcmread(files[0])).Status == 0
    second = {"ae": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port}
    rules = [{"name": "renamed", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["new"]}]
    change(node, targets={"new": second}, rules=rules, callers=KNOWN)
    reloaded = node.json("reload")
    assert sorted(reloaded["changed"]) == ["callers", "rules", "targets.new", "targets.pacs"]
    assert reloaded["late"] == []
    assert set(digests(node).values()) == {reloaded["digest"]} != first
    # the association that was open goes on, and its series is planned with the new rules
    for path in files[1:]:
        assert association.send_c_store(pydicom.dcmread(path)).Status == 0
    association.release()
    (history,) = node.wait_for_endings(1)
    assert (history.ending, history.arrival.rule) == (Ending.DELIVERED, "renamed")
    assert [job.target for job in history.deliveries] == ["new"]
    assert len(orthanc.series("SEG")) == 1
    (event,) = events(node, "reload")
    assert event.actor.startswith("os:")
    assert reloaded["digest"] in event.detail
    # the caller that is no longer named is rejected
    assert storescu(node.port, files, calling="TEST") != 0
    assert storescu(node.port, files) == 0


def test_a_wrong_file_and_a_fixed_key_change_nothing(node: Node) -> None:
    wait_until(lambda: len(digests(node)) == 5, describe=lambda: str(digests(node)))
    before = digests(node)
    change(node, rules=[{"name": "all", "use": "tiny-mr", "send_to": ["nowhere"]}])
    wrong = node.run("reload")
    assert wrong.returncode == 78
    assert "line" in wrong.stderr
    assert wrong.stderr.splitlines()[0].removeprefix("segnode reload") == node.run(
        "check"
    ).stderr.splitlines()[0].removeprefix("segnode check")
    change(
        node,
        node={"host": "127.0.0.1", "port": free_port()},
        rules=[{"name": "other", "use": "none"}],
    )
    fixed = node.run("reload")
    assert fixed.returncode == 78
    assert "node.port (line" in fixed.stderr
    assert digests(node) == before
    assert not events(node, "reload")
    assert "`segnode reload` lets the node use it" in node.run("status").stdout


def test_work_for_a_vanished_target_is_named_and_can_be_retried(
    tmp_path: Path, node: Node, orthanc: Orthanc
) -> None:
    away = {"ae": "AWAY", "host": "127.0.0.1", "port": free_port()}
    there = {"ae": "ORTHANC", "host": "127.0.0.1", "port": orthanc.dicom_port}
    rules = [{"name": "all", "use": "tiny-mr", "send_to": ["away"]}]
    change(node, targets={"pacs": there, "away": away}, rules=rules)
    assert node.run("reload").returncode == 0
    assert storescu(node.port, head(tmp_path / "series")) == 0

    def delivery() -> queue.Job | None:
        return next((job for series in node.histories() for job in series.deliveries), None)

    def is_retried() -> bool:
        job = delivery()
        return job is not None and job.code == "peer-unreachable"

    wait_until(is_retried, describe=lambda: str(delivery()))
    change(node, targets={"pacs": there}, rules=[])
    done = node.run("reload")
    assert "1 unfinished for away, which is no longer a target" in done.stdout
    (history,) = node.wait_for_endings(1)
    (job,) = history.deliveries
    assert job.state is State.FAILED
    assert "'away' is no longer configured" in job.reason
    change(node, targets={"pacs": there, "away": there}, rules=rules)
    assert node.run("reload").returncode == 0
    assert node.run("jobs", "retry", str(job.id)).returncode == 0
    wait_until(lambda: bool(orthanc.series("SEG")), describe=lambda: str(delivery()))


def test_the_signal_reloads_too_and_a_wrong_file_is_logged(node: Node) -> None:
    wait_until(lambda: len(digests(node)) == 5, describe=lambda: str(digests(node)))
    assert node.process is not None
    change(node, rules=[{"name": "all"}])
    node.process.send_signal(signal.SIGHUP)
    log = node.folder / "node.log"
    wait_until(lambda: "not reloaded: " in log.read_text(), describe=log.read_text)
    change(node, rules=[], page={"enabled": False})
    node.process.send_signal(signal.SIGHUP)
    wait_until(lambda: bool(events(node, "reload")), describe=log.read_text)
    assert [event.actor for event in events(node, "reload")] == ["signal"]
    # the page is off, so its process ends, and the others go on
    names = {"listener", "segmenter", "sender", "housekeeping"}
    wait_until(lambda: names == set(alive(node)), describe=lambda: str(alive(node)))
    assert len(set(alive(node).values())) == 1


def test_without_a_node_there_is_nothing_to_reload(tmp_path: Path) -> None:
    make_tiny_package(tmp_path / "models")
    node = Node(tmp_path / "node", free_port(), tmp_path / "models")
    node.configure()
    done = node.run("reload")
    assert done.returncode == 69
    assert "no node runs with the data folder" in done.stderr
