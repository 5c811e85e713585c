"""Compute networks with onnxruntime, the engine that is always installed.

By default the library (1.32) keeps an identifier and a database of events in the user's home and
contacts Microsoft's telemetry server whenever a network is opened. This module switches telemetry
off before the import.
"""

import os
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read while the library is loaded

import onnxruntime as ort

from node.errors import BadPackage
from node.imaging.volume import FloatArray


class OnnxRuntime:
    """One session."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load `path` with `threads` computing threads.

        Raises:
            BadPackage: the file is not a network with one input and one output.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's errors share no public base class
            message = f"{path.name} is not a network that onnxruntime can load"
            raise BadPackage(message) from exc
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            message = f"{path.name} must have one input and one output"
            raise BadPackage(message)
        self._input = inputs[0].name
        self.input_shape: tuple[int, ...] = tuple(inputs[0].shape)
        self.output_shape: tuple[int, ...] = tuple(outputs[0].shape)

    def __call__(self, batch: FloatArray) -> FloatArray:
        """Compute the scores [1, C, Z, Y, X] of a batch [1, 1, Z, Y, X]."""
        scores: FloatArray = self._session.run(None, {self._input: batch})[0]
        return scores
