"""The commands as an admin types them, in this process: their output and exit status."""

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node import __version__
from node.commands import main
from node.commands.exits import node_error_of, status_of
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
    RefusedByTarget,
)
from tests.support.commanding import Run, configure
from tests.support.packages import make_tiny_package
from tests.support.targets import scripted_target


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
        (RefusedByTarget("x"), 1),
        (NodeError("x"), 1),
    ],
)
def test_the_class_of_an_error_is_the_exit_status(error: NodeError, status: int) -> None:
    assert status_of(error) == status


def test_wrong_usage_ends_with_2(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["unknown"], ["jobs"], ["try", "x"], ["jobs", "show"]):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert __version__ in capsys.readouterr().out


# -- init and check


def test_init_writes_what_check_understands(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    file = tmp_path / "a.yaml"
    options = ["--ae-title", "SEG 01", "--port", "4711", "--caller", "MR01@10.1.2.3"]
    options += ["--target", "ARCHIVE@pacs.local:104", "--models", str(tiny_models)]
    options += ["--data", str(tmp_path / "kept")]
    assert run("init", file, *options)[0] == 0
    config = load(file)
    assert (config.node.ae_title, config.node.port) == ("SEG 01", 4711)
    assert config.callers != "any"
    assert [(caller.ae, caller.host) for caller in config.callers] == [("MR01", "10.1.2.3")]
    target = config.targets["pacs"]
    assert (target.ae, target.host, target.port) == ("ARCHIVE", "pacs.local", 104)
    assert (config.model.dir, config.data.dir) == (tiny_models, tmp_path / "kept")
    assert file.read_text(encoding="utf-8").count("#") > 30, "the annotations stay"


def test_init_without_options_is_valid(run: Run, tmp_path: Path) -> None:
    assert run("init", tmp_path / "a.yaml")[0] == 0
    assert load(tmp_path / "a.yaml").node.ae_title == "SEGNODE"


def test_init_replaces_a_file_only_with_force(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("precious", encoding="utf-8")
    status, _, printed = run("init", file)
    assert (status, file.read_text(encoding="utf-8")) == (78, "precious")
    assert "--force" in printed
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
def test_init_writes_no_invalid_file(run: Run, tmp_path: Path, options: tuple[str, str]) -> None:
    assert run("init", tmp_path / "a.yaml", *options)[0] == 78
    assert not (tmp_path / "a.yaml").exists()


@pytest.mark.parametrize("ae", ["1234", "yes", "A: B", "A #1", "null"])
def test_init_quotes_values_that_yaml_would_misread(run: Run, tmp_path: Path, ae: str) -> None:
    options = ["--ae-title", ae, "--caller", ae, "--target", f"{ae}@h:104"]
    assert run("init", tmp_path / "a.yaml", *options)[0] == 0
    config = load(tmp_path / "a.yaml")
    assert config.node.ae_title == ae
    assert [caller.ae for caller in config.callers if caller != "any"] == [ae]  # type: ignore[union-attr]
    assert config.targets["pacs"].ae == ae


def test_check_accepts_a_working_node(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    with scripted_target() as peer:
        target = {"ae": "PEER", "host": "127.0.0.1", "port": peer.port}
        file = configure(tmp_path / "a.yaml", tiny_models, targets={"pacs": target})
        status, printed, _ = run("check", "--config", file, "--json")
    findings = {finding["subject"]: finding for finding in json.loads(printed)}
    assert status == 0, printed
    assert all(finding["ok"] for finding in findings.values())
    assert "digest" in findings["rule all"]["message"]
    assert "reference case" in findings["tiny-mr/1.0 small"]["message"]


def test_check_names_line_and_nearest_key(run: Run, configured: Path) -> None:
    text = configured.read_text(encoding="utf-8").replace("port:", "prot:", 1)
    configured.write_text(text, encoding="utf-8")
    line = next(n for n, row in enumerate(text.splitlines(), 1) if "prot" in row)
    status, _, printed = run("check", "--config", configured)
    assert status == 78
    assert f"line {line}" in printed
    assert "Did you mean 'port'?" in printed


def test_check_names_the_line_of_bad_yaml(run: Run, configured: Path) -> None:
    configured.write_text("node:\n  port: [1\n", encoding="utf-8")
    status, _, printed = run("check", "--config", configured)
    assert status == 78
    assert "line 3" in printed


def test_check_without_a_file_advises_init(run: Run, tmp_path: Path) -> None:
    status, _, printed = run("check", "--config", tmp_path / "none.yaml")
    assert status == 78
    assert "segnode init" in printed


def failures(run: Run, file: Path) -> dict[str, str]:
    status, printed, _ = run("check", "--config", file, "--json")
    assert status == 1
    return {f["subject"]: f["message"] for f in json.loads(printed) if not f["ok"]}


def test_check_finds_an_altered_package_and_a_dead_target(run: Run, tmp_path: Path) -> None:
    package = make_tiny_package(tmp_path / "models")
    with (package.folder / "small.onnx").open("ab") as file:
        file.write(b"x")
    problems = failures(run, configure(tmp_path / "a.yaml", tmp_path / "models"))
    assert problems.keys() == {"packages", "target pacs"}
    assert "small.onnx" in problems["packages"]


def test_check_finds_a_used_port_low_disk_and_no_callers(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        file = configure(
            tmp_path / "a.yaml",
            tiny_models,
            node={"host": "127.0.0.1", "port": other.getsockname()[1]},
            data={"dir": "data", "stop_accepting_below": "900000 GiB"},
            callers=[],
            targets={},
            rules=[],
        )
        problems = failures(run, file)
    assert problems.keys() == {"port", "data folder", "callers"}
    assert "stop_accepting_below" in problems["data folder"]


def test_check_finds_a_folder_that_cannot_be_created(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    data = {"dir": "file/data", "stop_accepting_below": "1 MiB"}
    file = configure(tmp_path / "a.yaml", tiny_models, data=data, targets={}, rules=[])
    assert failures(run, file).keys() == {"data folder"}


def test_check_prints_one_line_per_finding(run: Run, configured: Path) -> None:
    status, printed, _ = run("check", "--config", configured)
    assert status == 1
    assert "ok    configuration: understood" in printed
    assert "FAIL  target pacs" in printed


# -- models


def test_models_are_listed_for_people_and_machines(run: Run, tiny_models: Path) -> None:
    status, printed, _ = run("models", "list", "--models", tiny_models)
    assert status == 0
    assert "tiny-mr/1.0" in printed
    assert "not measured" in printed
    listed = json.loads(run("models", "list", "--models", tiny_models, "--json")[1])
    assert [row["size"] for row in listed] == ["teacher", "small"]


def test_models_verify_names_the_altered_package(run: Run, tmp_path: Path) -> None:
    make_tiny_package(tmp_path, task="good-mr", sizes=("small",))
    bad = make_tiny_package(tmp_path, task="bad-mr", sizes=("small",))
    assert run("models", "list", "--models", tmp_path)[0] == 0
    (bad.folder / "card.md").write_text("altered", encoding="utf-8")
    status, printed, _ = run("models", "verify", "--models", tmp_path, "--json")
    assert status == 1
    assert {r["package"]: r["ok"] for r in json.loads(printed)} == {
        "bad-mr/1.0": False,
        "good-mr/1.0": True,
    }
    assert run("models", "list", "--models", tmp_path)[0] == 78
    assert "FAIL  bad-mr/1.0" in run("models", "verify", "--models", tmp_path)[1]


@pytest.mark.parametrize("command", [["models", "list"], ["models", "verify"], ["selftest"]])
def test_a_folder_without_packages_is_a_misconfiguration(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    status, printed, errors = run(*command, "--models", tmp_path)
    assert (status, printed) == (78, "")
    assert f"no package in {tmp_path}" in errors
    assert "--models" in errors
    status, printed, errors = run(*command, "--models", tmp_path / "absent")
    assert (status, printed) == (78, "")
    assert f"{tmp_path}/absent does not exist" in errors


# -- errors of the operating system


def test_a_file_instead_of_a_folder_has_a_message(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    status, printed, errors = run("init", tmp_path / "file/sub/a.yaml")
    assert (status, printed) == (74, "")
    assert errors.startswith(f"segnode init: {tmp_path}/file/sub")
    assert "Not a directory" in errors
    assert "correct the path" in errors
    assert "uncaught" not in errors


def test_a_damaged_input_has_a_message(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    image = tmp_path / "head.nii.gz"
    image.write_bytes(b"not compressed at all")
    options = ["--task", "tiny-mr", "--models", tiny_models, "--out", tmp_path / "out"]
    status, _, errors = run("try", image, *options)
    assert status in (65, 74)
    assert errors.splitlines()[-2].startswith("segnode try: ")


def test_a_full_disk_under_the_output_is_reported_once(configured: Path) -> None:
    command = [sys.executable, "-m", "node", "jobs", "list", "--config", str(configured)]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=240, check=False
        )
    assert done.returncode == 75
    assert done.stderr.splitlines() == [
        "segnode jobs: No space left on device",
        "  Free some space, then run the command again.",
    ]


def test_a_closed_pipe_is_not_an_error(configured: Path) -> None:
    command = [sys.executable, "-m", "node", "jobs", "list", "--config", str(configured)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        command, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=240, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.EACCES, 74), (errno.ENOENT, 74), (errno.EROFS, 74), (errno.EIO, 74),
     (errno.ENOSPC, 75), (errno.EDQUOT, 75)],
)  # fmt: skip
def test_every_error_of_the_system_has_a_status_and_an_advice(number: int, status: int) -> None:
    error = node_error_of(OSError(number, os.strerror(number), "/data/x"))
    assert status_of(error) == status
    assert error.message == f"/data/x: {os.strerror(number)}"
    assert error.advice
