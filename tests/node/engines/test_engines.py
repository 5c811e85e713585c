"""Every engine gives the same scores; a missing or broken library is reported."""

import hashlib
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from node import engines
from node.engines import ONNXRUNTIME, OPENVINO, OPENVINO_BF16, cpu
from node.errors import BadPackage, Misconfigured
from node.package import Package
from node.pipeline import open_student, reference_dice
from node.student import Student
from tests.support.measuring import ENGINES_HERE
from tests.support.packages import make_tiny_package

needs_openvino = pytest.mark.skipif(
    OPENVINO not in engines.versions(), reason="openvino is not installed"
)
# bfloat16 keeps 8 bits: the intensities of the phantom, up to 900, are rounded to steps of 4
TOLERANCE = {OPENVINO_BF16: 2e-2}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return make_tiny_package(tmp_path / "models")


@pytest.fixture
def patch() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 900, (16, 16, 16)).astype(np.float32)


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_every_engine_gives_the_scores_of_onnxruntime(
    package: Package, patch: np.ndarray, engine: str
) -> None:
    tested, reference = (
        open_student(package, "small", 1, name) for name in (engine, "onnxruntime")
    )
    assert tested.engine == engine
    assert (tested.patch_zyx, tested.n_classes) == (reference.patch_zyx, reference.n_classes)
    expected = reference(patch)
    tolerance = TOLERANCE.get(engine, 1e-5) * np.abs(expected).max()
    assert np.abs(tested(patch) - expected).max() <= tolerance


@needs_openvino
def test_openvino_keeps_the_classes_of_a_voxel_adjacent(
    package: Package, patch: np.ndarray
) -> None:
    """A transposition in one thread took most of the time of a network with many classes."""
    scores = open_student(package, "small", 1, OPENVINO)(patch)
    assert np.moveaxis(scores, 0, -1).flags.c_contiguous


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_every_engine_reproduces_the_reference_case(package: Package, engine: str) -> None:
    assert reference_dice(package, "small", 1, engine) == 1.0


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_file_that_is_no_network_is_refused(tmp_path: Path, engine: str) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a network")
    with pytest.raises(BadPackage, match=r"x\.onnx is not a network that"):
        Student(tmp_path / "x.onnx", 1, engine)


def test_a_missing_library_is_reported_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from node import engines\n"
        "assert list(engines.versions()) == ['onnxruntime']\n"
        "engines.import_library('openvino')\n"
        "engines.require('onnxruntime')\n"
        "engines.require('openvino')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Misconfigured: engine openvino: the package openvino is not installed" in done.stderr
    assert "pip install 'segnode[fast]'" in done.stderr


