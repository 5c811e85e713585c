"""After a kill or on a full disk, every instance answered with success is stored completely."""

import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from node.inbox import Inbox, read_markers, sop_key
from node.listener import StoreStatus
from tests.support.peers import (
    SERIES,
    ct,
    dcmtk_tool,
    encode,
    environment,
    listener_process,
    listening,
    needs_dcmtk,
    soon,
    write_slices,
)
from tests.support.rude import Peer


def stored_files(root: Path) -> dict[str, Path]:
    inbox = Inbox(root / "inbox")
    return {
        file.sop_key: file.path
        for folder in inbox.series_folders()
        for file in inbox.instances(folder)
    }


def assert_recovered(root: Path) -> None:
    """Check that a new listener removes temporary files and closes markers of the killed one."""
    with listening(root):
        inbox = Inbox(root / "inbox")
        assert list(inbox.temporary_folder.iterdir()) == []
        for folder in inbox.series_folders():
            assert {marker.state for marker in read_markers(folder.path)} <= {"aborted", "released"}


@pytest.mark.dcmtk
@needs_dcmtk
def test_after_a_kill_every_acknowledged_instance_is_complete(tmp_path: Path) -> None:
    count = 600  # the kill comes after about ten of them
    paths = write_slices(tmp_path / "slices", count, size=128)
    root = tmp_path / "data"
    root.mkdir()
    with listener_process(root) as (process, port):
        command = [
            str(dcmtk_tool("storescu")),
            "-v",
            "-aec",
            "SEGNODE",
            "127.0.0.1",
            str(port),
            *paths,
        ]
        sender = subprocess.Popen(
            command, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        while len(stored_files(root)) < 10:
            time.sleep(0.01)
        time.sleep(random.Random().uniform(0, 0.1))
        process.kill()
        output = sender.communicate(timeout=300)[0]
    acknowledged = output.count("Received Store Response (Success)")
    assert 1 <= acknowledged < count
    stored = stored_files(root)
    for number in range(1, acknowledged + 1):
        dataset = dcmread(stored[sop_key(f"{SERIES}.{number}")])
        assert dataset.PixelData == ct(number, size=128).PixelData
    assert_recovered(root)


def test_kills_at_random_lose_no_acknowledged_instance(tmp_path: Path) -> None:
    acknowledged: list[str] = []

    def send(port: int, sender: int) -> None:
        try:
            with Peer(port) as peer:
                peer.associate()
                for number in range(1, 500):
                    series = f"{SERIES}.{sender}"
                    data = encode(ct(number, series=series))
                    if peer.store(data, f"{series}.{number}") != 0:
                        return
                    acknowledged.append(f"{series}.{number}")
        except OSError:
            return

    for round_ in range(3):
        with listener_process(tmp_path) as (process, port):
            senders = [
                threading.Thread(target=send, args=(port, 10 * round_ + sender))
                for sender in range(3)
            ]
            for sender in senders:
                sender.start()
            before = len(acknowledged)
            assert soon(lambda before=before: len(acknowledged) >= before + 10)  # type: ignore[misc]
            time.sleep(random.Random().uniform(0.0, 0.3))
            os.kill(process.pid, signal.SIGKILL)
            for sender in senders:
                sender.join(240)
    stored = stored_files(tmp_path)
    assert len(acknowledged) > 10
    for uid in acknowledged:
        series, _, number = uid.rpartition(".")
        path = stored[sop_key(uid)]
        assert path.read_bytes().endswith(encode(ct(int(number), series=series)))
    assert_recovered(tmp_path)


def test_a_file_that_cannot_be_written_is_not_acknowledged(tmp_path: Path) -> None:
    limit = f"import resource; resource.setrlimit({resource.RLIMIT_FSIZE}, (20000, 20000))"
    with listener_process(tmp_path, limit) as (_, port), Peer(port) as peer:
        peer.associate()
        large = encode(ct(1, size=256))
        assert peer.store(large, f"{SERIES}.1") == StoreStatus.OUT_OF_RESOURCES
        assert peer.store(encode(ct(2)), f"{SERIES}.2") == StoreStatus.SUCCESS
        assert peer.store(large, f"{SERIES}.1") == StoreStatus.OUT_OF_RESOURCES
        assert list(stored_files(tmp_path)) == [sop_key(f"{SERIES}.2")]
        assert list(Inbox(tmp_path / "inbox").temporary_folder.iterdir()) == []
        peer.release()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs can only be mounted by root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_acknowledgements_and_loses_no_instance(tiny_disk: Path) -> None:
    with listening(tiny_disk) as node, Peer(node.port) as peer:
        peer.associate()
        answers = [
            peer.store(encode(ct(number, size=128)), f"{SERIES}.{number}")
            for number in range(1, 20)
        ]
        peer.release()
        stored = stored_files(tiny_disk)
    assert set(answers) == {StoreStatus.SUCCESS, StoreStatus.OUT_OF_RESOURCES}
    for number, answer in enumerate(answers, 1):
        path = stored.get(sop_key(f"{SERIES}.{number}"))
        assert (path is not None) == (answer == 0)
        if path:
            assert path.read_bytes().endswith(encode(ct(number, size=128)))
