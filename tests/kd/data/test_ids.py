"""Reference labels of another numbering: translated, left out, or refused by name."""

from pathlib import Path

import numpy as np
import pytest

import kd
from kd.data.cases import pairs_in
from kd.data.ids import LEFT_OUT, read_external_labels, read_ids
from kd.errors import BadCase
from node.imaging import Grid, Volume
from node.imaging.nifti import write

NUMBERS = (1, 2, 3)
RECIPES = Path(kd.__file__).parent / "recipes"
GRID = Grid((2, 2, 3), np.eye(4)[[2, 1, 0, 3]])


def table(folder: Path, text: str) -> Path:
    path = folder / "ids.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_ids_become_segments_and_some_voxels_are_not_scored(tmp_path: Path) -> None:
    ids = read_ids(table(tmp_path, "id,segment\n17,1\n11101,3\n11102,3\n251,\n"), NUMBERS)
    assert (ids.scored, ids.left_out) == ((1, 3), (251,))
    reference = np.array([17, 11101, 11102, 251, 77, 0] * 2, np.float32).reshape(GRID.shape)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        write(Volume(reference, GRID), tmp_path / folder / "a.nii.gz")
    labels = read_external_labels(tmp_path / "labels" / "a.nii.gz", ids)
    expected = np.array([1, 3, 3, LEFT_OUT, 0, 0] * 2, np.uint8).reshape(GRID.shape)
    assert np.array_equal(labels.array, expected)
    pair = pairs_in(tmp_path / "images", tmp_path / "labels", 4, ids)[0]
    assert np.array_equal(pair.labels.array, expected)


def test_only_a_table_may_exclude_voxels(tmp_path: Path) -> None:
    """Without a table, a label of that number is outside the list, and refused."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        values = np.array([1, LEFT_OUT] * 6, np.float32).reshape(GRID.shape)
        write(Volume(values, GRID), tmp_path / folder / "a.nii.gz")
    with pytest.raises(BadCase, match="label 255 is not in the list"):
        pairs_in(tmp_path / "images", tmp_path / "labels", 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not have the columns id,segment"),
        ("number,segment\n1,1\n", "does not have the columns id,segment"),
        ("id,segment\n1,one\n", "whole numbers"),
        ("id,segment\n1\n", "whole numbers"),
        ("id,segment\n1,1\n1,2\n", "names id 1 twice"),
        ("id,segment\n1,9\n", "no segment 9"),
    ],
)
def test_a_wrong_table_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadCase, match=rf"ids\.csv.*{message}"):
        read_ids(table(tmp_path, text), NUMBERS)


def test_a_structure_in_the_middle_has_no_side() -> None:
    """DLMUSE's vermal lobules (71 to 73) are neither left nor right cerebellar cortex."""
    ids = read_ids(RECIPES / "brain-mr-ids-dlmuse.csv", tuple(range(1, 33)))
    assert {71, 72, 73} <= set(ids.left_out)
    assert [number for number, segment in ids.segments.items() if segment == 11] == [39]


def test_a_missing_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadCase, match=r"ids\.csv cannot be read"):
        read_ids(tmp_path / "ids.csv", NUMBERS)
