"""Compute networks with OpenVINO, and keep their compiled form on disk. Optional: extra `fast`.

Two features of the library are not used. Its converter contacts Intel's telemetry server at import,
so it is never imported. Its cache accepts a compiled file with altered weights without an error
(the scores differed by 0.3), so each compiled network is kept with its digest here, and compiled
again where the digest differs.
"""

import hashlib
import io
import sys
from pathlib import Path

# before the library's import, which looks for both and works without them
for _unwanted in ("openvino.tools.ovc", "openvino_telemetry"):
    sys.modules.setdefault(_unwanted, None)  # type: ignore[arg-type]

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

from node import durable  # noqa: E402
from node.engines import cpu  # noqa: E402
from node.errors import BadPackage, Misconfigured  # noqa: E402
from node.imaging.volume import FloatArray  # noqa: E402

DEVICE = "CPU"
FORM = "classes last"  # the change to a network before it is compiled
DIGEST_BYTES = hashlib.sha256().digest_size


class OpenVino:
    """One compiled network."""

    def __init__(self, path: Path, threads: int, precision: str, compiled: Path | None) -> None:
        """Load `path`, or its form that an earlier process compiled.

        Args:
            path: the ONNX file.
            threads: computing threads.
            precision: `f32`, or `bf16` where the CPU has it.
            compiled: path of the compiled form, without its ending; None: it is not kept.

        Raises:
            BadPackage: the file is not a network with one input and one output.
            Misconfigured: the CPU does not compute in this precision.
        """
        core = ov.Core()
        if precision.upper() not in (
            "F32",
            *core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"),
        ):
            message = f"this CPU does not compute in {precision}"
            raise Misconfigured(message, advice="Set model.engine to auto or openvino.")
        settings = {
            "INFERENCE_PRECISION_HINT": precision,  # default: bf16 where the CPU has it
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # other processes use the cores too
        }
        place = None if compiled is None else _place(compiled, precision, threads)
        model = None if place is None else _restored(core, place, settings)
        if model is None:
            model = _compiled(core, path, settings)
            if place is not None:
                _keep(model, place)
        if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.output(0).shape) != 5:
            message = f"{path.name} must have one input and one output"
            raise BadPackage(message)
        self.input_shape: tuple[int, ...] = tuple(model.input(0).shape)
        n, z, y, x, c = model.output(0).shape
        self.output_shape: tuple[int, ...] = (n, c, z, y, x)
        self._request = model.create_infer_request()
        # one buffer of ours: the library's memory is freed with the request, and a copy of each
        # patch takes as long as half a network
        self._scores = np.empty((n, z, y, x, c), np.float32)
        self._output = ov.Tensor(self._scores, shared_memory=True)
        self._request.set_output_tensor(self._output)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Compute the scores [1, C, Z, Y, X] of a batch [1, 1, Z, Y, X]; valid until the next call.

        In memory the classes of a voxel are adjacent, as the library computes them.
        """
        self._request.infer([batch], share_inputs=True, share_outputs=True)
        scores: FloatArray = np.moveaxis(self._scores, -1, 1)
        return scores


def _compiled(core: "ov.Core", path: Path, settings: dict[str, object]) -> "ov.CompiledModel":
    try:
        # as bytes: for a path the library tries each of its readers in turn
        model = core.read_model(path.read_bytes())
        return core.compile_model(classes_last(model), DEVICE, settings)
    except RuntimeError as exc:
        message = f"{path.name} is not a network that openvino can load"
        raise BadPackage(message) from exc


def classes_last(model: "ov.Model") -> "ov.Model":
    """Return the network with scores [1, Z, Y, X, C].

    The library computes in this order and would transpose the scores in one thread at the end. With
    33 classes that took 0.5 of 0.6 s for a whole head in bfloat16.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.output(0).shape) != 5:
        return model  # refused when its shapes are checked
    prepared = PrePostProcessor(model)
    prepared.output().model().set_layout(ov.Layout("NCDHW"))
    prepared.output().tensor().set_layout(ov.Layout("NDHWC"))
    return prepared.build()


def _place(compiled: Path, precision: str, threads: int) -> Path:
    """Return the file of the network compiled by this version for this CPU."""
    key = f"{ov.__version__} {cpu.name()} {FORM}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return compiled.with_name(f"{compiled.name}-{precision}-{threads}-{digest}.openvino")


def _restored(
    core: "ov.Core", path: Path, settings: dict[str, object]
) -> "ov.CompiledModel | None":
    """Return the kept network, or None where it is missing or damaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, network = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(network).digest() != digest:
        return None
    try:
        return core.import_model(network, DEVICE, settings)
    except RuntimeError:
        return None  # the library refuses it: compile again


def _keep(model: "ov.CompiledModel", path: Path) -> None:
    """Write a compiled network; delete those of other library versions and CPUs."""
    stream = io.BytesIO()
    model.export_model(stream)
    network = stream.getvalue()
    durable.make_folder(path.parent)
    durable.write(path, hashlib.sha256(network).digest() + network)
    family, _, _ = path.name.rpartition("-")
    for old in path.parent.glob(f"{family}-*.openvino"):
        if old != path:
            old.unlink(missing_ok=True)
