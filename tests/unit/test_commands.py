"""The commands as an admin types them, in this process: what they print, and how they end."""

import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml
from pydicom.uid import generate_uid

from node import __version__, queue, schema, seg, series
from node.commands import main, status_of
from node.config import load
from node.errors import (
    BadPackage,
    Defect,
    DiskLow,
    Misconfigured,
    NodeError,
    NotAnImage,
    OutOfMemory,
    PeerUnreachable,
    Refused,
)
from node.imaging import nifti
from node.inbox import Inbox
from node.package import uses
from node.states import Kind, State
from node.tending import Sweep
from tests.orthanc import free_port
from tests.packages import THRESHOLDS, expected_labels, make_tiny_package, phantom
from tests.phantoms import Phantom, make
from tests.received import receive
from tests.rows import T0
from tests.targets import scripted_target

ONE_MM = Phantom(spacing_mm=(1.0, 1.0, 1.0))
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging and the hooks of the interpreter as they were."""
    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a command and returns its exit status, output and errors."""

    def command(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands") / "models"
    make_tiny_package(folder)
    return folder


@pytest.fixture
def configured(tmp_path: Path, models: Path) -> Path:
    return configure(tmp_path / "node.yaml", models)


def configure(path: Path, models: Path, **changes: Any) -> Path:
    sections: dict[str, Any] = {
        "node": {"host": "127.0.0.1", "port": free_port()},
        "data": {"dir": "data", "stop_accepting_below": "1 MiB"},
        "callers": "any",
        "targets": {"pacs": {"ae": "PEER", "host": "127.0.0.1", "port": free_port()}},
        "model": {"dir": str(models), "size": "small"},
        "rules": [
            {"name": "all", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]}
        ],
    }
    path.write_text(yaml.safe_dump(sections | changes), encoding="utf-8")
    return path


# -- the command line itself


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Misconfigured("x"), 78),
        (BadPackage("x"), 78),
        (NotAnImage("x"), 65),
        (DiskLow("x"), 75),
        (PeerUnreachable("x"), 75),
        (Defect("x"), 70),
        (OutOfMemory("x"), 70),
        (Refused("x"), 1),
        (NodeError("x"), 1),
    ],
)
def test_the_class_of_an_error_is_the_exit_status(error: NodeError, status: int) -> None:
    assert status_of(error) == status


