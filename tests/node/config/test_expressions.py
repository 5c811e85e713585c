"""Regular expressions of rules: a text from a peer cannot keep a search busy."""

import re

import pytest

from node.config import load_text
from node.config.expressions import check_time
from node.config.units import Texts
from node.errors import Misconfigured

CATASTROPHIC = (
    "(a+)+$", "(a*)*$", "(a|a)*$", "(a|aa)+$", "(a+)+?$", "((a+))+b", "(.*a){11}", "(a?){30}a{30}",
    "a?" * 30 + "a" * 30, ".*.*.*.*!", r"^(\w+\s?)*$", "(?:a+b?)+c", "(?=(a+)+$)x", "x|(?!(a+)+b)a",
    "([a-z]+[0-9]*)+$", "(?P<name>a+)+b", "(?>(a+)+b)", r"((\b){1000}){1000}", "(?i)(a+)+b",
)  # fmt: skip
PLAIN = (
    "^t1.*3d", "t1|flair$", "t1.*mprage.*sag.*3d", "^.*a.*b.*c.*d", r"\bfl(?:air)?\b", "(abc)+",
    r"[ _-]+t[12][ _-]*(w|wi|weighted)?\b", "t1(?!.*flair)", "(?i)t1", "[]a]+[^]]", r"\(\[\x41\)?",
    "(?P<weight>t[12])w", "(?<=t1)w", "a{2}b{1,3}c{,2}d{2,}", "a{b", "{}", ".",
)  # fmt: skip


@pytest.mark.parametrize("expression", CATASTROPHIC)
def test_an_expression_that_a_text_can_keep_busy_is_refused(expression: str) -> None:
    re.compile(expression)
    with pytest.raises(ValueError, match="repeat no group that holds a repeat"):
        Texts.parse(["t1", f"/{expression}/"])


@pytest.mark.parametrize("expression", [r"(a)\1", "(?P<n>a)(?P=n)", "(?x)a +", "(?#c)a", "(?i:a)"])
def test_an_expression_whose_steps_are_not_counted_is_refused(expression: str) -> None:
    re.compile(expression)
    with pytest.raises(ValueError, match=r"rules take no .* in a regular expression: write it"):
        Texts.parse(f"/{expression}/")


@pytest.mark.parametrize("expression", PLAIN)
def test_other_expressions_are_taken(expression: str) -> None:
    assert Texts.parse(f"/{expression}/").texts == (f"/{expression}/",)


@pytest.mark.parametrize(
    ("expression", "steps"),
    [
        ("a", 65),  # from each of 64 characters, and once at the end
        ("^ab", 65 + 1 + 1),
        ("^a?b", 65 + 1 + 2),  # `b` is tried with and without `a`
        ("^(?:a|b)c", 65 + 1 + 2 + 2),  # the group, its two letters, and `c` behind each
        ("^a{3}", 65 + 3),
        ("^a*", 65 + 64 + 1),
    ],
)
def test_steps_are_counted(expression: str, steps: int) -> None:
    check_time(expression, steps)
    with pytest.raises(ValueError, match="crafted"):
        check_time(expression, steps - 1)


@pytest.mark.parametrize("expression", ["^.*.*.*.*[ab][ab]!", "(?:a?){15}b", "(?:a|[a]){15}b"])
def test_the_slowest_expressions_end_with_the_worst_text(expression: str) -> None:
    texts = Texts.parse(f"/{expression}/")
    assert not texts.matches(["a" * 1024])


def test_an_expression_sees_the_longest_text_of_dicom() -> None:
    assert Texts.parse("/b$/").matches(["a" * 63 + "b"])
    assert not Texts.parse("/b/").matches(["a" * 64 + "b"])
    assert Texts.parse("b").matches(["a" * 64 + "b"])


def test_the_error_names_the_line_and_what_to_write() -> None:
    text = "rules:\n- name: a\n  use: none\n  when:\n    description: /(a+)+$/\n"
    with pytest.raises(Misconfigured) as refused:
        load_text(text)
    assert "line 5: rules[0].when.description: '/(a+)+$/'" in str(refused.value)
    assert "repeat no group" in str(refused.value)
