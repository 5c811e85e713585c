"""Make a phantom, its series and its SEG in one call, for tests of results."""

import datetime
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from node import rtstruct
from node.dicom.uids import UUID_ROOT
from node.imaging import Labels
from node.package import Package
from node.preview import render
from node.report import ReportedResult, encode_report
from node.secondary_capture import encode_picture
from node.seg import Encoding, SegIdentity, encode, repairs_of
from node.series import Series, read
from tests.support.phantoms import Phantom, Scan, make, package

CREATED = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
IDENTITY = SegIdentity(
    manufacturer="Test", model_name="segnode", serial="1", software_version="0.1.0"
)
BINARY = Encoding()


@dataclass(frozen=True)
class Result:
    """A phantom, its series, its labels and its SEG."""

    scan: Scan
    series: Series
    labels: Labels
    package: Package
    seg: Dataset

    @property
    def repairs(self) -> tuple[str, ...]:
        """Return the repairs of the inherited header."""
        return repairs_of(self.series)

    def report(self, **changes: Any) -> Dataset:
        """Return the report; `changes` replaces fields of its result."""
        reported = ReportedResult(self.series, self.labels, self.package, "small")
        return encode_report(replace(reported, **changes), self.seg, created=CREATED)

    def rtstruct(self) -> Dataset:
        """Return the structure set."""
        segments = self.package.manifest.segments
        return rtstruct.encode(
            self.series, self.labels, segments, self.seg, created=CREATED, uid_root=UUID_ROOT
        )

    def picture(self) -> Dataset:
        """Return the Secondary Capture."""
        pixels = render(self.series.volume, self.labels, self.package.manifest.segments)
        return encode_picture(pixels, self.seg, created=CREATED, uid_root=UUID_ROOT)


def result(
    folder: Path,
    phantom: Phantom | None = None,
    encoding: Encoding = BINARY,
    labels: Labels | None = None,
) -> Result:
    """Make, read and encode a phantom with its expected labels, or with others."""
    scan = make(folder / "series", phantom)
    series = read(scan.paths)
    chosen = labels or Labels(scan.labels, series.survey.grid)
    model = package(folder)
    if phantom is not None and phantom.segments == 1:
        model = package(folder, model.manifest.segments[:1])
    seg = encode_again(series, chosen, model, encoding)
    return Result(scan, series, chosen, model, seg)


def encode_again(
    series: Series,
    labels: Labels,
    model: Package,
    encoding: Encoding = BINARY,
    identity: SegIdentity = IDENTITY,
) -> Dataset:
    """Encode with fixed size, digest and time."""
    return encode(
        series,
        labels,
        model,
        "small",
        inputs_digest="cd" * 32,
        identity=identity,
        encoding=encoding,
        created=CREATED,
    )
