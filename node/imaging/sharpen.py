"""Decide between classes by the image's own intensities, at the resolution of the source.

A network on a coarse grid locates each structure roughly, and blurs thin ones. Its probabilities
serve as a prior; each class gets a Gaussian of the intensities that it has in this image; and each
source voxel gets the class of the largest posterior. A smooth gain corrects uneven brightness (the
bias field of a coil). That is the mixture model of Ashburner and Friston
(NeuroImage 2005, doi 10.1016/j.neuroimage.2005.02.018) with a network in place of the atlas. It
suits classes that are tissues, on any contrast.

Shapes: K classes (0 is background), Z Y X voxels of the model's grid.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from node.imaging.numbers import Number
from node.imaging.parallel import in_threads
from node.imaging.patches import Scores
from node.imaging.resample import Matrix, along, axis_matrix
from node.imaging.volume import FloatArray

LEAST_VARIANCE = 0.003  # of intensities whose standard deviation over the scan is 1
FEWEST_VOXELS = 8.0  # summed weight below which a class has no intensity model
CERTAIN_BACKGROUND = 0.995  # voxels with more say nothing about any other class
_LEAST_LEAD = np.float32(np.log(CERTAIN_BACKGROUND / (1 - CERTAIN_BACKGROUND)))
GAINS = (0.5, 2.0)  # the limits of the gain
GAIN_PRIOR = 0.02  # weight of a gain of 1, as a share of the largest weight of the tissue nearby

AT_ONCE = 1 << 12  # voxels whose classes fit into a processor's cache

Weights = npt.NDArray[np.float32]  # [K, n]


class Sharpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the intensity model, for intensities whose standard deviation is 1."""

    # weight of the network's log-probabilities; below 1 because neighbouring voxels are not
    # independent, and the prior of each counts the same evidence again
    prior: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    # log-likelihood of any intensity in background, which is of no single tissue
    background: Number = -1.5
    # the smallest log-likelihood of a class: an intensity that no class has decides nothing
    outlier: Number = -3.0
    iterations: Annotated[int, msgspec.Meta(ge=1, le=10)] = 4
    # groups of segments that are one tissue, such as both sides or all fluid: each group shares one
    # Gaussian, so a structure of few voxels has the intensities of the whole tissue
    alike: tuple[tuple[int, ...], ...] = ()
    # standard deviation of the Gaussian that smooths the gain
    bias_mm: Annotated[float, msgspec.Meta(gt=0, le=200)] = 15.0


class Margins(NamedTuple):
    """How far the score of each class may be behind others and still win, [K]."""

    any_class: npt.NDArray[np.float32]  # behind the best class
    background: npt.NDArray[np.float32]  # behind background


@dataclass(frozen=True, eq=False)
class IntensityModel:
    """The log-likelihood of an intensity x in each class: a + b x + c x², within bounds."""

    coefficients: npt.NDArray[np.float32]  # [K, 3]: a, b, c
    outlier: float
    prior: float

    def log_likelihood(self, k: int, x: FloatArray) -> FloatArray:
        """Return the log-likelihood of intensities of any shape in class `k`."""
        a, b, c = self.coefficients[k]
        result: FloatArray = x * c
        result += b
        result *= x
        result += a
        return np.maximum(result, np.float32(self.outlier), out=result)

    def margins(self) -> Margins:
        """Return how far the score of each class may be behind others and still win."""
        a, b, c = self.coefficients.T.astype(float)
        peaks = np.maximum(
            np.where(c < 0, a - b * b / np.where(c < 0, 4 * c, 1.0), a), self.outlier
        )
        # background has one log-likelihood for all intensities, unless it has a Gaussian
        least = self.outlier if b[0] or c[0] else max(float(a[0]), self.outlier)
        behind_background = (peaks - least) / self.prior
        behind_background[0] = 0.0
        behind_any = (peaks - self.outlier) / self.prior
        return Margins(behind_any.astype(np.float32), behind_background.astype(np.float32))


