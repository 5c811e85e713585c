"""Reference labels of another numbering, such as FreeSurfer's, translated to segment numbers."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd.errors import BadCase
from node.errors import NodeError
from node.imaging import Labels
from node.imaging.nifti import read_volume

LEFT_OUT = 255  # a voxel of the reference labels that is not scored
COLUMNS = ["id", "segment"]


@dataclass(frozen=True)
class Ids:
    """The segment of each id of a reference; ids without an entry are background."""

    segments: dict[int, int]
    left_out: tuple[int, ...]  # ids without a counterpart: their voxels are not scored

    @property
    def scored(self) -> tuple[int, ...]:
        """The segments that the reference has, in order."""
        return tuple(sorted(set(self.segments.values())))


def read_ids(path: Path, numbers: tuple[int, ...]) -> Ids:
    """Read a CSV file with the columns id and segment; an empty segment leaves voxels out.

    Args:
        path: of the CSV file.
        numbers: the package's segments.

    Raises:
        BadCase: unreadable, other columns, an id twice, or a segment that the package lacks.
    """
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        if not lines or lines[0] != COLUMNS:
            message = f"{path.name} does not have the columns {','.join(COLUMNS)}"
            raise BadCase(message)
        pairs = [(int(number), segment.strip()) for number, segment in lines[1:]]
        segments = {number: int(segment) for number, segment in pairs if segment}
    except OSError as exc:
        message = f"{path.name} cannot be read"
        raise BadCase(message) from exc
    except ValueError as exc:
        message = f"{path.name}: every line needs an id and a segment, whole numbers: {exc}"
        raise BadCase(message) from exc
    ids = [number for number, _ in pairs]
    if twice := sorted({number for number in ids if ids.count(number) > 1}):
        message = f"{path.name} names id {twice[0]} twice"
        raise BadCase(message)
    if unknown := sorted(set(segments.values()) - set(numbers)):
        message = f"{path.name}: the package has no segment {unknown[0]}"
        raise BadCase(message)
    return Ids(segments, tuple(number for number, segment in pairs if not segment))


def read_external_labels(path: Path, ids: Ids) -> Labels:
    """Read reference labels in the package's numbers; LEFT_OUT marks voxels that are not scored.

    Raises:
        BadCase: the file is unreadable.
    """
    try:
        volume = read_volume(path)
    except NodeError as exc:
        raise BadCase(exc.message) from exc
    known, index = np.unique(volume.array, return_inverse=True)
    table = [
        LEFT_OUT if number in ids.left_out else ids.segments.get(int(number), 0) for number in known
    ]
    array = np.array(table, np.uint8)[index].reshape(volume.array.shape)
    return Labels(np.ascontiguousarray(array), volume.grid)
