"""The colours of the style sheet: WCAG 2.2, 1.4.3 and 1.4.11, level AA, in light and dark."""

import re

import pytest

from node.web.render import STYLE

TEXT, GRAPHIC = 4.5, 3.0
PAIRS = [  # colour, background, least contrast
    ("ink", "paper", TEXT), ("ink", "panel", TEXT), ("ink", "bad-panel", TEXT),
    ("faint", "paper", TEXT), ("faint", "panel", TEXT), ("faint", "bad-panel", TEXT),
    ("link", "paper", TEXT), ("link", "panel", TEXT), ("link", "bad-panel", TEXT),
    ("bad", "paper", TEXT), ("bad", "bad-panel", TEXT), ("good", "paper", TEXT),
    ("wait", "paper", TEXT), ("paper", "link", TEXT),
    ("faint", "paper", GRAPHIC),  # the border of a field
]  # fmt: skip


def palettes() -> dict[str, dict[str, str]]:
    """Return the colours by name, of each scheme."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)
    named = r"--([a-z-]+): (#[0-9a-f]{6});"
    return {"light": dict(re.findall(named, light)), "dark": dict(re.findall(named, dark))}


def luminance(colour: str) -> float:
    """Return the relative luminance of an sRGB colour (WCAG 2.2, definitions)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_pair_of_colours_has_contrast(scheme: str) -> None:
    colours = palettes()[scheme]
    for colour, background, least in PAIRS:
        light, dark = sorted((luminance(colours[colour]), luminance(colours[background])))[::-1]
        contrast = (light + 0.05) / (dark + 0.05)
        assert contrast >= least, f"{scheme}: {colour} on {background} has {contrast:.2f}"


def test_every_colour_is_a_named_one() -> None:
    assert palettes()["light"].keys() == palettes()["dark"].keys()
    rules = re.sub(r":root \{.*?\}", "", STYLE.read_text(), flags=re.DOTALL)
    assert set(re.findall(r"#[0-9a-f]{3,8}\b", rules)) <= {"#000"}, "behind the picture alone"
    assert set(re.findall(r"var\(--([a-z-]+)\)", rules)) <= palettes()["light"].keys()


def test_black_on_white_has_the_contrast_of_the_standard() -> None:
    assert luminance("#ffffff") == pytest.approx(1.0)
    assert luminance("#000000") == 0.0
    assert luminance("#777777") == pytest.approx(0.184, abs=0.001)
