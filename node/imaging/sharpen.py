"""Decide between classes by the image's own intensities, at the resolution of the source.

A network on a coarse grid knows roughly where each structure lies, and blurs thin ones. Its
probabilities serve as a prior; each class gets a Gaussian of the intensities that it has in this
image; and each source voxel gets the class of the largest posterior. A smooth gain corrects uneven
brightness (the bias field of a coil). That is the mixture model of Ashburner and Friston
(NeuroImage 2005, doi 10.1016/j.neuroimage.2005.02.018) with a network in place of the atlas. It
suits classes that are tissues, on any contrast.

Shapes: K classes (0 is background), Z Y X voxels of the model's grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from node.imaging.patches import Scores
from node.imaging.resample import Matrix, along, axis_matrix
from node.imaging.volume import FloatArray

LEAST_VARIANCE = 0.003  # of intensities whose standard deviation over the scan is 1
FEWEST_VOXELS = 8.0  # summed weight below which a class has no intensity model
CERTAIN_BACKGROUND = 0.995  # voxels with more say nothing about any other class
_LEAST_LEAD = np.float32(np.log(CERTAIN_BACKGROUND / (1 - CERTAIN_BACKGROUND)))
GAINS = (0.5, 2.0)  # the limits of the gain
GAIN_PRIOR = 0.02  # weight of a gain of 1, as a share of the largest weight of the tissue nearby

Weights = npt.NDArray[np.float32]  # [n, K]


class Sharpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the intensity model, for intensities whose standard deviation is 1."""

    # weight of the network's log-probabilities; below 1 because neighbouring voxels are not
    # independent, and the prior of each counts the same evidence again
    prior: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    # log-likelihood of any intensity in background, which is of no single tissue
    background: float = -1.5
    # the smallest log-likelihood of a class: an intensity that no class has decides nothing
    outlier: float = -3.0
    iterations: Annotated[int, msgspec.Meta(ge=1, le=10)] = 4
    # standard deviation of the Gaussian that smooths the gain
    bias_mm: Annotated[float, msgspec.Meta(gt=0, le=200)] = 15.0


@dataclass(frozen=True, eq=False)
class IntensityModel:
    """The log-likelihood of an intensity x in each class: a + b x + c x², within bounds."""

    coefficients: npt.NDArray[np.float32]  # [3, K]: a, b, c
    outlier: float
    prior: float

    def log_likelihood(self, x: FloatArray) -> Weights:
        """Return the log-likelihood [n, K] of intensities [n]."""
        powers = np.stack([np.ones_like(x), x, x * x], 1)
        return np.maximum(powers @ self.coefficients, np.float32(self.outlier))

    def log_posterior(self, scores: Weights, x: FloatArray) -> Weights:
        """Return log-posteriors [n, K], up to a constant of each voxel, of scores [n, K]."""
        result: Weights = np.float32(self.prior) * scores + self.log_likelihood(x)
        return result

    @property
    def certain_margin(self) -> float:
        """How far background's score must lead for no intensity to make up for it."""
        a, b, c = self.coefficients[:, 1:].astype(float)
        peaks = np.where(c < 0, a - b * b / np.where(c < 0, 4 * c, 1.0), a)
        return max(0.0, float(peaks.max() - self.coefficients[0, 0])) / self.prior


def fit(
    rows: Sequence[Scores],
    image_zyx: FloatArray,
    spacing_mm: tuple[float, float, float],
    choice: Sharpen,
) -> tuple[IntensityModel, FloatArray]:
    """Estimate the Gaussian of each class from the voxels that the network assigns to it.

    Args:
        rows: scores [K, Y, X] of each row of the model's grid.
        image_zyx: intensities on that grid, of single source voxels: averages would hide noise.
        spacing_mm: distances between the voxels of that grid.
        choice: the settings.

    Returns:
        The model, and the gain [Z, Y, X] for `corrected`, on the model's grid.
    """
    chosen = np.stack([scores[0] - scores[1:].max(0) < _LEAST_LEAD for scores in rows])
    scores = np.concatenate([row[:, plane].T for row, plane in zip(rows, chosen, strict=True)])
    darkest = float(image_zyx.min())
    above = image_zyx[chosen].astype(np.float32) - np.float32(darkest)
    sigmas = [choice.bias_mm / edge for edge in spacing_mm]
    smooth = [_smoothing(n, sigma) for n, sigma in zip(chosen.shape, sigmas, strict=True)]
    gain = np.ones(chosen.shape, np.float32)
    # the first time, confident voxels count more: the prior is blurred
    model = _estimate(_softmax(scores) ** 2, darkest + above, choice)
    for _ in range(choice.iterations - 1):
        weights = _softmax(model.log_posterior(scores, darkest + above / gain[chosen]))
        gain = _gain(weights, above, model, darkest, chosen, smooth)
        model = _estimate(weights, darkest + above / gain[chosen], choice)
    return model, gain


def corrected(image_zyx: FloatArray, gain_zyx: FloatArray) -> FloatArray:
    """Divide what is above the darkest voxel by the gain, which covers the same box."""
    for axis, n in enumerate(image_zyx.shape):
        if gain_zyx.shape[axis] != n:
            gain_zyx = along(gain_zyx, axis_matrix(gain_zyx.shape[axis], n, 1), axis)
    darkest = image_zyx.min()
    result: FloatArray = darkest + (image_zyx - darkest) / gain_zyx
    return result


def _softmax(scores: Weights) -> Weights:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    result: Weights = powers / powers.sum(1, keepdims=True)
    return result


def _estimate(weights: Weights, x: FloatArray, choice: Sharpen) -> IntensityModel:
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
    return IntensityModel(coefficients.astype(np.float32), choice.outlier, choice.prior)


def _gain(
    weights: Weights,
    above: FloatArray,
    model: IntensityModel,
    darkest: float,
    chosen: npt.NDArray[np.bool_],
    smooth: Sequence[Matrix],
) -> FloatArray:
    """Return how many times brighter than the means of their classes the voxels nearby are.

    It is the weighted least squares of intensity = gain times mean, both above `darkest`, with the
    precisions of the classes and a Gaussian neighbourhood as weights.
    """
    precision = -2 * model.coefficients[2]
    # the mean of a class without a model has no weight
    mean = model.coefficients[1] / np.where(precision > 0, precision, 1) - np.float32(darkest)
    fields = []
    for values in ((weights @ (precision * mean)) * above, weights @ (precision * mean * mean)):
        field = np.zeros(chosen.shape, np.float32)
        field[chosen] = values
        for axis, matrix in enumerate(smooth):
            field = along(field, matrix, axis)
        fields.append(field)
    prior = np.float32(GAIN_PRIOR * fields[1].max())
    if prior == 0:  # no class has a model
        return np.ones(chosen.shape, np.float32)
    return np.clip((fields[0] + prior) / (fields[1] + prior), *GAINS)


def _smoothing(n: int, sigma: float) -> Matrix:
    """Return the matrix [n, n] that smooths an axis by a Gaussian of `sigma` voxels."""
    at = np.arange(n)
    matrix = np.exp(-0.5 * ((at[:, None] - at[None]) / sigma) ** 2)
    result: Matrix = (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)
    return result
