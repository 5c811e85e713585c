"""Run one network on patches: a patch in, class scores out.

`node.engines` selects the library that computes it; the size of the network makes no difference.
"""

from pathlib import Path

import numpy as np

from node import engines
from node.engines import ONNXRUNTIME, cpu
from node.imaging.volume import FloatArray


class Student:
    """A loaded network, ready to run on this CPU."""

    def __init__(
        self, path: Path, threads: int = 0, engine: str = ONNXRUNTIME, compiled: Path | None = None
    ) -> None:
        """Load `path`; the arguments are those of `engines.open_network`.

        Raises:
            BadPackage: the file is not a network with one input patch and one output of scores.
            Misconfigured: the engine cannot run here.
        """
        self._network = engines.open_network(engine, path, threads, compiled)
        self.engine = engine
        self.threads = cpu.threads(threads)
        self.patch_zyx = self._network.input_shape[2:]
        self.n_classes = self._network.output_shape[1]

    def __call__(self, patch: FloatArray) -> FloatArray:
        """Map intensities [Z, Y, X] to scores before any softmax, [C, Z, Y, X], class 0 first.

        The engine chooses the memory layout, and may reuse the memory in the next call.
        """
        batch = patch[np.newaxis, np.newaxis].astype(np.float32, copy=False)
        scores: FloatArray = self._network(batch)[0]
        return scores
