"""Listeners in threads and processes, DCMTK as their peer, and slices to send."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node import listener
from node.config import (
    Caller,
    CertificateName,
    Config,
    DataConfig,
    NodeConfig,
    Target,
    TlsConfig,
)
from node.config.units import Bytes
from node.inbox import Inbox, InstanceFile
from tests.support import processes

CT = uid.CTImageStorage
IMPLICIT, EXPLICIT = uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian
BIG = uid.ExplicitVRBigEndian
STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
CANARY = "CANARY^Zzyzx"


def dcmtk_tool(name: str) -> str | None:
    """Return the path of a tool of DCMTK; pynetdicom installs scripts of the same names."""
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        path = shutil.which(name, path=folder)
        if path and b"dcmtk" in Path(path).read_bytes():
            return path
    return None


needs_dcmtk = pytest.mark.skipif(dcmtk_tool("storescu") is None, reason="DCMTK is not installed")


def ct(number: int = 1, *, size: int = 32, series: str = SERIES, value: int = 0) -> Dataset:
    """Return a small CT slice of the canary patient, whose data must not leak."""
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
    """Return the data set as it is transferred."""
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
    tls: TlsConfig | None = None,
    targets: dict[str, Target] | None = None,
    **node: Any,
) -> Config:
    """Return the configuration of a listener on a free port of loopback."""
    return Config(
        node=msgspec.structs.replace(NodeConfig(host="127.0.0.1", port=0), **node),
        data=DataConfig(dir=root, stop_accepting_below=Bytes(stop_below)),
        callers=callers,
        tls=tls or TlsConfig(),
        targets=targets or {},
    )


@contextmanager
def listening(root: Path, **choices: Any) -> Iterator[Listening]:
    """Run a listener in a thread; check that it leaves no thread behind."""
    stop, ready = threading.Event(), threading.Event()
    ports: list[int] = []

    def is_ready(port: int) -> None:
        ports.append(port)
        ready.set()

    thread = threading.Thread(
        target=listener.run, args=(configuration(root, **choices), stop, is_ready)
    )
    thread.start()
    assert ready.wait(240)
    try:
        yield Listening(ports[0], root)
    finally:
        stop.set()
        thread.join(240)
        assert not thread.is_alive()


@contextmanager
def listener_process(root: Path, script: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a listener in a separate process, which executes `script` first."""
    program = f"""
import sys
from pathlib import Path
from node import listener, logs
from tests.support.peers import configuration
logs.start("listener", "info")
{script}
listener.run(configuration(Path(sys.argv[1])), ready=lambda port: print(port, flush=True))
"""
    log = (root / "listener.log").open("a")
    process = processes.start(
        [sys.executable, "-c", program, str(root)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    log.close()
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def dcmtk(
    tool: str, port: int, *arguments: str, tls: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one of DCMTK's tools against a listener on loopback; `tls`: options with paths."""
    path = dcmtk_tool(tool)
    assert path is not None
    command = [path, "-v", *tls, *_options(arguments), "127.0.0.1", str(port), *_files(arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=environment()
    )


def environment() -> dict[str, str]:
    """Return the environment in which Debian's DCMTK does not wait 40 ms for each answer."""
    return dict(os.environ, TCP_NODELAY="1")


def _files(arguments: tuple[str, ...]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("/")]


def _options(arguments: tuple[str, ...]) -> list[str]:
    own = [argument for argument in arguments if not argument.startswith("/")]
    return own if "-aec" in own else [*own, "-aec", "SEGNODE"]


def known(ae: str, host: str = "", certificate: str = "") -> tuple[Caller, ...]:
    """Return a list of one caller."""
    bound = CertificateName.parse(certificate) if certificate else CertificateName()
    return (Caller(ae=ae, host=host, certificate=bound),)


def soon(is_so: Callable[[], bool], seconds: float = 120.0) -> bool:
    """Wait for a condition: a marker is written shortly after the response to the peer."""
    until = time.monotonic() + seconds
    while not (value := is_so()) and time.monotonic() < until:
        time.sleep(0.02)
    return value
