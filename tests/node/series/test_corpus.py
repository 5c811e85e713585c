"""Odd but real headers on real series of many manufacturers: the expected decision for each."""

import csv
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from node import errors
from node.caveats import CaveatCode
from node.series import Series, read
from tests.support.corpus import ANY, CT, MR, Change
from tests.support.corpus_frames import CT_FRAMES, ENHANCED, FRAMES
from tests.support.real_series import ARCHIVES, SOURCES, present, slices_of, write

WORDS_OF_TEXTS = {  # words of a new caveat -> the oddities that have it
    "reformatted": ("reformat",),
    "several X-ray energies": ("virtual unenhanced", "one energy"),
    "real part of the signal": ("real part",),
}


def rows() -> list[tuple[str, str, Change, str]]:
    """Return source, oddity, change and expected code of every row."""
    table = []
    for source, where in SOURCES.items():
        if where.is_enhanced:
            oddities = {name: ANY[name] for name in ENHANCED}
            oddities |= CT_FRAMES if source.startswith("CT") else FRAMES
        else:
            oddities = ANY | (CT if source.startswith("CT") else MR)
        for oddity, (change, code) in oddities.items():
            table.append((source, oddity, change, code))
    return table


ROWS = rows()


def test_the_table_has_enough_rows() -> None:
    assert len(ROWS) >= 120


def test_each_manufacturer_of_the_archives_is_in_the_table() -> None:
    with present(ARCHIVES / "manifest.csv").open(encoding="utf-8") as file:
        column = [row["manufacturer"] for row in csv.DictReader(file)]
    # a cell may list several, and the first word of each names the manufacturer
    known = {word.split()[0].lower() for cell in column for word in cell.split("+") if word}
    assert len(known) > 5
    sources = {str(image.get("Manufacturer")) for name in SOURCES for image in slices_of(name)}
    assert known - {source.split()[0].lower() for source in sources if source} == set()


@cache
def _plain(source: str) -> Series:
    with TemporaryDirectory() as folder:
        return read(write(slices_of(source), Path(folder)))


@pytest.mark.parametrize(
    ("source", "oddity", "change", "code"), ROWS, ids=[f"{row[0]}: {row[1]}" for row in ROWS]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_header_of_the_table_gets_its_decision(
    tmp_path: Path, source: str, oddity: str, change: Change, code: str
) -> None:
    paths = write(change(slices_of(source)), tmp_path / "odd")
    if code:
        with pytest.raises(errors.Unsuitable) as caught:
            read(paths)
        assert caught.value.code == code
        assert caught.value.advice
        return
    series = read(paths)
    plain = _plain(source)
    np.testing.assert_array_equal(series.volume.array, plain.volume.array)
    assert_notes(series, plain, oddity)


def assert_notes(series: Series, plain: Series, oddity: str) -> None:
    """Check that a result would state what is known about its source."""
    new = [caveat for caveat in series.caveats if caveat not in plain.caveats]
    codes = {caveat.code for caveat in new}
    assert (CaveatCode.LOSSY in codes) == oddity.startswith("lossy")
    texts = " ".join(caveat.text for caveat in new)
    stated_before = " ".join(caveat.text for caveat in plain.caveats)
    for word_of_text, oddities in WORDS_OF_TEXTS.items():
        if word_of_text not in stated_before:
            assert (word_of_text in texts) == (oddity in oddities)
    assert len(series.survey.dropped) == (1 if oddity == "duplicate" else 0)
