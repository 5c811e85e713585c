"""The floors of typed expressions: `make check` compares them, and they never fall."""

from pathlib import Path

from tests.support.typed_share import FLOORS, problems, read_floors, shares_of, write_floors

REPORT = """\
        Name    Anys    Exprs   Coverage
----------------------------------------
     kd.data       1       10     90.00%
 kd.data.ids       3       10     70.00%
      kd.gone      0        0    100.00%
   node.logs       0        5    100.00%
   tests.any       9       10     10.00%
----------------------------------------
       Total      13       35     62.86%
"""


def test_the_modules_of_a_package_count_together() -> None:
    assert shares_of(REPORT) == {"kd.data": 80.0, "node.logs": 100.0}


def test_a_share_below_its_floor_is_reported() -> None:
    assert problems({"kd.data": 80.0}, {"kd.data": 80.0}) == []
    assert len(problems({"kd.data": 79.9, "node.logs": 99.0}, {"kd.data": 80.0})) == 1
    assert len(problems({"kd.added": 10.0}, {})) == 1


def test_floors_only_rise(tmp_path: Path) -> None:
    path = tmp_path / "floors.txt"
    write_floors(path, {"kd.data": 80.9, "node.logs": 97.0}, {"node.logs": 99.0})
    assert read_floors(path) == {"kd.data": 80.0, "node.logs": 99.0}


def test_the_floors_are_those_of_packages() -> None:
    root = Path(__file__).parents[2]
    for name in read_floors(FLOORS):
        path = root / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists() or name == "node", name
