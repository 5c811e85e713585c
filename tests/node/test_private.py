"""Files and folders of the node are readable by its user only, however it is started."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from node.private import wide_paths
from tests.support.commanding import Run, configure
from tests.support.running import segnode, wait_until

SHOW = (
    "import os, resource; from node import commands; commands.main({arguments}); "
    "print(oct(os.umask(0)), resource.getrlimit(resource.RLIMIT_CORE), "
    "int(open('/proc/self/coredump_filter').read(), 16))"
)


def allow_core_dumps() -> None:
    """Allow as much as this process may: another test may have lowered its limit."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))


def test_a_command_writes_privately_and_leaves_no_core_dump() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW.format(arguments=["models", "list", "--models", "none"])],
        capture_output=True, text=True, check=True,
        preexec_fn=allow_core_dumps,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0o77 (0, 0) 0"


def test_the_configuration_stays_readable_for_the_user_of_the_node(tmp_path: Path) -> None:
    done = segnode("init", str(tmp_path / "node.yaml"))
    assert done.returncode == 0, done.stderr
    assert mode(tmp_path / "node.yaml") & stat.S_IRUSR | stat.S_IRGRP


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_served_data_folder_is_private(tmp_path: Path) -> None:
    file = configure(tmp_path / "node.yaml", tmp_path, rules=[])
    node = subprocess.Popen(
        [sys.executable, "-m", "node", "serve", "--config", str(file)],
        stderr=subprocess.DEVNULL, umask=0o022,
    )  # fmt: skip
    data = tmp_path / "data"
    try:
        wait_until(
            lambda: segnode("status", "--config", str(file)).returncode == 0, 90, lambda: "no start"
        )
        paths = [data, *data.rglob("*")]
        assert {path.name for path in paths} >= {"data", "inbox", "segnode.sqlite", "lock"}
        for path in paths:
            assert mode(path) == (0o700 if path.is_dir() else 0o600), path
    finally:
        node.terminate()
        node.wait(240)


def test_check_names_a_wide_folder_and_the_command_that_closes_it(tmp_path: Path, run: Run) -> None:
    place = tmp_path / "a node"
    place.mkdir()
    file = configure(place / "node.yaml", tmp_path, rules=[])
    (place / "data" / "inbox").mkdir(parents=True)
    (place / "data").chmod(0o755)
    _, output, _ = run("check", "--config", str(file))
    (command,) = [line.partition("Type: ")[2] for line in output.splitlines() if "Type: " in line]
    assert command.startswith("chmod ")
    subprocess.run(command, shell=True, check=True)
    _, output, _ = run("check", "--config", str(file))
    assert "Type: " not in output
    assert "ok    data folder, access" in output


def test_a_wide_file_in_a_closed_folder_is_reported_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "inbox" / "series").mkdir(parents=True)
    for folder in (tmp_path / "inbox", tmp_path / "inbox" / "series"):
        folder.chmod(0o700)
    assert list(wide_paths(tmp_path)) == []
    (tmp_path / "segnode.sqlite").touch(0o600)
    (tmp_path / "segnode.sqlite").chmod(0o640)
    (tmp_path / "link").symlink_to("/")
    assert list(wide_paths(tmp_path)) == [tmp_path / "segnode.sqlite"]


def mode(path: Path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)
