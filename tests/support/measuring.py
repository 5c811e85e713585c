"""Invented measurements, written to the real files, for tests of the choice."""

import importlib.util
from typing import Any

import msgspec
import pytest

from node import measured
from node.config import DataConfig
from node.engines import ENGINES, versions
from node.imaging import Grid
from node.measured import Host, Measurement, workload
from node.package import Package
from tests.support.packages import phantom

ENGINES_HERE = [
    pytest.param(
        engine,
        marks=pytest.mark.skipif(
            engine not in versions(),
            reason="openvino is not installed"
            if importlib.util.find_spec("openvino") is None
            else "this CPU does not compute in bfloat16",
        ),
    )
    for engine in ENGINES
]
HOST = Host("a CPU", 2, {"onnxruntime": "1.0", "openvino": "2.0"})


def a_measurement(
    package: Package, size: str, engine: str = "onnxruntime", **changes: Any
) -> Measurement:
    """Return a measurement of `HOST`."""
    grid: Grid = phantom().grid
    measurement = Measurement(
        digest=package.digest,
        package=package.name,
        size=size,
        engine=engine,
        version=HOST.versions[engine],
        cpu=HOST.cpu,
        threads=HOST.threads,
        at=1_700_000_000.0,
        dice=1.0,
        seconds=1.0,
        patch_s=0.1,
        voxel_s=1e-6,
        peak_mb=300.0,
        arrays_mb=workload(package, grid).arrays_mb,
    )
    return msgspec.structs.replace(measurement, **changes)


def written(data: DataConfig, *measurements: Measurement) -> list[Measurement]:
    """Write measurements and read them again."""
    for one in measurements:
        measured.write(data, one)
    return measured.read(data, HOST)
