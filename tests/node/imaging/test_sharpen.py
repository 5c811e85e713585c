"""Sharpening: intensities decide where the network's scores are blurred, and nowhere else."""

import numpy as np
import pytest

from node.imaging.assign import Bytes, assign, assign_by_intensity
from node.imaging.resample import nearest
from node.imaging.sharpen import IntensityModel, Sharpen, corrected, fit
from node.imaging.volume import FloatArray

N = 24  # source voxels along each axis; the model's grid has half as many
BRIGHT, DARK = 1, 2


def scan(noise: float = 0.05) -> tuple[FloatArray, Bytes]:
    """Return a source image and its labels: a bright block with dark stripes, air around it."""
    labels = np.zeros((N, N, N), np.uint8)
    labels[4:20, 4:20, 4:20] = BRIGHT
    labels[4:20, 4:20, 5:20:4] = DARK  # one voxel thin: half a voxel of the model's grid
    means = np.array([-1.0, 1.5, 0.5])
    image = means[labels] + noise * np.random.default_rng(1).standard_normal(labels.shape)
    return image.astype(np.float32), labels


def blurred_scores(labels: Bytes, classes: int = 3) -> list[FloatArray]:
    """Return the log-probabilities [K, Y, X] of each row, as blurred as a coarse network's."""
    shares = np.stack([labels == k for k in range(classes)]).astype(float)
    for axis in (1, 2, 3):
        shares = (np.roll(shares, 1, axis) + 2 * shares + np.roll(shares, -1, axis)) / 4
    coarse = shares.reshape(classes, N // 2, 2, N // 2, 2, N // 2, 2).mean((2, 4, 6))
    return list(np.moveaxis(np.log(np.maximum(coarse, 1e-4)).astype(np.float32), 1, 0))


def dice(result: Bytes, labels: Bytes, k: int) -> float:
    return float(
        2 * ((result == k) & (labels == k)).sum() / ((result == k).sum() + (labels == k).sum())
    )


def sharpened(image: FloatArray, labels: Bytes, choice: Sharpen) -> Bytes:
    rows = blurred_scores(labels)
    model, gain = fit(rows, nearest(image, (N // 2,) * 3), (2.0, 2.0, 2.0), choice)
    return assign_by_intensity(rows, corrected(image, gain), model)


@pytest.mark.parametrize("contrast", [1.0, -1.0])
def test_thin_structures_come_back_on_any_contrast(contrast: float) -> None:
    image, labels = scan()
    plain = assign(blurred_scores(labels), N // 2, (N, N, N))
    result = sharpened(image * np.float32(contrast), labels, Sharpen())
    assert dice(plain, labels, DARK) < 0.5
    assert dice(result, labels, DARK) > 0.95
    assert dice(result, labels, BRIGHT) > 0.95


def test_certain_background_is_left_alone_whatever_its_intensity() -> None:
    image, labels = scan()
    image[0:2] = 1.5  # as bright as the structure, far from it
    result = sharpened(image, labels, Sharpen())
    assert not result[0:2].any()


def test_an_intensity_that_no_class_has_is_decided_by_the_network() -> None:
    image, labels = scan()
    image[12, 12, 6:8] = 30.0  # a lesion between two stripes
    result = sharpened(image, labels, Sharpen())
    assert (result[12, 12, 6:8] == BRIGHT).all()


def test_uneven_brightness_is_corrected() -> None:
    image, labels = scan(noise=0.02)
    darkest = image.min()
    gain = np.linspace(0.7, 1.4, N, dtype=np.float32)[:, None, None]
    uneven = darkest + (image - darkest) * gain
    result = sharpened(uneven, labels, Sharpen(bias_mm=6.0))
    without = sharpened(uneven, labels, Sharpen(bias_mm=200.0))
    assert dice(result, labels, DARK) > 0.93
    assert dice(result, labels, DARK) > dice(without, labels, DARK) + 0.02


def test_a_class_that_the_network_does_not_see_gets_no_intensities() -> None:
    image, labels = scan()
    labels[labels == DARK] = BRIGHT
    assert not (sharpened(image, labels, Sharpen()) == DARK).any()


def test_structures_of_one_tissue_share_their_intensities() -> None:
    image, labels = scan()
    labels = np.where((labels == DARK) & (np.indices(labels.shape)[0] < 6), 3, labels)
    labels = labels.astype(np.uint8)  # two slices of the stripes are another structure
    rows = blurred_scores(labels, 4)
    small = nearest(image, (N // 2,) * 3)
    alone, _ = fit(rows, small, (2.0, 2.0, 2.0), Sharpen())
    tied, _ = fit(rows, small, (2.0, 2.0, 2.0), Sharpen(alike=((DARK, 3),)))
    assert not np.allclose(alone.coefficients[DARK], alone.coefficients[3], rtol=1e-3)
    assert np.array_equal(tied.coefficients[DARK], tied.coefficients[3])


def test_a_structure_that_is_absent_gets_no_intensities_of_its_tissue() -> None:
    image, labels = scan()
    rows = blurred_scores(labels, 4)
    model, _ = fit(
        rows, nearest(image, (N // 2,) * 3), (2.0, 2.0, 2.0), Sharpen(alike=((DARK, 3),))
    )
    assert model.coefficients[3].tolist() == [Sharpen().background, 0.0, 0.0]
    assert model.coefficients[DARK, 2] < 0


def test_structures_of_one_intensity_are_told_apart_by_the_network() -> None:
    image, labels = scan()
    image[labels > 0] = 1.0
    plain = assign(blurred_scores(labels), N // 2, (N, N, N))
    result = sharpened(image, labels, Sharpen())
    both = (plain > 0) & (result > 0)
    assert both.sum() > 1000
    assert (result[both] == plain[both]).mean() > 0.9  # the rest is where their spreads differ


def test_nearest_takes_single_voxels() -> None:
    array = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    assert nearest(array, (1, 1, 3)).ravel().tolist() == [1, 3, 5]
    assert nearest(array, (1, 1, 6)).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert nearest(array, (2, 1, 12)).shape == (2, 1, 12)


@pytest.mark.parametrize("source", [(12, 14, 16), (6, 7, 8), (2, 3, 4), (15, 3, 9)])
@pytest.mark.parametrize("seed", range(2))
def test_labels_equal_those_of_the_plain_formula(seed: int, source: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    n_classes, shape = 9, (6, 7, 8)
    centres = rng.uniform(0, 8, (n_classes, 3))
    places = np.moveaxis(np.indices(shape), 0, -1)[None]
    distance = np.linalg.norm(places - centres[:, None, None, None], axis=-1)
    scores = (-3 * distance).astype(np.float32)
    scores[0] = -8
    image = rng.standard_normal(source).astype(np.float32)
    rows = list(np.moveaxis(scores, 1, 0))
    model, _ = fit(rows, nearest(image, shape), (2.0, 2.0, 2.0), Sharpen())
    result = assign_by_intensity(rows, image, model)
    axes = [
        np.clip((np.arange(m) + 0.5) * n / m - 0.5, 0, n - 1)
        for n, m in zip(shape, source, strict=True)
    ]
    expected = np.zeros(source, np.uint8)
    for at in np.ndindex(source):
        low = [int(axis[i]) for axis, i in zip(axes, at, strict=True)]
        total = np.zeros(n_classes)
        for corner in np.ndindex(2, 2, 2):
            weight, place = 1.0, []
            for axis, i, first, step, n in zip(axes, at, low, corner, shape, strict=True):
                weight *= (axis[i] - first) if step else 1 - (axis[i] - first)
                place.append(min(first + step, n - 1))
            total += weight * scores[:, *place]
        likelihoods = [model.log_likelihood(k, image[at].reshape(1))[0] for k in range(n_classes)]
        expected[at] = (model.prior * total + np.array(likelihoods)).argmax()
    assert (result != expected).mean() < 1e-3  # ties in the last bit


def test_a_class_is_found_wherever_intensities_make_up_for_its_score() -> None:
    model = IntensityModel(np.array([[-1.5, 0, 0], [0, 0, 0], [1, 0, 0]], np.float32), -3.0, 0.5)
    scores = np.full((3, 4, 4, 4), -20.0, np.float32)
    scores[1] = 0.0
    scores[2, 1, 1, 2] = -1.9  # half of it is less than the lead of one of the likelihood
    rows = list(scores.swapaxes(0, 1))
    labels = assign_by_intensity(rows, np.zeros((4, 4, 4), np.float32), model)
    assert np.argwhere(labels == 2).tolist() == [[1, 1, 2]]
    assert (labels[labels != 2] == 1).all()
