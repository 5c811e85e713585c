"""YAML values are what they look like; a problem is reported with its line."""

from typing import Any, Literal

import msgspec
import pytest

from node.conversion import NotValid
from node.yaml_strict import dump, parse, read


class Part(msgspec.Struct, forbid_unknown_fields=True):
    """One item of the document below."""

    size: Literal["small", "large"] = "small"
    count: int = 1


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    """A small document."""

    title: str = ""
    parts: dict[str, Part] = {}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("rules: [1]\nnode: {}\nrules: []", 3, "key 'rules' stands here and in line 1"),
        ("node:\n  port: 1\n  host: x\n  port: 2", 4, "key 'port' stands here and in line 2"),
        ("- {a: 1}\n- {a: 1, b: 2, a: 1}", 2, "key 'a' stands here"),
        ("a: &x {k: 1}\nb: {<<: *x, k: 2}", 2, "key 'k' stands here and in line 1"),
        ("node: [", 1, "not valid YAML"),
        ("# a\n%YAML 1.1\n---\na: yes", 2, "a directive"),
        ("a: 1\nb: \0", 2, "U\\+0000"),
        ("a: *nowhere", 1, "not valid YAML"),
        ("a: 1\n---\nb: 2", 2, "not valid YAML"),
        ("a: !!int b", 1, "not of the kind"),
        ("a: !!int [b]", 1, "not of the kind"),
        ("a: !!float 2", 1, "not of the kind"),
        ("a:\n  b: " + "9" * 5000, 2, "not of the kind"),
        ("a: !!timestamp 2024-01-02", 1, "not valid YAML"),
        ("a: !!set {b}", 1, "not valid YAML"),
        ("a: " + "[" * 5000, None, "nested too deeply"),
        ("a: !!python/object:os.system {}", 1, "not valid YAML"),
    ],
)
def test_broken_and_repeating_yaml_is_refused(text: str, line: int | None, problem: str) -> None:
    with pytest.raises(NotValid, match=problem) as caught:
        parse(text)
    assert caught.value.line == line


def test_only_decimal_numbers_are_whole_numbers() -> None:
    text = "[0, 104, -3, 0104, 0x10, 0o7, 11:12, 1_000, 2024-13-01, 2024-01-02, 1.5, 1e-3, .inf]"
    assert parse(text).content == [
        0, 104, -3, "0104", "0x10", "0o7", "11:12", "1_000", "2024-13-01", "2024-01-02", 1.5,
        "1e-3", float("inf"),
    ]  # fmt: skip


def test_words_of_yaml_1_1_are_booleans_and_single_letters_are_text() -> None:
    text = "[true, yes, on, false, no, off, y, n, null, ~]"
    assert parse(text).content == [
        True, True, True, False, False, False, "y", "n", None, None,
    ]  # fmt: skip


def test_an_alias_may_stand_in_several_places_and_a_key_in_several_mappings() -> None:
    content = parse("a: &x {k: 1}\nb: *x\nc: {k: 2}\nd: {<<: *x, m: 3}").content
    assert content == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 2}, "d": {"k": 1, "m": 3}}


@pytest.mark.parametrize("text", ["", "# a comment"])
def test_an_empty_file_has_no_content(text: str) -> None:
    assert parse(text).content is None
    assert read(text, Whole)[0] == Whole()


@pytest.mark.parametrize(
    ("text", "line", "path", "advice"),
    [
        ("titel: x", 1, "titel", "Did you mean 'title'? Known keys: title, parts."),
        ("title: x\nparts:\n  a: {}\n  b:\n    size: smal", 5, "parts.b.size",
         "Did you mean 'small'? Allowed values: small, large."),
        ("parts:\n  a:\n    count: many", 3, "parts.a.count", ""),
        ("parts:\n  a: {count: 1}\n  12: {}", 3, "parts.12", "Write it in quotes."),
    ],
)  # fmt: skip
def test_an_error_has_line_path_nearest_key_and_allowed_values(
    text: str, line: int, path: str, advice: str
) -> None:
    with pytest.raises(NotValid) as caught:
        read(text, Whole)
    assert caught.value.line == line
    assert caught.value.about("recipe.yaml").startswith(f"recipe.yaml line {line}: {path}: ")
    assert caught.value.advice == advice


@pytest.mark.parametrize("flow", [False, None])
@pytest.mark.parametrize(
    "content",
    [
        {"b": 1, "a": [1.5, True, None, "no", "yes", "0104", "1e-3", "2024-01-02", "é", ""]},
        {"<<": "~", "nested": [{"x": "null"}, {"y": {"z": ".nan"}}], "long": "word " * 40},
    ],
)
def test_what_is_written_is_read_back_in_its_order(
    content: dict[str, Any], flow: bool | None
) -> None:
    parsed = parse(dump(content, flow=flow)).content
    assert parsed == content
    assert isinstance(parsed, dict)
    assert list(parsed) == list(content)
