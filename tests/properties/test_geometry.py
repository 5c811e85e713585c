"""However slices are stored and turned, a voxel keeps its place in the patient."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from node.imaging import Labels
from node.imaging.orient import orient
from node.seg import Encoding, to_bytes, verify
from node.series import read, read_headers, survey
from tests.support.phantoms import Phantom, make, package, rotation
from tests.support.segs import encode_again

ORDERS = [
    (axes, signs)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
FEW = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def directions(axes: tuple[int, ...], signs: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions of a row and a column for one of the 48 orders."""
    basis = np.eye(3)
    return signs[0] * basis[axes[0]], signs[1] * basis[axes[1]]


def world(array: np.ndarray, affine: np.ndarray) -> set[tuple[float, ...]]:
    """Return value and place, to 0.01 mm, of every voxel of a small array."""
    index = np.indices(array.shape).reshape(3, -1)
    points = affine[:3, :3] @ index + affine[:3, 3:]
    return {
        (float(value), *(round(float(c), 2) + 0.0 for c in point))
        for value, point in zip(array.ravel(), points.T, strict=True)
    }


@pytest.mark.parametrize(("axes", "signs"), ORDERS)
def test_each_of_the_48_orders_keeps_its_places(
    tmp_path: Path, axes: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    # the third sign is the direction in which the instances are numbered
    phantom = Phantom(
        directions=directions(axes, signs),
        shape=(5, 7, 6),
        spacing_mm=(3.0, 1.0, 2.0),
        reverse=signs[2] < 0,
        shuffle=False,
    )
    scan = make(tmp_path, phantom)
    series = read(scan.paths)
    assert series.volume.grid.is_close(scan.grid, 1e-6)
    turned, turn = orient(series.volume)
    assert (np.diag(turned.grid.affine[2::-1, :3]) > 0).all()
    assert world(turned.array, turned.grid.affine) == world(scan.values, scan.affine)
    np.testing.assert_array_equal(turn.undo(turned.array), scan.values)
    labels = Labels(scan.labels, series.survey.grid)
    seg = encode_again(series, labels, package(tmp_path))
    verify(to_bytes(seg), series, labels)


angles = st.floats(-180, 180, allow_nan=False).map(lambda a: round(a, 3))
spacings = st.floats(0.3, 8).map(lambda s: round(s, 4))
origins = st.floats(-500, 500).map(lambda o: round(o, 3))


@pytest.mark.slow
@FEW
@given(
    turn=st.tuples(angles, angles, angles),
    spacing=st.tuples(spacings, spacings, spacings),
    origin=st.tuples(origins, origins, origins),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["binary", "labelmap"]),
    omit=st.booleans(),
)
def test_any_obliquity_and_slice_order_keeps_its_places(
    tmp_path_factory: pytest.TempPathFactory,
    turn: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    seed: int,
    kind: str,
    omit: bool,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    rotated = rotation(*turn)
    phantom = Phantom(
        directions=(rotated[:, 0], rotated[:, 1]),
        spacing_mm=spacing,
        origin_mm=origin,
        shape=(5, 7, 6),
        seed=seed,
    )
    scan = make(folder, phantom)
    series = read(scan.paths)
    assert series.volume.grid.is_close(scan.grid, 1e-3)
    np.testing.assert_array_equal(series.volume.array, scan.values)
    turned, back = orient(series.volume)
    np.testing.assert_array_equal(back.undo(turned.array), scan.values)
    labels = Labels(scan.labels, series.survey.grid)
    encoding = Encoding(kind="labelmap" if kind == "labelmap" else "binary", omit_empty_frames=omit)
    seg = encode_again(series, labels, package(folder), encoding)
    verify(to_bytes(seg), series, labels)


@pytest.mark.slow
@FEW
@given(st.permutations(range(12)))
def test_any_order_of_headers_gives_the_same_survey(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    scan = make(tmp_path_factory.mktemp("series"), Phantom(plane="oblique"))
    headers = [header for path in scan.paths for header in read_headers(path)]
    surveyed = survey([headers[i] for i in order])
    assert [h.sop_instance_uid for h in surveyed.headers] == scan.uids
    assert surveyed.grid.is_close(scan.grid, 1e-6)


def jittered(dataset: Dataset, z: int) -> None:
    """Turn and shift a slice by less than the tolerances, as rounding in a scanner does."""
    turn = rotation(0, 0, np.rad2deg(2e-4 * ((7 * z) % 5 - 2)))
    cosines = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3) @ turn.T
    shift = (0.05 * ((3 * z) % 4 - 1.5), 0.0, 0.03 * ((5 * z) % 3 - 1))
    place = np.array(dataset.ImagePositionPatient, float) + shift
    dataset.ImageOrientationPatient = [f"{value:.12f}" for value in cosines.ravel()]
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in place]


def test_jitter_below_the_tolerances_is_placed_the_same_whatever_the_uids(tmp_path: Path) -> None:
    places = []
    for seed in range(6):  # another seed is another order of the UIDs
        phantom = Phantom(shape=(12, 64, 64), change=jittered, seed=seed)
        scan = make(tmp_path / str(seed), phantom)
        series = read(scan.paths)
        labels = Labels(scan.labels, series.survey.grid)
        seg = encode_again(series, labels, package(tmp_path))
        verify(to_bytes(seg), series, labels)
        places.append(series.survey.grid)
    assert all(grid.is_close(places[0], 1e-9) for grid in places)
