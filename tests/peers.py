"""Peers for the listener: a scripted one on a raw socket for rude behaviour, and real DCMTK.

The scripted peer knows PS3.7 and PS3.8 by itself, so that it can break them.
"""

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node import listener
from node.config import Caller, Config, Data, Node
from node.config.units import Bytes
from node.inbox import Inbox, InstanceFile

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
CANARY = "CANARY^Zzyzx"

needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed")


def ct(number: int = 1, *, size: int = 32, series: str = SERIES, value: int = 0) -> Dataset:
    """Return a small CT slice of a canary patient."""
    slice_ = Dataset()
    slice_.SOPClassUID = CT
    slice_.SOPInstanceUID = f"{series}.{number}"
    slice_.StudyInstanceUID, slice_.SeriesInstanceUID = STUDY, series
    slice_.PatientName, slice_.PatientID = CANARY, "CANARY-4711"
    slice_.Modality = "CT"
    slice_.ReferencedStudySequence = [Dataset()]
    slice_.ReferencedStudySequence[0].ReferencedSOPInstanceUID = "1.2.3"
    slice_.Rows = slice_.Columns = size
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated = slice_.BitsStored = 16
    slice_.HighBit, slice_.PixelRepresentation = 15, 0
    slice_.ImagePositionPatient = [0, 0, number]
    slice_.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    slice_.PixelSpacing = [1, 1]
    pixels = np.full((size, size), number + value, dtype=np.uint16)
    slice_.PixelData = pixels.tobytes()
    slice_["PixelData"].VR = "OW"
    return slice_


def encode(dataset: Dataset, syntax: str = EXPLICIT) -> bytes:
    """Return the data set as it goes over the wire."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != BIG
    buffer.is_implicit_VR = syntax == IMPLICIT
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def write_slices(folder: Path, count: int, *, size: int = 32, series: str = SERIES) -> list[str]:
    """Write CT slices as files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(1, count + 1):
        dataset = ct(number, size=size, series=series)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = EXPLICIT
        path = folder / f"{number:04}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(str(path))
    return paths


@dataclass
class Listening:
    """A listener that runs in a thread."""

    port: int
    root: Path

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.root / "inbox")

    def instances(self) -> list[InstanceFile]:
        """Return every kept instance."""
        inbox = self.inbox
        return [file for folder in inbox.series_folders() for file in inbox.instances(folder)]


def configuration(
    root: Path,
    callers: Any = "any",
    stop_below: int = 1,
    **node: Any,
) -> Config:
    """Return what a listener on a free port of loopback needs."""
    return Config(
        node=msgspec.structs.replace(Node(host="127.0.0.1", port=0), **node),
        data=Data(dir=root, stop_accepting_below=Bytes(stop_below)),
        callers=callers,
    )


