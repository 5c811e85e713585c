"""One network session: a patch in, class scores out.

The only module that knows onnxruntime. It does not know which size it runs.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from node.errors import BadPackage
from node.imaging.volume import FloatArray


class Student:
    """A network that is ready to run on this CPU."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Load `path` with `threads` computing threads (0: one per core).

        Raises:
            BadPackage: the file is not a network with one patch in and one map of scores out.
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
        self.patch_zyx = tuple(inputs[0].shape[2:])
        self.n_classes = outputs[0].shape[1]

    def __call__(self, patch: FloatArray) -> FloatArray:
        """Map intensities [Z, Y, X] to scores before any softmax, [C, Z, Y, X], class 0 first."""
        batch = patch[np.newaxis, np.newaxis].astype(np.float32, copy=False)
        scores: FloatArray = self._session.run(None, {self._input: batch})[0][0]
        return scores
