"""Decide between classes by the image's own intensities, at the resolution of the source.

A network on a coarse grid knows roughly where each structure lies, and blurs thin ones. Its
probabilities serve as a prior; each class gets a Gaussian of the intensities that it has in this
image; and each source voxel gets the class of the largest posterior. That is the mixture model of
Ashburner and Friston (NeuroImage 2005, doi 10.1016/j.neuroimage.2005.02.018) with a network in
place of the atlas. It suits classes that are tissues, on any contrast.

Shapes: K classes (0 is background), Z Y X voxels of the model's grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from node.imaging.patches import Scores
from node.imaging.volume import FloatArray

LEAST_VARIANCE = 0.003  # of intensities whose standard deviation over the scan is 1
FEWEST_VOXELS = 8.0  # summed weight below which a class has no intensity model
CERTAIN_BACKGROUND = 0.995  # voxels with more say nothing about any other class

Weights = npt.NDArray[np.float32]  # [n, K]


class Sharpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bounds of the log-likelihoods, for intensities whose standard deviation is 1."""

    # log-likelihood of any intensity in background, which is of no single tissue
    background: float = -1.5
    # the smallest log-likelihood of a class: an intensity that no class has decides nothing
    outlier: float = -3.0
    iterations: Annotated[int, msgspec.Meta(ge=1, le=5)] = 2


@dataclass(frozen=True, eq=False)
class IntensityModel:
    """The log-likelihood of an intensity x in each class: a + b x + c x², within bounds."""

    coefficients: npt.NDArray[np.float32]  # [3, K]: a, b, c
    outlier: float

    def log_likelihood(self, x: FloatArray) -> Weights:
        """Return the log-likelihood [n, K] of intensities [n]."""
        powers = np.stack([np.ones_like(x), x, x * x], 1)
        return np.maximum(powers @ self.coefficients, np.float32(self.outlier))

    def log_posterior(self, scores: Weights, x: FloatArray) -> Weights:
        """Return log-posteriors [n, K], up to a constant of each voxel, of scores [n, K]."""
        result: Weights = scores + self.log_likelihood(x)
        return result

    @property
    def certain_margin(self) -> float:
        """How far background's score must lead for no intensity to make up for it."""
        a, b, c = self.coefficients[:, 1:].astype(float)
        peaks = np.where(c < 0, a - b * b / np.where(c < 0, 4 * c, 1.0), a)
        return max(0.0, float(peaks.max() - self.coefficients[0, 0]))


def fit(rows: Sequence[Scores], image_zyx: FloatArray, choice: Sharpen) -> IntensityModel:
    """Estimate the Gaussian of each class from the voxels that the network assigns to it.

    Args:
        rows: scores [K, Y, X] of each row of the model's grid.
        image_zyx: intensities on that grid, of single source voxels: averages would hide noise.
        choice: the weights.
    """
    scores, x = _of_interest(rows, image_zyx)
    n_classes = rows[0].shape[0]
    # the first time, confident voxels count more: the prior is blurred
    weights = _softmax(scores) ** 2
    model = _estimate(weights, x, n_classes, choice)
    for _ in range(choice.iterations - 1):
        model = _estimate(_softmax(model.log_posterior(scores, x)), x, n_classes, choice)
    return model


def _of_interest(rows: Sequence[Scores], image_zyx: FloatArray) -> tuple[Weights, FloatArray]:
    """Return the scores [n, K] and intensities [n] of all voxels but certain background."""
    found_scores, found_x = [], []
    least_lead = np.float32(np.log(CERTAIN_BACKGROUND / (1 - CERTAIN_BACKGROUND)))
    for scores, plane in zip(rows, image_zyx, strict=True):
        chosen = scores[0] - scores[1:].max(0) < least_lead
        found_scores.append(scores[:, chosen].T)
        found_x.append(plane[chosen])
    return np.concatenate(found_scores), np.concatenate(found_x).astype(np.float32)


def _softmax(scores: Weights) -> Weights:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    result: Weights = powers / powers.sum(1, keepdims=True)
    return result


def _estimate(weights: Weights, x: FloatArray, n_classes: int, choice: Sharpen) -> IntensityModel:
    """Fit weighted Gaussians; background, and classes with too few voxels, get a constant."""
    totals = weights.sum(0, dtype=float)
    safe = np.maximum(totals, 1e-9)
    mean = (x @ weights) / safe
    variance = np.maximum((x * x) @ weights / safe - mean**2, LEAST_VARIANCE)
    a = -(mean**2) / (2 * variance) - np.log(variance) / 2
    coefficients = np.stack([a, mean / variance, -1 / (2 * variance)])
    unknown = totals < FEWEST_VOXELS
    unknown[0] = True
    coefficients[:, unknown] = np.array([[choice.background], [0.0], [0.0]])
    assert coefficients.shape == (3, n_classes)
    return IntensityModel(coefficients.astype(np.float32), choice.outlier)