def test_wrong_usage_is_two(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["unknown"], ["jobs"], ["try", "x"], ["jobs", "show", "seven"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert __version__ in capsys.readouterr().out


# -- init and check


def test_init_writes_what_check_understands(run: Run, tmp_path: Path, models: Path) -> None:
    file = tmp_path / "a.yaml"
    options = ["--ae-title", "SEG 01", "--port", "4711", "--caller", "MR01@10.1.2.3"]
    options += ["--target", "ARCHIVE@pacs.local:104", "--models", str(models)]
    assert run("init", file, *options)[0] == 0
    config = load(file)
    assert (config.node.ae_title, config.node.port) == ("SEG 01", 4711)
    assert config.callers != "any"
    assert [(caller.ae, caller.host) for caller in config.callers] == [("MR01", "10.1.2.3")]
    target = config.targets["pacs"]
    assert (target.ae, target.host, target.port) == ("ARCHIVE", "pacs.local", 104)
    assert config.model.dir == models
    assert file.read_text(encoding="utf-8").count("#") > 30, "the annotations stay"


def test_init_without_options_is_valid(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "a.yaml")[0] == 0
    assert load(tmp_path / "a.yaml").node.ae_title == "SEGNODE"


def test_init_replaces_a_file_only_by_force(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("precious", encoding="utf-8")
    status, _, said = run("init", file)
    assert (status, file.read_text(encoding="utf-8")) == (78, "precious")
    assert "--force" in said
    assert run("init", file, "--force")[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--ae-title", "LONGER THAN SIXTEEN"),
        ("--port", "0"),
        ("--target", "PACS:104"),
        ("--target", "PACS@h:99999"),
    ],
)
def test_init_writes_nothing_that_is_wrong(
    run: Run, tmp_path: Path, options: tuple[str, str]
) -> None:
    assert run("init", tmp_path / "a.yaml", *options)[0] == 78
    assert not (tmp_path / "a.yaml").exists()


@pytest.mark.parametrize("ae", ["1234", "yes", "A: B", "A #1", "null"])
def test_init_keeps_what_yaml_would_misread(run: Run, tmp_path: Path, ae: str) -> None:
    options = ["--ae-title", ae, "--caller", ae, "--target", f"{ae}@h:104"]
    assert run("init", tmp_path / "a.yaml", *options)[0] == 0
    config = load(tmp_path / "a.yaml")
    assert config.node.ae_title == ae
    assert [caller.ae for caller in config.callers if caller != "any"] == [ae]  # type: ignore[union-attr]
    assert config.targets["pacs"].ae == ae


def test_check_finds_nothing_wrong_with_a_sound_node(
    run: Run, tmp_path: Path, models: Path
) -> None:
    with scripted_target() as peer:
        target = {"ae": "PEER", "host": "127.0.0.1", "port": peer.port}
        file = configure(tmp_path / "a.yaml", models, targets={"pacs": target})
        status, said, _ = run("check", "--config", file, "--json")
    findings = {finding["what"]: finding for finding in json.loads(said)}
    assert status == 0, said
    assert all(finding["ok"] for finding in findings.values())
    assert "digest" in findings["rule all"]["said"]
    assert "golden case" in findings["tiny-mr/1.0 small"]["said"]


def test_check_names_line_and_nearest_key(run: Run, configured: Path) -> None:
    text = configured.read_text(encoding="utf-8").replace("port:", "prot:", 1)
    configured.write_text(text, encoding="utf-8")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "prot" in row)
    status, _, said = run("check", "--config", configured)
    assert status == 78
    assert f"line {line}" in said
    assert "Did you mean 'port'?" in said


def test_check_names_the_line_of_bad_yaml(run: Run, configured: Path) -> None:
    configured.write_text("node:\n  port: [1\n", encoding="utf-8")
    status, _, said = run("check", "--config", configured)
    assert status == 78
    assert "line 3" in said


def test_check_without_a_file_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    status, _, said = run("check", "--config", tmp_path / "none.yaml")
    assert status == 78
    assert "segnode init" in said


def failures(run: Run, file: Path) -> dict[str, str]:
    status, said, _ = run("check", "--config", file, "--json")
    assert status == 1
    return {f["what"]: f["said"] for f in json.loads(said) if not f["ok"]}


def test_check_finds_an_altered_package_and_a_dead_target(run: Run, tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path / "models")
    with (package.folder / "small.onnx").open("ab") as file:
        file.write(b"x")
    found = failures(run, configure(tmp_path / "a.yaml", tmp_path / "models"))
    assert found.keys() == {"packages", "target pacs"}
    assert "small.onnx" in found["packages"]


def test_check_finds_a_taken_port_low_disk_and_nobody_who_may_send(
    run: Run, tmp_path: Path, models: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        file = configure(
            tmp_path / "a.yaml",
            models,
            node={"host": "127.0.0.1", "port": other.getsockname()[1]},
            data={"dir": "data", "stop_accepting_below": "900000 GiB"},
            callers=[],
            targets={},
            rules=[],
        )
        found = failures(run, file)
    assert found.keys() == {"port", "data folder", "callers"}
    assert "stop_accepting_below" in found["data folder"]


def test_check_finds_a_folder_that_cannot_be_made(run: Run, tmp_path: Path, models: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    data = {"dir": "file/data", "stop_accepting_below": "1 MiB"}
    file = configure(tmp_path / "a.yaml", models, data=data, targets={}, rules=[])
    assert failures(run, file).keys() == {"data folder"}


def test_check_in_words_says_what_to_do(run: Run, configured: Path) -> None:
    status, said, _ = run("check", "--config", configured)
    assert status == 1
    assert "ok    configuration: understood" in said
    assert "FAIL  target pacs" in said


# -- models


def test_models_are_listed_for_people_and_machines(run: Run, models: Path) -> None:
    status, said, _ = run("models", "list", "--models", models)
    assert status == 0
    assert "tiny-mr/1.0" in said
    assert "not measured" in said
    listed = json.loads(run("models", "list", "--models", models, "--json")[1])
    assert [row["size"] for row in listed] == ["teacher", "small"]


def test_models_verify_tells_the_altered_one(run: Run, tmp_path: Path) -> None:
    make_tiny_package(tmp_path, task="good-mr", sizes=("small",))
    bad = make_tiny_package(tmp_path, task="bad-mr", sizes=("small",))
    assert run("models", "list", "--models", tmp_path)[0] == 0
    (bad.folder / "card.md").write_text("altered", encoding="utf-8")
    status, said, _ = run("models", "verify", "--models", tmp_path, "--json")
    assert status == 1
    assert {r["package"]: r["ok"] for r in json.loads(said)} == {
        "bad-mr/1.0": False,
        "good-mr/1.0": True,
    }
    assert run("models", "list", "--models", tmp_path)[0] == 78
    assert "FAIL  bad-mr/1.0" in run("models", "verify", "--models", tmp_path)[1]


def test_no_package_is_misconfigured(run: Run, tmp_path: Path) -> None:
    assert run("models", "list", "--models", tmp_path)[0] == 78
    assert run("models", "verify", "--models", tmp_path)[0] != 0


# -- try and selftest


def attempt(run: Run, source: Path, out: Path, models: Path, *more: str) -> tuple[int, str, str]:
    options = ["--task", "tiny-mr", "--models", str(models), "--threads", "1", *more]
    return run("try", source, "--out", out, *options)


def test_try_segments_a_dicom_folder(run: Run, tmp_path: Path, models: Path) -> None:
    made = make(tmp_path / "series", ONE_MM)
    (tmp_path / "series/README.txt").write_text("no image", encoding="utf-8")
    status, said, _ = attempt(run, tmp_path / "series", tmp_path / "out", models, "--json")
    assert status == 0
    told = json.loads(said)
    source = series.read(made.paths)
    labels = seg.read_labels(Path(told["seg"]), source)
    np.testing.assert_array_equal(labels.array, made.labels)
    voxels = [int((made.labels == number).sum()) for number in (1, 2)]
    assert list(told["volumes_ml"].values()) == pytest.approx([n / 1000 for n in voxels])
    assert Path(told["preview"]).read_bytes().startswith(b"\x89PNG")
    np.testing.assert_array_equal(
        np.sort(nifti.read_labels(Path(told["labels"])).array.ravel()),
        np.sort(labels.array.ravel()),
    )
    assert told["seconds"]
    assert all(seconds >= 0 for seconds in told["seconds"].values())


def test_try_segments_a_nifti_file_and_prints_a_table(
    run: Run, tmp_path: Path, models: Path
) -> None:
    nifti.write(phantom(), tmp_path / "head.nii.gz")
    status, said, steps = attempt(run, tmp_path / "head.nii.gz", tmp_path / "out", models)
    assert status == 0
    wanted = expected_labels(phantom())
    for number, _ in enumerate(THRESHOLDS, 1):
        assert f"{(wanted.array == number).sum() / 1000:.2f}" in said
    assert "total" in said
    assert "tiny-mr/1.0" in steps
    assert list((tmp_path / "out").glob("*.dcm"))


def test_try_asks_which_of_several_series(run: Run, tmp_path: Path, models: Path) -> None:
    make(tmp_path / "all/a", ONE_MM)
    uid = generate_uid()
    make(tmp_path / "all/b", Phantom(seed=2, tags={"SeriesInstanceUID": uid}))
    status, _, said = attempt(run, tmp_path / "all", tmp_path / "out", models)
    assert status == 78
    assert "--series" in said
    assert uid in said
    assert attempt(run, tmp_path / "all", tmp_path / "out", models, "--series", uid)[0] == 0
    assert attempt(run, tmp_path / "all", tmp_path / "o", models, "--series", "1.2")[0] == 78


def test_try_refuses_in_words(run: Run, tmp_path: Path, models: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("no image", encoding="utf-8")
    status, _, said = attempt(run, tmp_path / "empty", tmp_path / "out", models)
    assert (status, "no DICOM image" in said) == (65, True)
    make(tmp_path / "ct", Phantom(modality="CT"))
    assert attempt(run, tmp_path / "ct", tmp_path / "out", models)[0] == 65
    make(tmp_path / "gap", Phantom(drop=(5,)))
    assert attempt(run, tmp_path / "gap", tmp_path / "out", models)[0] == 65
    make(tmp_path / "wide", Phantom(spacing_mm=(20.0, 1.0, 1.0)))
    status, _, said = attempt(run, tmp_path / "wide", tmp_path / "out", models)
    assert (status, "Traceback" in said) == (65, False)
    (tmp_path / "broken.nii.gz").write_bytes(b"no NIfTI")
    assert attempt(run, tmp_path / "broken.nii.gz", tmp_path / "out", models)[0] == 65
    assert attempt(run, tmp_path / "nowhere", tmp_path / "out", models)[0] == 78
    assert (
        run("try", tmp_path, "--out", tmp_path / "o", "--task", "liver", "--models", models)[0]
        == 78
    )


def test_selftest_proves_the_chain(run: Run, models: Path) -> None:
    status, said, _ = run("selftest", "--models", models, "--threads", "1", "--json")
    assert status == 0
    assert [(r["size"], r["ok"], r["dice"]) for r in json.loads(said)] == [
        ("teacher", True, 1.0),
        ("small", True, 1.0),
    ]


# -- jobs, explain, status


@pytest.fixture
def stored(configured: Path, tmp_path: Path) -> tuple[Path, str]:
    """Return a configuration whose inbox holds one series with a job, and the study's UID."""
    config = load(configured)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    made = make(tmp_path / "head", Phantom(shuffle=False))
    receive(inbox, made.paths, T0)
    Sweep(config, engine, inbox, uses(config)).run(T0 + 100)
    return configured, str(pydicom.dcmread(made.paths[0]).StudyInstanceUID)


def test_jobs_are_listed_shown_cancelled_and_retried(run: Run, stored: tuple[Path, str]) -> None:
    options = ["--config", str(stored[0])]
    (job,) = json.loads(run("jobs", "list", *options, "--json")[1])
    assert (job["kind"], job["state"], job["payload"]["size"]) == ("segment", "queued", "small")
    assert json.loads(run("jobs", "list", "--state", "done", *options, "--json")[1]) == []
    assert "segment" in run("jobs", "list", "--kind", "segment", *options)[1]
    shown = json.loads(run("jobs", "show", job["id"], *options, "--json")[1])
    assert [event["what"] for event in shown["events"]]
    assert "queued" in run("jobs", "show", job["id"], *options)[1]
    assert run("jobs", "retry", job["id"], *options)[0] == 1, "it waits already"
    status, said, _ = run("jobs", "cancel", job["id"], *options)
    assert (status, said) == (0, f"job {job['id']} cancelled\n")
    status, said, _ = run("jobs", "retry", job["id"], *options)
    assert (status, said) == (0, f"job {job['id']} queued again\n")
    engine = schema.open_configured(load(stored[0]).data)
    assert queue.counts(engine)[Kind.SEGMENT, State.QUEUED] == 1


def test_a_running_job_is_asked_to_stop(run: Run, stored: tuple[Path, str]) -> None:
    engine = schema.open_configured(load(stored[0]).data)
    job = queue.claim(engine, Kind.SEGMENT, "w", time.time(), 30.0)
    assert job is not None
    assert "asked to stop" in run("jobs", "cancel", job.id, "--config", stored[0])[1]


def test_what_is_unknown_ends_with_one(run: Run, stored: tuple[Path, str]) -> None:
    for arguments in (
        ["explain", "1.2.3"],
        ["jobs", "show", "99"],
        ["jobs", "retry", "99"],
        ["jobs", "cancel", "99"],
        ["jobs", "replan", "1.2.3"],
    ):
        status, said, errors = run(*arguments, "--config", stored[0])
        assert (status, said) == (1, "")
        assert errors.startswith("segnode ")
        assert "Traceback" not in errors


def test_explain_tells_the_story(run: Run, stored: tuple[Path, str]) -> None:
    status, said, _ = run("explain", stored[1], "--config", stored[0])
    assert status == 0
    for part in ("12 MR images from CT01", "rule all: tiny-mr/1.0, size small", "in-progress"):
        assert part in said
    told = json.loads(run("explain", stored[1], "--config", stored[0], "--json")[1])
    assert told["series"][0]["ending"] == "in-progress"
    assert told["events"][0]["what"] == "received"


def test_what_still_arrives_is_told(run: Run, configured: Path, tmp_path: Path) -> None:
    inbox = Inbox(load(configured).data.dir / "inbox")
    made = make(tmp_path / "head", Phantom(shuffle=False))
    receive(inbox, made.paths[:5], time.time(), ends="open")
    study = str(pydicom.dcmread(made.paths[0]).StudyInstanceUID)
    assert "still arriving: 5 images" in run("explain", study, "--config", configured)[1]
    assert "an association is still open" in run("status", "--config", configured)[1]
    told = json.loads(run("status", "--config", configured, "--json")[1])
    assert [w["instances"] for w in told["arriving"]] == [5]


def test_status_is_for_people_too(run: Run, stored: tuple[Path, str]) -> None:
    status, said, _ = run("status", "--config", stored[0])
    assert status == 0
    assert "listener   NOT RUNNING" in said
    assert "in-progress" in said


def test_replan_applies_todays_rules(run: Run, tmp_path: Path, models: Path) -> None:
    file = configure(tmp_path / "a.yaml", models, rules=[])
    config = load(file)
    engine, inbox = schema.open_configured(config.data), Inbox(config.data.dir / "inbox")
    made = make(tmp_path / "head", Phantom(shuffle=False))
    study = str(pydicom.dcmread(made.paths[0]).StudyInstanceUID)
    receive(inbox, made.paths, T0)
    Sweep(config, engine, inbox, ()).run(T0 + 100)
    assert "no job" in run("jobs", "replan", study, "--config", file)[1]
    configure(file, models)
    (told,) = json.loads(run("jobs", "replan", study, "--config", file, "--json")[1])
    assert told["job"] == 1
    assert queue.counts(engine)[Kind.SEGMENT, State.QUEUED] == 1
