"""The preview: the same for every orientation, with true proportions and the right sides."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from node.caveats import NOTHING_DETECTED, Caveat, CaveatCode
from node.imaging import Grid, Labels, Volume
from node.preview import BACKGROUND, INK, LINE_PX, MARGIN_PX, PANEL_PX, preview
from node.volumes import rounded
from tests.support.phantoms import chiral, package

COLOURS = {1: (220, 60, 40), 2: (220, 120, 40)}


def canonical() -> tuple[Volume, Labels]:
    shape, spacing = (20, 40, 30), (4.0, 1.0, 2.0)
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing
    affine[:, 3] = (-30, -20, 10, 1)
    labels = chiral(shape)
    grid = Grid(shape, affine)
    return Volume(100 + 50 * labels.astype(np.float32), grid), Labels(labels, grid)


def render(volume: Volume, labels: Labels, path: Path) -> np.ndarray:
    preview(volume, labels, package(path.parent).manifest.segments, path)
    with Image.open(path) as picture:
        return np.asarray(picture)


def outline(picture: np.ndarray, number: int) -> np.ndarray:
    """Return where the outline of a segment is, in the three planes only."""
    planes = picture[: PANEL_PX + 2 * MARGIN_PX]
    return np.argwhere((planes == COLOURS[number]).all(axis=2))


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_every_orientation_gives_the_same_picture(
    tmp_path: Path, axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    volume, labels = canonical()
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    steps = tuple(slice(None, None, f) for f in flips)
    for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
        turn[old, new] = flip
        turn[old, 3] = 0 if flip > 0 else volume.grid.shape[old] - 1
    values, numbers = volume.array.transpose(axes)[steps], labels.array.transpose(axes)[steps]
    shape = values.shape
    grid = Grid((shape[0], shape[1], shape[2]), volume.grid.affine @ turn)
    expected = render(volume, labels, tmp_path / "a.png")
    picture = render(Volume(values, grid), Labels(numbers, grid), tmp_path / "b.png")
    np.testing.assert_array_equal(picture, expected)


def picture_of_box(folder: Path, box: tuple[slice, slice, slice]) -> np.ndarray:
    """Return the picture of a volume whose only segment is a box of voxels."""
    volume, labels = canonical()
    only = np.zeros_like(labels.array)
    only[box] = 1
    return render(volume, Labels(only, labels.grid), folder / "a.png")


def test_the_right_side_of_the_patient_is_on_the_left(tmp_path: Path) -> None:
    # low x is the patient's right, low y the front, in the middle of z
    picture = picture_of_box(tmp_path, np.s_[8:12, 5:15, 2:8])
    axial = outline(picture[:, : PANEL_PX + 2 * MARGIN_PX], 1)
    middle = PANEL_PX // 2 + MARGIN_PX
    assert (axial[:, 1] < middle).all()
    assert (axial[:, 0] < middle).all()


def test_the_head_is_at_the_top(tmp_path: Path) -> None:
    picture = picture_of_box(tmp_path, np.s_[15:18, 15:25, 10:20])
    panel = PANEL_PX + 2 * MARGIN_PX
    for left in (panel, 2 * panel):
        assert (outline(picture[:, left : left + panel], 1)[:, 0] < panel // 2).all()


def test_proportions_are_true(tmp_path: Path) -> None:
    # 40 mm high, 20 mm deep, 20 mm wide
    picture = picture_of_box(tmp_path, np.s_[5:15, 10:30, 10:20])
    panel = PANEL_PX + 2 * MARGIN_PX
    size = [np.ptp(outline(picture[:, k * panel : (k + 1) * panel], 1), axis=0) + 1 for k in (0, 1)]
    scale = PANEL_PX / 80
    assert size[0] == pytest.approx(np.array([20, 20]) * scale, abs=2)
    assert size[1] == pytest.approx(np.array([40, 20]) * scale, abs=2)


def test_an_empty_result_and_a_flat_image_have_a_preview(tmp_path: Path) -> None:
    volume, labels = canonical()
    flat = Volume(np.zeros_like(volume.array), volume.grid)
    nothing = Labels(np.zeros_like(labels.array), labels.grid)
    assert render(flat, nothing, tmp_path / "a.png").shape[2] == 3


def test_the_file_holds_a_picture_and_no_text(tmp_path: Path) -> None:
    volume, labels = canonical()
    path = tmp_path / "a.png"
    render(volume, labels, path)
    with Image.open(path) as picture:
        assert picture.info == {}


def test_a_long_legend_has_columns_and_is_complete(tmp_path: Path) -> None:
    volume, labels = canonical()
    (one, _) = package(tmp_path).manifest.segments
    many = [
        msgspec.structs.replace(one, number=n, label=f"Structure {n}", colour_rgb=(7 * n, 255, n))
        for n in range(1, 33)
    ]
    preview(volume, labels, many, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        picture = np.asarray(opened)
    legend = picture[PANEL_PX + 2 * MARGIN_PX :]
    squares = [np.argwhere((legend == part.colour_rgb).all(axis=2)) for part in many]
    assert all(len(square) >= 15 * 15 for square in squares)
    assert len({int(square[:, 1].min()) for square in squares}) == 3
    assert picture.shape[0] < 2 * picture.shape[1] / 3


def test_a_cut_structure_is_marked_in_the_legend(tmp_path: Path) -> None:
    volume, labels = canonical()
    at_edge = labels.array.copy()
    at_edge[0, 0, 0] = 2
    segments = package(tmp_path).manifest.segments
    preview(volume, Labels(at_edge, labels.grid), segments, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        picture = np.asarray(opened)
    volumes_ml = Labels(at_edge, labels.grid).volumes_ml((1, 2))
    for line, mark in enumerate(("", " (cut)")):
        text = f"{segments[line].label}: {rounded(volumes_ml[line + 1])} ml{mark}"
        top = PANEL_PX + 2 * MARGIN_PX + line * LINE_PX
        shown = picture[top : top + LINE_PX, MARGIN_PX + 26 : PANEL_PX + 2 * MARGIN_PX]
        expected = Image.new("RGB", (shown.shape[1], LINE_PX), BACKGROUND)
        font = ImageFont.load_default(16)
        ImageDraw.Draw(expected).text((0, 13), text, INK, font, anchor="lm")
        np.testing.assert_array_equal(shown, np.asarray(expected))


def test_a_long_name_in_the_last_column_fits(tmp_path: Path) -> None:
    volume, labels = canonical()
    at_edge = labels.array.copy()
    at_edge[0, 0, 0] = 2
    (_, one) = package(tmp_path).manifest.segments
    long = "Cerebrospinal fluid of a structure with a name of 64 characters"
    many = [msgspec.structs.replace(one, number=n, label=f"Part {n}") for n in range(3, 30)]
    segments = [*many, msgspec.structs.replace(one, number=2, label=long)]
    preview(volume, Labels(at_edge, labels.grid), segments, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        legend = np.asarray(opened)[PANEL_PX + 2 * MARGIN_PX :]
    last = legend[:, 2 * (PANEL_PX + 2 * MARGIN_PX) + MARGIN_PX + 26 :]
    assert last[:, -50:-8].any(), "the text is as long as it may be"
    assert not last[:, -8:].any(), "it ends before the edge"


def test_notes_make_the_picture_longer(tmp_path: Path) -> None:
    volume, labels = canonical()
    segments = package(tmp_path).manifest.segments
    nothing = Labels(np.zeros_like(labels.array), labels.grid)
    preview(volume, labels, segments, tmp_path / "plain.png")
    preview(volume, nothing, segments, tmp_path / "empty.png", [NOTHING_DETECTED])
    two = [Caveat(CaveatCode.LOSSY, "a"), Caveat(CaveatCode.CUT, "b")]
    preview(volume, labels, segments, tmp_path / "noted.png", two)
    long = [Caveat(CaveatCode.CUT, "a structure, " * 20)]
    preview(volume, labels, segments, tmp_path / "long.png", long)
    heights = []
    for name in ("plain", "empty", "noted", "long"):
        with Image.open(tmp_path / f"{name}.png") as opened:
            heights.append(opened.height)
    assert heights == [heights[0] + lines * LINE_PX for lines in (0, 1, 2, 2)]
