"""A real Orthanc on loopback, one per test: it starts in half a second."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import processes

EXECUTABLE = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
START_S = 240.0

# A study-level rule would send our SEG back to us: it makes the study stable a second time
FORWARD = """
function OnStableSeries(series, tags, metadata)
  local modality = tags['Modality']
  if modality == 'MR' or modality == 'CT' then
    local request = {}
    request['Resources'] = { series }
    request['Synchronous'] = false
    RestApiPost('/modalities/node/store', DumpJson(request, true))
  end
end
"""

needs_orthanc = pytest.mark.skipif(
    not Path(EXECUTABLE).exists(), reason="Debian's Orthanc is not installed"
)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Orthanc:
    """A running Orthanc; `ae` answers on `dicom_port`."""

    folder: Path
    ae: str = "ORTHANC"
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)

    def get(self, path: str) -> Any:
        """Return the JSON or bytes at a path of the REST interface."""
        return self._call(path, None)

    def post(self, path: str, body: Any) -> Any:
        """Post JSON, or bytes as they are."""
        return self._call(path, body if isinstance(body, bytes) else json.dumps(body).encode())

    def series(self, modality: str) -> list[str]:
        """Return Orthanc's identifiers of all series of a modality."""
        query = {"Level": "Series", "Query": {"Modality": modality}}
        return list(self.post("/tools/find", query))

    def files_of(self, series: str, folder: Path) -> list[Path]:
        """Write the instances of a series as files."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for instance in self.get(f"/series/{series}")["Instances"]:
            paths.append(folder / f"{instance}.dcm")
            paths[-1].write_bytes(self.get(f"/instances/{instance}/file"))
        return paths

    def _call(self, path: str, body: bytes | None) -> Any:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=120) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError:
            return content


@contextmanager
def started(orthanc: Orthanc, node_port: int | None = None, **options: Any) -> Iterator[Orthanc]:
    """Run Orthanc; with `node_port` it forwards stable MR and CT series to SEGNODE there.

    Args:
        orthanc: ports and folder; what it stored before is kept.
        node_port: of the node on loopback.
        options: anything else of Orthanc's configuration.
    """
    folder = orthanc.folder
    folder.mkdir(parents=True, exist_ok=True)
    node = {"AET": "SEGNODE", "Host": "127.0.0.1", "Port": node_port or 1}
    configuration: dict[str, Any] = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": orthanc.http_port,
        "DicomPort": orthanc.dicom_port,
        "DicomAet": orthanc.ae,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "StableAge": 1,
        "DicomModalities": {"node": node},
        "LuaScripts": [],
    }
    if node_port:
        (folder / "forward.lua").write_text(FORWARD)
        configuration["LuaScripts"] = [str(folder / "forward.lua")]
    (folder / "orthanc.json").write_text(json.dumps(configuration | options))
    with (folder / "orthanc.log").open("ab") as log:
        process = processes.start(
            [EXECUTABLE, str(folder / "orthanc.json")],
            stdout=log,
            stderr=log,
            env=os.environ | {"TCP_NODELAY": "1"},
        )
    try:
        _wait(orthanc, process)
        yield orthanc
    finally:
        processes.stop(process)


def _wait(orthanc: Orthanc, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            orthanc.get("/system")
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    log = (orthanc.folder / "orthanc.log").read_text(errors="replace")
    raise AssertionError(f"Orthanc did not start:\n{log[-2000:]}")
