"""Keep each measurement as a small JSON file in `measured/` of the data folder.

A file is complete or absent, and a file of another version of the node is ignored and measured
again. So there are no locks, migrations or repairs.
"""

import hashlib
from dataclasses import dataclass

import msgspec

from node import durable, engines
from node.config import DataConfig
from node.engines import cpu

FOLDER = "measured"


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One size with one engine, on the reference case of its package."""

    digest: str  # of the package
    package: str  # task/version, for people
    size: str
    engine: str
    version: str  # of the engine's library
    cpu: str
    threads: int
    at: float  # time of the measurement, Unix seconds
    problem: str = ""  # why the size must not run here; empty: it reproduced the reference case
    dice: float = 0.0  # of the worst segment of the reference case
    open_s: float = 0.0  # to load and compile the network
    seconds: float = 0.0  # of the whole pipeline, median
    patch_s: float = 0.0  # per patch: the network, and all that does not grow with the source
    voxel_s: float = 0.0  # per voxel of the source
    peak_mb: float = 0.0  # of the whole process
    arrays_mb: float = 0.0  # the part of `peak_mb` that grows with the series


@dataclass(frozen=True)
class Host:
    """A machine: measurements are valid for one."""

    cpu: str
    threads: int
    versions: dict[str, str]  # engine -> version of its library


def this_host(threads: int) -> Host:
    """Return this machine with `threads` computing threads (0: one per available CPU)."""
    return Host(cpu.name(), cpu.threads(threads), engines.versions())


def read(data: DataConfig, host: Host) -> list[Measurement]:
    """Return the measurements that are valid for `host`, in no particular order."""
    measurements = []
    for path in sorted((data.dir / FOLDER).glob("*.json")):
        try:
            one = msgspec.json.decode(path.read_bytes(), type=Measurement)
        except (msgspec.MsgspecError, OSError):
            continue  # damaged or of another version: measured again
        is_of_host = (one.cpu, one.threads) == (host.cpu, host.threads)
        if is_of_host and host.versions.get(one.engine) == one.version:
            measurements.append(one)
    return measurements


def write(data: DataConfig, measurement: Measurement) -> None:
    """Write a measurement; it replaces an earlier one of the same size and engine."""
    same = (measurement.digest, measurement.size, measurement.engine, measurement.version,
            measurement.cpu, measurement.threads)  # fmt: skip
    folder = data.dir / FOLDER
    durable.make_folder(folder)
    path = folder / f"{hashlib.sha256(msgspec.json.encode(same)).hexdigest()[:32]}.json"
    durable.write(path, msgspec.json.format(msgspec.json.encode(measurement)) + b"\n")