@contextmanager
def listening(root: Path, **choices: Any) -> Iterator[Listening]:
    """Run a listener in a thread; see that it leaves no thread behind."""
    stop, ready = threading.Event(), threading.Event()
    ports: list[int] = []

    def is_ready(port: int) -> None:
        ports.append(port)
        ready.set()

    thread = threading.Thread(
        target=listener.run, args=(configuration(root, **choices), stop, is_ready)
    )
    thread.start()
    assert ready.wait(10)
    try:
        yield Listening(ports[0], root)
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def listener_process(root: Path, script: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a listener in a process of its own; `script` runs in it first."""
    program = f"""
import sys
from pathlib import Path
from node import listener, logs
from tests.peers import configuration
logs.start("listener", "info")
{script}
listener.run(configuration(Path(sys.argv[1])), ready=lambda port: print(port, flush=True))
"""
    log = (root / "listener.log").open("a")
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    log.close()
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def dcmtk(tool: str, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's tools against a listener on loopback."""
    command = [tool, "-v", *_options(arguments), "127.0.0.1", str(port), *_files(arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment()
    )


def environment() -> dict[str, str]:
    """Return the environment in which Debian's DCMTK does not wait 40 ms for each answer."""
    return dict(os.environ, TCP_NODELAY="1")


def _files(arguments: tuple[str, ...]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("/")]


def _options(arguments: tuple[str, ...]) -> list[str]:
    own = [argument for argument in arguments if not argument.startswith("/")]
    return own if "-aec" in own else [*own, "-aec", "SEGNODE"]


def known(ae: str, host: str = "") -> tuple[Caller, ...]:
    """Return a list of one caller."""
    return (Caller(ae=ae, host=host),)


def soon(is_so: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Wait until it is so: a marker is written just after the peer has been answered."""
    until = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


class Peer:
    """A DICOM peer that does what it is told."""

    def __init__(self, port: int, calling: str = "RUDE", called: str = "SEGNODE") -> None:
        self.calling, self.called = calling, called
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=15)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def associate(self, *contexts: tuple[str, str]) -> bytes:
        """Ask for an association; return the PDU that answers."""
        items = _item(0x10, b"1.2.840.10008.3.1.1.1")
        for number, (abstract, transfer) in enumerate(contexts or ((CT, EXPLICIT),)):
            inner = _item(0x30, abstract.encode()) + _item(0x40, transfer.encode())
            items += _item(0x20, struct.pack(">BBBB", 2 * number + 1, 0, 0, 0) + inner)
        user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.3.4")
        items += _item(0x50, user)
        head = struct.pack(">HH16s16s32x", 1, 0, _ae(self.called), _ae(self.calling))
        self.send(0x01, head + items)
        return self.receive()

    def store(self, data: bytes, instance: str, **choices: Any) -> int:
        """Send a C-STORE; return the status, or -1 if the association ended instead."""
        self.request(instance, **choices)
        self.fragments(data)
        return self.status()

    def request(
        self, instance: str, sop_class: str = CT, context: int = 1, command: int = 0x0001
    ) -> None:
        """Send the command of a C-STORE; its data set must follow."""
        elements = (
            _command(0x0002, _even(sop_class))
            + _command(0x0100, struct.pack("<H", command))
            + _command(0x0110, struct.pack("<H", 7))
            + _command(0x0700, struct.pack("<H", 0))
            + _command(0x0800, struct.pack("<H", 1))
            + _command(0x1000, _even(instance))
        )
        elements = _command(0x0000, struct.pack("<I", len(elements))) + elements
        self.send(0x04, _fragment(context, 3, elements))

    def fragments(self, data: bytes, context: int = 1, size: int = 65536) -> None:
        """Send a data set in fragments."""
        for start in range(0, max(1, len(data)), size):
            flag = 2 if start + size >= len(data) else 0
            self.send(0x04, _fragment(context, flag, data[start : start + size]))

    def status(self) -> int:
        """Read a response; return its status, or -1 if there is none."""
        pdu = self.receive()
        if pdu[:1] != b"\x04":
            return -1
        elements, at = pdu[12:], 0
        while at < len(elements):
            element, length = struct.unpack_from("<2xHI", elements, at)
            if element == 0x0900:
                return int(struct.unpack_from("<H", elements, at + 8)[0])
            at += 8 + length
        return -1

    def release(self) -> None:
        """End the association in good order."""
        self.send(0x05, bytes(4))
        assert self.receive()[:1] == b"\x06"

    def send(self, kind: int, body: bytes, announced: int | None = None) -> None:
        """Send a PDU, with another length than it has if so told."""
        length = len(body) if announced is None else announced
        try:
            self.socket.sendall(struct.pack(">BBI", kind, 0, length) + body)
        except OSError:  # hung up on: `receive` tells
            return

    def receive(self) -> bytes:
        """Return the next PDU; nothing at the end of the connection."""
        head = self._read(6)
        return head + self._read(struct.unpack(">2xI", head)[0]) if len(head) == 6 else b""

    def _read(self, count: int) -> bytes:
        found = BytesIO()
        while found.tell() < count:
            try:
                piece = self.socket.recv(count - found.tell())
            except ConnectionError:
                break
            if not piece:
                break
            found.write(piece)
        return found.getvalue()


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(body)) + body


def _ae(title: str) -> bytes:
    return title.encode().ljust(16)


def _even(uid: str) -> bytes:
    raw = uid.encode()
    return raw + b"\0" * (len(raw) % 2)


def _command(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value


def _fragment(context: int, flag: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, flag) + data
