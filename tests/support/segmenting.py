"""Make a data folder with one series in its inbox and one job, for tests of the segmenter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pydicom
from sqlalchemy import Engine

from node import queue, schema
from node.config import Config, DataConfig, Limits, ModelConfig, Target
from node.encoding import Encoding
from node.package import Package
from node.queue import Destination, NewSegmentJob, SegmentPayload
from tests.support.packages import make_tiny_package
from tests.support.phantoms import Phantom, Scan, make
from tests.support.rows import T0, an_arrival

ONE_MM = Phantom(spacing_mm=(1.0, 1.0, 1.0))  # the package's grid: the labels are exact
PACS = Destination(name="pacs")
VIEWER = Destination(name="viewer", encoding=Encoding(kind="labelmap"))


@dataclass(frozen=True)
class Site:
    """The folders of a node, before any of its processes runs."""

    config: Config
    engine: Engine
    package: Package

    def add_series(
        self, number: int = 1, phantom: Phantom = ONE_MM, **changes: Any
    ) -> tuple[Scan, int]:
        """Add a phantom to the inbox and its job to the queue; return it and the job's id."""
        key = f"series-{number}"
        scan = make(self.config.data.dir / "inbox" / "series" / key, phantom)
        filled: dict[str, Any] = {
            "series_key": key,
            "files": tuple(path.name for path in scan.paths),
            "inputs_digest": f"{number:064x}",
            "package": self.package.name,
            "package_digest": self.package.digest,
            "size": "small",
            "targets": (PACS,),
            "rule": "all",
            "caller": "SCANNER",
            "created_at": T0,
        }
        payload = SegmentPayload(**(filled | changes))
        job = NewSegmentJob(dedup_key=f"job-{number}", payload=payload)
        first = pydicom.dcmread(scan.paths[0], stop_before_pixels=True)
        arrival = an_arrival(
            number,
            instances=len(scan.paths),
            study_uid=str(first.StudyInstanceUID),
            series_uid=str(first.SeriesInstanceUID),
        )
        recorded = queue.record_arrival(self.engine, arrival, job, T0)
        assert recorded.job_id is not None
        return scan, recorded.job_id

    def limited(self, **changes: Any) -> Config:
        """Return the configuration with other limits."""
        limits = msgspec.structs.replace(self.config.limits, **changes)
        return msgspec.structs.replace(self.config, limits=limits)


def make_site(folder: Path, **package: Any) -> Site:
    """Make the folders of a node with the tiny package."""
    config = Config(
        data=DataConfig(dir=folder / "data"),
        model=ModelConfig(dir=folder / "models"),
        limits=Limits(threads=1, niceness=0),
        targets={
            "pacs": Target(ae="PACS", host="127.0.0.1"),
            "viewer": Target(ae="VIEWER", host="127.0.0.1", seg="labelmap"),
        },
    )
    tiny = make_tiny_package(config.model.dir, **package)
    return Site(config, schema.open_configured(config.data), tiny)
