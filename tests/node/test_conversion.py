"""What does not fit a type is explained: where, and what to write instead."""

from typing import Any, Literal

import msgspec
import pytest

from node.conversion import NotValid, convert, from_json, spelled


class Clip(msgspec.Struct, forbid_unknown_fields=True, tag="clip", tag_field="step"):
    """A step with limits."""

    low: float
    high: float = 1.0


class Scale(msgspec.Struct, forbid_unknown_fields=True, tag="scale", tag_field="step"):
    """A step with a mode."""

    mode: Literal["linear", "log"] = "linear"


class Family(msgspec.Struct, forbid_unknown_fields=True):
    """A document with unions, tuples and mappings."""

    steps: tuple[Clip | Scale, ...] = ()
    sizes: dict[Literal["small", "large"], int] = {}
    pair: tuple[int, Literal["mm", "cm"]] = (1, "mm")
    report: bool = False
    callers: tuple[str, ...] | Literal["any"] = "any"


@pytest.mark.parametrize(
    ("content", "path", "advice"),
    [
        ({"step": []}, "step", "Did you mean 'steps'? Known keys: steps, sizes, pair, report, "
         "callers."),
        ({"steps": [{"step": "clap"}]}, "steps[0].step",
         "Did you mean 'clip'? Allowed values: clip, scale."),
        ({"steps": [{"low": 1}]}, "steps[0]", "Allowed values: clip, scale."),
        ({"steps": [{"step": "clip", "low": 1, "hi": 2}]}, "steps[0].hi",
         "Did you mean 'high'? Known keys: step, low, high."),
        ({"steps": [{"step": "clip"}]}, "steps[0]", ""),
        ({"steps": [{"step": "scale"}, {"step": "scale", "mode": "lin"}]}, "steps[1].mode",
         "Did you mean 'linear'? Allowed values: linear, log."),
        ({"sizes": {"smal": 1}}, "sizes.smal", "Did you mean 'small'? Allowed values: small, "
         "large."),
        ({"sizes": {"small": 1, "large": "x"}}, "sizes.large", ""),
        ({"pair": [1, "m"]}, "pair[1]", "Did you mean 'mm'? Allowed values: mm, cm."),
        ({"report": "maybe"}, "report", "Allowed values: true, false."),
        ({"callers": "all"}, "callers", "Allowed values: a list, any."),
        ([], "", "Known keys: steps, sizes, pair, report, callers."),
        ({"report": None}, "report", "Write a value, or remove the key. Allowed values: true, "
         "false."),
        ({"callers": None}, "callers", "Write a value, or remove the key. Allowed values: a list, "
         "any."),
        ({"steps": "clip"}, "steps", "Write a list, like [clip]."),
        ({"sizes": {3: 1}}, "sizes.3", "Write it in quotes."),
    ],
)  # fmt: skip
def test_a_problem_has_a_path_and_says_what_is_known(content: Any, path: str, advice: str) -> None:
    with pytest.raises(NotValid) as caught:
        convert(content, Family)
    assert spelled(caught.value.path) == path
    assert caught.value.advice == advice


def test_json_is_explained_in_the_same_way() -> None:
    assert from_json(b'{"report": true}', Family).report
    with pytest.raises(NotValid) as caught:
        from_json(b'{"sizes": {"tiny": 1}}', Family)
    assert spelled(caught.value.path) == "sizes.tiny"


@pytest.mark.parametrize(
    ("encoded", "path"),
    [
        (b'{"report": true, "report": true}', "report"),
        (b'{"sizes": {"small": 1, "large": 2, "small": 3}}', "sizes.small"),
        (b'{"steps": [{"step": "scale"}, {"step": "scale", "mode": "log", "mode": "log"}]}',
         "steps[1].mode"),
        (b'{"report": 1, "r\\u0065port": 2}', "report"),
    ],
)  # fmt: skip
def test_a_key_that_stands_twice_is_refused_by_name(encoded: bytes, path: str) -> None:
    with pytest.raises(NotValid, match="stands twice") as caught:
        from_json(encoded, Family)
    assert spelled(caught.value.path) == path


@pytest.mark.parametrize("encoded", [b"{", b"\xff", b'{"a": 1', b'{"a": NaN}', b"[" * 100_000])
def test_what_is_no_json_is_refused(encoded: bytes) -> None:
    with pytest.raises(NotValid, match="not valid JSON"):
        from_json(encoded, Family)
