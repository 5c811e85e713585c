"""Identifiers as the database keeps them: text, keyed hashes or nothing."""

from pathlib import Path

import pytest

from node.config import DataConfig
from node.errors import Misconfigured
from node.identifiers import KEY_FILE, open_identifiers


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    data = DataConfig(dir=tmp_path / "data", index="hashed")
    assert open_identifiers(data, create=False).hashed("ACC") == ""
    assert not (tmp_path / "data").exists(), "a reading command creates nothing"
    first, second = open_identifiers(data), open_identifiers(data)
    assert first.stored_form("ACC") == second.stored_form("ACC") != ""
    other = DataConfig(dir=tmp_path / "other", index="hashed")
    assert open_identifiers(other).stored_form("ACC") != first.stored_form("ACC")
    assert "ACC" not in first.stored_form("ACC")
    assert repr(first).count("key") == 0


def test_without_an_index_there_is_no_key(tmp_path: Path) -> None:
    open_identifiers(DataConfig(dir=tmp_path, index="none"))
    assert not (tmp_path / KEY_FILE).exists()


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "kä"])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content, encoding="utf-8")
    with pytest.raises(Misconfigured, match="does not hold a key"):
        open_identifiers(DataConfig(dir=tmp_path))


def test_identifiers_are_compared_without_padding_and_words_without_case(tmp_path: Path) -> None:
    hashed = open_identifiers(DataConfig(dir=tmp_path))
    assert hashed.stored_form(" A1 ") == hashed.stored_form("A1") != hashed.stored_form("a1")
    assert hashed.stored_words("MR Schädel, T1") == hashed.stored_words("t1 SCHÄDEL mr")[::-1]
    assert hashed.stored_form("  ") == ""
    assert hashed.forms("A1") == ("A1", hashed.stored_form("A1"))