def fit(
    rows: Sequence[Scores],
    image_zyx: FloatArray,
    spacing_mm: tuple[float, float, float],
    choice: Sharpen,
    threads: int = 1,
) -> tuple[IntensityModel, FloatArray]:
    """Estimate the Gaussian of each class from the voxels that the network assigns to it.

    Args:
        rows: scores [K, Y, X] of each row of the model's grid.
        image_zyx: intensities on that grid, of single source voxels: averages would hide noise.
        spacing_mm: distances between the voxels of that grid.
        choice: the settings.
        threads: number of computing threads.

    Returns:
        The model, and the gain [Z, Y, X] for `corrected`, on the model's grid.
    """
    uncertain = in_threads(_uncertain, rows, threads)
    chosen = np.stack([plane for plane, _ in uncertain])
    scores = np.concatenate([of_row for _, of_row in uncertain], 1)
    darkest = float(image_zyx.min())
    above = image_zyx[chosen].astype(np.float32) - np.float32(darkest)
    sigmas = [choice.bias_mm / edge for edge in spacing_mm]
    smooth = [_smoothing(n, sigma) for n, sigma in zip(chosen.shape, sigmas, strict=True)]
    gain = np.ones(chosen.shape, np.float32)
    # the first time, confident voxels count more: the prior is blurred
    weights = _posterior(None, scores, above, threads) ** 2
    model = _estimate(weights, darkest + above, choice, threads)
    scores *= np.float32(choice.prior)
    for _ in range(choice.iterations - 1):
        weights = _posterior(model, scores, darkest + above / gain[chosen], threads)
        gain = _gain(weights, above, model, darkest, chosen, smooth)
        model = _estimate(weights, darkest + above / gain[chosen], choice, threads)
    return model, gain


def _uncertain(scores: Scores) -> tuple[npt.NDArray[np.bool_], Weights]:
    """Mark the voxels [Y, X] of one row that are not surely background; return their scores."""
    scores = np.ascontiguousarray(scores)  # the classes of a voxel may be adjacent in memory
    plane = scores[0] - scores[1:].max(0) < _LEAST_LEAD
    return plane, scores[:, plane]


def corrected(image_zyx: FloatArray, gain_zyx: FloatArray) -> FloatArray:
    """Divide what is above the darkest voxel by the gain, which covers the same box."""
    for axis, n in enumerate(image_zyx.shape):
        if gain_zyx.shape[axis] != n:
            gain_zyx = along(gain_zyx, axis_matrix(gain_zyx.shape[axis], n, 1), axis)
    darkest = image_zyx.min()
    result: FloatArray = image_zyx - darkest
    result /= gain_zyx
    result += darkest
    return result


def _chunks(n: int) -> list[slice]:
    return [slice(first, first + AT_ONCE) for first in range(0, n, AT_ONCE)]


def _posterior(
    model: IntensityModel | None, scores: Weights, x: FloatArray, threads: int
) -> Weights:
    """Return the probability of each class at n voxels, [K, n].

    Args:
        model: the likelihood of intensities; None: the scores alone decide.
        scores: of the network [K, n], times their weight beside a likelihood.
        x: intensities [n].
        threads: number of computing threads.
    """
    result = np.empty_like(scores)

    def compute(at: slice) -> None:
        if model is None:
            part = scores[:, at].copy()
        else:
            powers = np.stack([np.ones_like(x[at]), x[at], x[at] * x[at]])
            part = model.coefficients @ powers
            np.maximum(part, np.float32(model.outlier), out=part)
            part += scores[:, at]
        part -= part.max(0)
        np.exp(part, out=part)
        np.divide(part, part.sum(0), out=result[:, at])

    in_threads(compute, _chunks(len(x)), threads)
    return result


def _estimate(weights: Weights, x: FloatArray, choice: Sharpen, threads: int) -> IntensityModel:
    """Fit weighted Gaussians, one for each class or group of `choice.alike`.

    Background, and classes with too few voxels, get a constant.
    """
    powers = np.stack([np.ones_like(x), x, x * x], 1).astype(float)
    # in float64: the variance is a small difference of large sums
    by_chunk = in_threads(
        lambda at: weights[:, at].astype(float) @ powers[at], _chunks(len(x)), threads
    )
    sums = sum(by_chunk, np.zeros((len(weights), 3)))  # always in the same order
    for group in choice.alike:
        members = [number for number in group if sums[number, 0] >= FEWEST_VOXELS]
        sums[members] = sums[members].sum(0)
    totals = sums[:, 0]
    mean, square = sums[:, 1:].T / np.maximum(totals, 1e-9)
    variance = np.maximum(square - mean**2, LEAST_VARIANCE)
    a = -(mean**2) / (2 * variance) - np.log(variance) / 2
    coefficients = np.stack([a, mean / variance, -1 / (2 * variance)], 1)
    unknown = totals < FEWEST_VOXELS
    unknown[0] = True
    coefficients[unknown] = [choice.background, 0.0, 0.0]
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
    precision = -2 * model.coefficients[:, 2]
    # the mean of a class without a model has no weight
    mean = model.coefficients[:, 1] / np.where(precision > 0, precision, 1) - np.float32(darkest)
    fields = []
    for values in (((precision * mean) @ weights) * above, (precision * mean * mean) @ weights):
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
