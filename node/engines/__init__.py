"""The engines that compute a network: one module per library, and a list of those available here.

Promises: every engine takes the same batch and gives the same scores, up to its precision.
Leaves to `node.measured`: the fastest engine, and whether it reproduces a reference case.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Protocol

from node.engines import cpu
from node.errors import Misconfigured
from node.imaging.volume import FloatArray

ONNXRUNTIME, OPENVINO, OPENVINO_BF16 = "onnxruntime", "openvino", "openvino-bf16"
ENGINES = (ONNXRUNTIME, OPENVINO, OPENVINO_BF16)
PRECISIONS = {OPENVINO: "f32", OPENVINO_BF16: "bf16"}


class Network(Protocol):
    """A loaded network: batches [1, 1, Z, Y, X] in, scores [1, C, Z, Y, X] out."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Compute the scores of one batch; they are valid until the next call."""


def versions() -> dict[str, str]:
    """Return the engines that can run here, with the version of their library."""
    engines = {ONNXRUNTIME: importlib.metadata.version("onnxruntime")}
    version = _openvino()
    if version:
        engines[OPENVINO] = version
        if cpu.has_bf16():
            engines[OPENVINO_BF16] = version
    return engines


def _openvino() -> str:
    """Return the version of OpenVINO that is installed, without importing it; empty: none is."""
    if importlib.util.find_spec("openvino") is None:
        return ""
    try:
        return importlib.metadata.version("openvino")
    except importlib.metadata.PackageNotFoundError:
        return ""  # a folder with this name, not the library


def require(engine: str) -> None:
    """Refuse an engine that cannot run here.

    Raises:
        Misconfigured: its library is not installed, or this CPU lacks what it needs.
    """
    available = versions()
    if engine in available:
        return
    if engine == OPENVINO_BF16 and OPENVINO in available:
        message = f"engine {engine}: this CPU does not compute in bfloat16"
        raise Misconfigured(message, advice="Set model.engine to auto or openvino.")
    message = f"engine {engine}: the package openvino is not installed"
    advice = "Install it with `pip install 'segnode[fast]'`, or set model.engine to auto."
    raise Misconfigured(message, advice=advice)


def open_network(engine: str, path: Path, threads: int, compiled: Path | None = None) -> Network:
    """Load the network in `path` with `threads` computing threads (0: as many as CPUs).

    Args:
        engine: one of `ENGINES`.
        path: the ONNX file.
        threads: computing threads.
        compiled: path for the compiled form of exactly this file, without its ending; None: it is
            not kept. The caller must give another file another path.

    Raises:
        BadPackage: the engine cannot load it.
        Misconfigured: the engine cannot run here.
    """
    threads = cpu.threads(threads)  # 0 means the host's cores to the libraries
    if engine == ONNXRUNTIME:
        from node.engines.onnx_runtime import OnnxRuntime  # noqa: PLC0415  as below

        return OnnxRuntime(path, threads)
    require(engine)
    try:  # imported late: it takes 0.3 s and 40 MB, and is optional
        from node.engines.open_vino import OpenVino  # noqa: PLC0415
    except ImportError as exc:
        message = f"engine {engine}: openvino {versions()[engine]} cannot be loaded"
        advice = "Install it again with `pip install 'segnode[fast]'`."
        raise Misconfigured(message, advice=advice) from exc
    return OpenVino(path, threads, PRECISIONS[engine], compiled)


def import_library(engine: str) -> None:
    """Import the library of `engine`, so that no study waits for it; do nothing if it is missing.

    `open_network` reports a library that cannot be loaded; the other engines still work.
    """
    if engine == ONNXRUNTIME:
        importlib.import_module("node.engines.onnx_runtime")
    elif engine in PRECISIONS and engine in versions():
        with contextlib.suppress(ImportError):
            importlib.import_module("node.engines.open_vino")
