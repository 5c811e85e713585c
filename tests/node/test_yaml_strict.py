"""Nothing in a YAML file is silently something else."""

import pytest

from node.yaml_strict import NotYaml, parse


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("rules: [1]\nnode: {}\nrules: []", 3, "key 'rules' stands here and in line 1"),
        ("node:\n  port: 1\n  host: x\n  port: 2", 4, "key 'port' stands here and in line 2"),
        ("- {a: 1}\n- {a: 1, b: 2, a: 1}", 2, "key 'a' stands here"),
        ("node: [", 1, "not valid YAML"),
        ("a: !!int b", None, "not of the kind"),
        ("a: " + "9" * 5000, None, "not of the kind"),
        ("a: " + "[" * 5000, None, "nested too deeply"),
        ("a: !!python/object:os.system {}", 1, "not valid YAML"),
    ],
)
def test_what_is_no_yaml_or_says_something_twice_is_refused(
    text: str, line: int | None, said: str
) -> None:
    with pytest.raises(NotYaml, match=said) as caught:
        parse(text)
    assert caught.value.line == line


def test_only_decimal_numbers_are_whole_numbers() -> None:
    value, _ = parse("[0, 104, -3, 0104, 0x10, 11:12, 1_000, 2024-13-01, 1.5, true]")
    assert value == [0, 104, -3, "0104", "0x10", "11:12", "1_000", "2024-13-01", 1.5, True]


def test_an_alias_may_stand_in_several_places_and_a_key_in_several_mappings() -> None:
    value, _ = parse("a: &x {k: 1}\nb: *x\nc: {k: 2}")
    assert value == {"a": {"k": 1}, "b": {"k": 1}, "c": {"k": 2}}


def test_nothing_is_nothing() -> None:
    assert parse("") == (None, None)
    assert parse("# a comment")[0] is None