def test_a_broken_library_does_not_stop_the_other_engines(package: Package, tmp_path: Path) -> None:
    (tmp_path / "openvino").mkdir()
    (tmp_path / "openvino/__init__.py").write_text("raise ImportError('libtbb.so is missing')")
    (tmp_path / "openvino-9.9.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: openvino\nVersion: 9.9\n"
    (tmp_path / "openvino-9.9.dist-info/METADATA").write_text(metadata)
    code = (
        "from pathlib import Path\n"
        "from node import engines\n"
        "assert engines.versions()['openvino'] == '9.9'\n"
        "engines.import_library('openvino')\n"
        f"file = Path({str(package.network_file('small'))!r})\n"
        "engines.open_network('onnxruntime', file, 1)\n"
        "engines.open_network('openvino', file, 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Misconfigured: engine openvino: openvino 9.9 cannot be loaded" in done.stderr


@needs_openvino
@pytest.mark.skipif(cpu.has_bf16(), reason="this CPU computes in bfloat16")
def test_a_precision_that_the_cpu_lacks_is_refused(package: Package) -> None:
    assert OPENVINO_BF16 not in engines.versions()
    with pytest.raises(Misconfigured, match="does not compute in bfloat16"):
        open_student(package, "small", 1, OPENVINO_BF16)


@needs_openvino
@pytest.mark.skipif(cpu.has_bf16(), reason="this CPU computes in bfloat16")
def test_the_library_is_also_asked_for_the_precision(package: Package) -> None:
    from node.engines.open_vino import OpenVino  # noqa: PLC0415  optional

    with pytest.raises(Misconfigured, match="bf16"):
        OpenVino(package.network_file("small"), 1, "bf16", None)


@needs_openvino
def test_a_compiled_network_is_kept_and_reused(
    package: Package, patch: np.ndarray, tmp_path: Path
) -> None:
    first = open_student(package, "small", 1, OPENVINO, tmp_path / "kept")
    (compiled,) = (tmp_path / "kept").iterdir()
    written = compiled.stat().st_mtime_ns
    package.network_file("small").write_bytes(b"")  # a second compilation would fail
    second = open_student(package, "small", 1, OPENVINO, tmp_path / "kept")
    np.testing.assert_array_equal(first(patch), second(patch))
    assert compiled.stat().st_mtime_ns == written


@needs_openvino
@pytest.mark.parametrize("damage", ["weights", "cut", "empty"])
def test_a_damaged_compiled_network_is_compiled_again(
    package: Package, patch: np.ndarray, tmp_path: Path, damage: str
) -> None:
    expected = open_student(package, "small", 1, OPENVINO, tmp_path / "kept")(patch)
    (compiled,) = (tmp_path / "kept").iterdir()
    whole = compiled.read_bytes()
    altered = whole[:32] + compiled_with_other_weights(package, tmp_path)
    compiled.write_bytes(
        {"weights": altered, "cut": whole[: len(whole) // 2], "empty": b""}[damage]
    )
    scores = open_student(package, "small", 1, OPENVINO, tmp_path / "kept")(patch)
    np.testing.assert_array_equal(scores, expected)
    repaired = compiled.read_bytes()
    assert hashlib.sha256(repaired[32:]).digest() == repaired[:32]


def compiled_with_other_weights(package: Package, folder: Path) -> bytes:
    """Return a compiled network that differs in its weights only: OpenVINO would accept it."""
    model = onnx.load(package.network_file("small"))
    for constant in model.graph.initializer:
        other = numpy_helper.to_array(constant) * np.float32(0.5)
        constant.CopyFrom(numpy_helper.from_array(other, constant.name))
    onnx.save(model, folder / "other.onnx")
    Student(folder / "other.onnx", 1, OPENVINO, folder / "other" / "x")
    (file,) = (folder / "other").iterdir()
    return file.read_bytes()[32:]


@needs_openvino
def test_another_package_or_size_has_another_compiled_network(
    package: Package, tmp_path: Path
) -> None:
    for size in ("small", "teacher"):
        open_student(package, size, 1, OPENVINO, tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == 2


@needs_openvino
def test_a_compiled_network_of_an_earlier_library_is_deleted(
    package: Package, tmp_path: Path
) -> None:
    open_student(package, "small", 1, OPENVINO, tmp_path / "kept")
    (compiled,) = (tmp_path / "kept").iterdir()
    family, _, _ = compiled.name.rpartition("-")
    old = compiled.with_name(f"{family}-0123456789abcdef.openvino")
    compiled.rename(old)
    open_student(package, "small", 1, OPENVINO, tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == [compiled]


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_no_engine_sends_telemetry(package: Package, tmp_path: Path, engine: str) -> None:
    """By default both libraries contact a telemetry server and write into the home.

    onnxruntime does that below Python, so the test looks for its files in the home.
    """
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "events = []\n"
        "def record(event, _):\n"
        "    if event.startswith('socket.') or event == 'subprocess.Popen': events.append(event)\n"
        "sys.addaudithook(record)\n"
        "from node.student import Student\n"
        f"Student(Path({str(package.network_file('small'))!r}), 1, {engine!r})\n"
        "assert not sys.modules.get('openvino_telemetry')\n"
        "time.sleep(1)\n"
        "assert not events, events"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HOME": str(home), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(home.iterdir())


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/pod/node\n", {"pod/node/cpu.max": "max 100000"}, 9),
        ("0::/pod/node\n", {"pod/node/cpu.max": "200000 100000"}, 2),
        ("0::/pod/node\n", {"pod/cpu.max": "150000 100000", "pod/node/cpu.max": "max 100000"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000"}, 1),
        (
            "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n",  # version 1, in a container
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("", {}, 9),
    ],
)
def test_the_quota_of_a_container_limits_the_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    groups: str,
    files: dict[str, str],
    expected: int,
) -> None:
    (tmp_path / "groups").write_text(groups, encoding="utf-8")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n", encoding="ascii")
    monkeypatch.setattr(cpu, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cpu, "GROUP_FILES", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(9)))
    assert cpu.threads(0) == expected
    assert cpu.threads(5) == 5


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_every_engine_gets_the_number_of_threads_and_never_0(
    package: Package, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """0 is the number of the host's cores to the libraries."""
    monkeypatch.setattr(cpu, "threads", lambda _: 3)
    is_onnxruntime = engine == ONNXRUNTIME
    module = importlib.import_module(
        f"node.engines.{'onnx_runtime' if is_onnxruntime else 'open_vino'}"
    )
    name = "OnnxRuntime" if is_onnxruntime else "OpenVino"
    opened: list[int] = []
    real = getattr(module, name)

    def counting(path: Path, threads: int, *rest: Any) -> Any:
        opened.append(threads)
        return real(path, threads, *rest)

    monkeypatch.setattr(module, name, counting)
    open_student(package, "small", 0, engine)
    assert opened == [3]
