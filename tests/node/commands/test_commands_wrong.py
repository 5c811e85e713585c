"""Internal errors and permanent errors end with a message, not with a traceback."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from node.commands import main
from node.commands.options import LARGEST
from node.errors import Unsuitable
from node.imaging import Grid, Volume, nifti
from tests.support.commanding import Run, configure
from tests.support.packages import make_tiny_package


def findings(run: Run, file: Path) -> dict[str, dict[str, str]]:
    """Return the failed findings of `check` by name."""
    printed = json.loads(run("check", "--config", file, "--json")[1])
    return {one["subject"]: one for one in printed if not one["ok"]}


@pytest.mark.parametrize("number", ["0", "1.5", str(LARGEST), "9" * 30, "seven"])
def test_an_impossible_number_of_rows_is_wrong_usage(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["jobs", "list", "--limit", number])
    assert left.value.code == 2
    assert "is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "a\\b", "x" * 65, "1..2"])
def test_a_text_that_names_no_job_and_no_study_is_wrong_usage(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["jobs", "show", text])
    assert left.value.code == 2
    assert "is no job number, UID or accession number" in capsys.readouterr().err


def test_a_damaged_database_is_found_before_the_node_starts(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, targets={}, rules=[])
    assert "database" not in findings(run, file), "there is none yet"
    (tmp_path / "data" / "segnode.sqlite").write_bytes(b"garbage, and plenty of it " * 100)
    checked = findings(run, file)
    assert "damaged" in checked["database"]["advice"]
    for words in (["status"], ["jobs", "list"], ["jobs", "retry", "1"], ["explain", "1.2"]):
        status, printed, errors = run(*words, "--config", file)
        assert (status, printed) == (78, "")
        assert "damaged" in errors


def test_an_internal_error_is_reported_without_its_text(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, targets={}, rules=[])
    assert run("jobs", "retry", "1", "--config", file)[0] == 1, "it makes the database"
    with sqlite3.connect(tmp_path / "data" / "segnode.sqlite") as database:
        database.execute("DROP TABLE events")
    status, _, errors = run("explain", "1.2", "--config", file)
    assert status == 70
    log, message = errors.splitlines()
    assert json.loads(log)["exception"] == "OperationalError"
    assert message == "Internal error (OperationalError). Please report it with the log line above."
    assert "no such table" not in errors, "an error's text could quote a data set"


def test_check_names_a_caller_whose_host_cannot_be_resolved(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    callers = [{"ae": "CT01", "host": "no-such-host.invalid"}, {"ae": "CT02", "host": "10.0.0.0/8"}]
    file = configure(tmp_path / "a.yaml", tiny_models, callers=callers, targets={}, rules=[])
    checked = findings(run, file)
    assert checked.keys() == {"caller CT01"}
    assert "no-such-host.invalid" in checked["caller CT01"]["message"]


def test_check_distinguishes_a_foreign_address_from_a_used_port(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    node = {"host": "192.0.2.7", "port": 11112}  # TEST-NET-1, RFC 5737
    file = configure(tmp_path / "a.yaml", tiny_models, node=node, targets={}, rules=[])
    assert "Correct node.host" in findings(run, file)["port"]["advice"]


def test_verify_continues_after_an_unreadable_reference_case(run: Run, tmp_path: Path) -> None:
    bad = make_tiny_package(tmp_path, task="a-mr", sizes=("small",))
    make_tiny_package(tmp_path, task="b-mr", sizes=("small",))
    reference = bad.folder / bad.manifest.reference.image
    reference.write_bytes(reference.read_bytes()[:-40])
    status, printed, _ = run("models", "verify", "--models", tmp_path, "--json")
    assert status == 1
    assert {one["package"]: one["ok"] for one in json.loads(printed)} == {
        "a-mr/1.0": False,
        "b-mr/1.0": True,
    }


@pytest.mark.parametrize("cut", [-1, -20, 200])
def test_a_truncated_compressed_image_is_unsuitable(tmp_path: Path, cut: int) -> None:
    image = Volume(np.random.default_rng(1).normal(size=(8, 9, 10)).astype(np.float32), _GRID)
    whole = tmp_path / "whole.nii.gz"
    nifti.write(image, whole)
    part = tmp_path / "part.nii.gz"
    part.write_bytes(whole.read_bytes()[:cut])
    assert nifti.read_volume(whole).array.shape == (8, 9, 10)
    with pytest.raises(Unsuitable):
        nifti.read_volume(part)


_GRID = Grid((8, 9, 10), np.eye(4)[[2, 1, 0, 3]])
