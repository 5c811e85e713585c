"""A legal but probably wrong setting is a warning with its code and the path of the key."""

from pathlib import Path

import pytest

from node.commands.admin import template
from node.config import load_text
from node.config.warnings import Code, warnings_of
from node.conversion import spelled

CALLERS = "callers: [{ae: CT01, host: 10.0.0.1}, {ae: MR01}]"
TARGETS = "targets: {pacs: {ae: PACS, host: 10.0.0.9}}"
USED = "{name: used, when: {modality: MR}, use: x, send_to: [pacs]}"


def config_of(
    *, rules: str = "", callers: str = CALLERS, targets: str = TARGETS, more: str = ""
) -> str:
    return "\n".join([callers, targets, f"rules:\n- {USED}{rules}", more])


def coded_paths(text: str) -> list[tuple[Code, str]]:
    return [(one.code, spelled(one.path)) for one in warnings_of(load_text(text))]


def test_a_usual_configuration_has_no_warning() -> None:
    assert coded_paths(config_of(rules="\n- {name: rest, use: none}")) == []


def test_the_shipped_configuration_has_no_warning() -> None:
    assert coded_paths(template()) == []


def test_the_example_is_the_shipped_configuration() -> None:
    root = Path(__file__).parents[3]
    assert (root / "config/node.yaml").read_text(encoding="utf-8") == template()


@pytest.mark.parametrize(
    ("first", "second", "is_unreachable"),
    [
        ("{}", "{modality: CT}", True),
        ("{modality: CT}", "{modality: CT}", True),
        ("{modality: [CT, MR]}", "{modality: CT, slices: '>= 4'}", True),
        ("{modality: CT}", "{modality: [CT, MR]}", True),  # the first rule takes MR
        ("{modality: CT}", "{}", False),
        ("{modality: CT, body_part: HEAD}", "{modality: CT}", False),
        ("{body_part: [HEAD, BRAIN]}", "{body_part: brain}", True),
        ("{body_part: HEAD}", "{body_part: HEAD NECK}", True),
        ("{body_part: HEAD}", "{body_part: HEADNECK}", False),
        ("{body_part: HEAD}", "{body_part: /head/}", False),
        ("{description: t1}", "{description: T1 mprage}", True),
        ("{description: t1}", "{series_description: sag t1}", True),
        ("{series_description: t1}", "{description: t1}", False),
        ("{description: /^a/}", "{description: /^a/}", True),
        ("{description: /^a/}", "{description: abc}", False),
        ("{contrast_agent: /./}", "{contrast_agent: gd}", True),
        ("{slices: 10..90}", "{slices: 20..30}", True),
        ("{slices: '>= 1'}", "{modality: CT}", True),
        ("{slices: '>= 3'}", "{modality: CT}", False),
        ("{patient_age: '>= 0 y'}", "{modality: CT}", False),  # an absent age does not match
        ("{slices: 10..90}", "{slices: '>= 20'}", False),
        ("{slice_spacing: <= 2 mm}", "{slice_spacing: 1..2 mm}", True),
        ("{patient_age: '>= 18 y'}", "{patient_age: 18..60 y}", True),
        ("{plane: [axial, sagittal, coronal, oblique]}", "{modality: CT}", True),
        ("{plane: [axial, sagittal, coronal]}", "{modality: CT}", False),
        ("{caller: [CT01, MR01]}", "{caller: CT01}", True),
        ("{caller: CT01}", "{modality: CT}", False),
        ("{station_name: CT1}", "{station_name: CT10}", False),
    ],
)
def test_a_rule_behind_one_that_covers_it_is_unreachable(
    first: str, second: str, is_unreachable: bool
) -> None:
    rules = f"\n- {{name: a, when: {first}, use: none}}\n- {{name: b, when: {second}, use: none}}"
    warned = (Code.UNREACHABLE_RULE, "rules[2]")
    assert (warned in coded_paths(config_of(rules=rules))) is is_unreachable


def test_several_rules_together_make_a_rule_unreachable() -> None:
    rules = "\n- {name: ct, when: {modality: CT}, use: none}"
    rules += "\n- {name: b, when: {modality: [MR, CT]}, use: none}"
    (warned,) = warnings_of(load_text(config_of(rules=rules)))
    assert warned.code is Code.UNREACHABLE_RULE
    assert "used, ct" in warned.message


@pytest.mark.parametrize(
    ("rule", "code", "path"),
    [
        ("when: {caller: CT02}, use: none", Code.UNKNOWN_CALLER, "rules[1].when.caller"),
        ("when: {caller: [CT01, ct01]}, use: none", Code.UNKNOWN_CALLER, "rules[1].when.caller"),
        ("when: {slice_spacing: 1 mm}, use: none", Code.EXACT_LENGTH,
         "rules[1].when.slice_spacing"),
        ("when: {pixel_spacing: 1..1 mm}, use: none", Code.EXACT_LENGTH,
         "rules[1].when.pixel_spacing"),
        ("when: {slices: 0}, use: none", Code.NEVER_MATCHES, "rules[1].when.slices"),
        ("when: {slices: 20.2..20.8}, use: none", Code.NEVER_MATCHES, "rules[1].when.slices"),
        ("when: {pixel_spacing: <= 0 mm}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.pixel_spacing"),
        ("when: {patient_age: '>= 200 y'}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.patient_age"),
        ("when: {slices: '>= 99999'}, use: none", Code.NEVER_MATCHES, "rules[1].when.slices"),
        ("when: {pixel_spacing: '>= 500'}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.pixel_spacing"),
        ("when: {description: /t1|/}, use: none", Code.MATCHES_ALL, "rules[1].when.description"),
        ("when: {body_part: head|neck}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.body_part"),
        ("when: {description: ^scout}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {description: t1.*3d}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {body_part: 'HEAD, BRAIN'}, use: none", Code.LOOKS_LIKE_LIST,
         "rules[1].when.body_part"),
        ("when: {body_part: HEAD or BRAIN}, use: none", Code.LOOKS_LIKE_LIST,
         "rules[1].when.body_part"),
        ("when: {description: t1*}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {description: '%t1%'}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {description: '!t2'}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {description: not t2}, use: none", Code.LOOKS_LIKE_EXPRESSION,
         "rules[1].when.description"),
        ("when: {image_type: 'ORIGINAL\\PRIMARY'}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.image_type"),
        ("when: {modality: CT, slice_spacing: '>= 0 mm'}, use: none", Code.MATCHES_ALL,
         "rules[1].when.slice_spacing"),
        ("when: {slice_spacing: 0.001..0.003}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.slice_spacing"),
        ("when: {patient_age: <= 0 y}, use: none", Code.NEVER_MATCHES,
         "rules[1].when.patient_age"),
        ("when: {body_part: [HEAD, head]}, use: none", Code.LISTED_TWICE,
         "rules[1].when.body_part"),
        ("when: {modality: CT}, use: x, send_to: [pacs, pacs]", Code.LISTED_TWICE,
         "rules[1].send_to"),
        ("use: none, send_to: [pacs]", Code.NO_EFFECT, "rules[1].send_to"),
        ("use: none, size: small", Code.NO_EFFECT, "rules[1].size"),
        ("when: {modality: CT}, use: x, send_to: [pacs], memory: 99 GiB", Code.MEMORY_ABOVE_LIMIT,
         "rules[1].memory"),
        ("when: {modality: CT}, use: x, send_to: [pacs], size: auto, deadline: 1 ms",
         Code.IMPOSSIBLE_DEADLINE, "rules[1].deadline"),
        ("when: {modality: CT}, use: x, send_to: [pacs], size: auto, deadline: 2 h",
         Code.LONG_TIME, "rules[1].deadline"),
    ],
)  # fmt: skip
def test_a_rule_has_a_warning(rule: str, code: Code, path: str) -> None:
    assert coded_paths(config_of(rules=f"\n- {{name: a, {rule}}}")) == [(code, path)]


@pytest.mark.parametrize(
    ("callers", "expected"),
    [
        ("any", []),
        ("[{ae: A, host: 10.0.0.1}, {ae: A, host: 10.0.0.2}]", []),
        ("[{ae: A, host: h}, {ae: A, host: H}]", [(Code.REPEATED_CALLER, "callers[1]")]),
        ("[{ae: SEGNODE}]", [(Code.OWN_CALLER, "callers[0].ae")]),
        ("[{ae: A, host: 0.0.0.0}]", [(Code.NEVER_MATCHES, "callers[0].host")]),
        ("[{ae: A, host: h}, {ae: A}]", [(Code.REPEATED_CALLER, "callers[1]")]),
    ],
)
def test_a_caller_has_a_warning(callers: str, expected: list[tuple[Code, str]]) -> None:
    assert coded_paths(config_of(callers=f"callers: {callers}")) == expected


def test_a_caller_without_any_rule_has_a_warning() -> None:
    rules = "rules: [{name: a, when: {caller: CT01}, use: x, send_to: [pacs]}]"
    text = f"{CALLERS}\n{TARGETS}\n{rules}"
    assert coded_paths(text) == [(Code.UNMATCHED_CALLER, "callers[1]")]


@pytest.mark.parametrize(
    ("node", "targets", "expected"),
    [
        ("{}", "pacs: {ae: P, host: 127.0.0.1, port: 11112}", [(Code.OWN_TARGET, "host")]),
        ("{}", "pacs: {ae: P, host: localhost, port: 11112}", [(Code.OWN_TARGET, "host")]),
        ("{}", "pacs: {ae: P, host: 127.0.0.1, port: 104}", []),
        ("{}", "pacs: {ae: P, host: 192.0.2.1, port: 11112}", []),
        ("{host: 10.0.0.5}", "pacs: {ae: P, host: 127.0.0.1, port: 11112}", []),
        ("{host: 10.0.0.5}", "pacs: {ae: P, host: 10.0.0.5, port: 11112}",
         [(Code.OWN_TARGET, "host")]),
        ("{ae_title: SEG1}", "pacs: {ae: SEG1, host: 192.0.2.1}", [(Code.OWN_TARGET, "ae")]),
    ],
)  # fmt: skip
def test_a_target_that_is_this_node_has_a_warning(
    node: str, targets: str, expected: list[tuple[Code, str]]
) -> None:
    text = config_of(
        callers="callers: any", targets=f"targets: {{{targets}}}", more=f"node: {node}"
    )
    assert coded_paths(text) == [(code, f"targets.pacs.{key}") for code, key in expected]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        ("{ae: PACS, host: 10.0.0.9}", Code.REPEATED_TARGET),
        ("{ae: PACS, host: 10.0.0.9, seg: labelmap}", None),
        ("{ae: OTHER, host: 10.0.0.9}", None),
    ],
)
def test_a_target_under_two_names_has_a_warning(second: str, code: Code | None) -> None:
    targets = f"targets: {{pacs: {{ae: PACS, host: 10.0.0.9}}, two: {second}}}"
    rules = "\n- {name: b, when: {modality: CT}, use: x, send_to: [two]}"
    expected = [(code, "targets.two")] if code else []
    assert coded_paths(config_of(rules=rules, targets=targets)) == expected
    assert (Code.UNUSED_TARGET, "targets.two") in coded_paths(config_of(targets=targets))


@pytest.mark.parametrize(
    ("more", "code", "path"),
    [
        ("complete: {quiet: 0 s, settle: 0 s}", Code.SHORT_TIME, "complete.quiet"),
        ("complete: {quiet: 60 h}", Code.LONG_TIME, "complete.quiet"),
        ("complete: {settle: 5 min}", Code.LONG_TIME, "complete.settle"),
        ("data: {keep: {sources: 0 s}}", Code.SHORT_TIME, "data.keep.sources"),
        ("data: {keep: {results: 0 s}}", Code.SHORT_TIME, "data.keep.results"),
        ("data: {keep: {failed: 1 s}}", Code.SHORT_TIME, "data.keep.failed"),
        ("data: {stop_accepting_below: 0 B}", Code.SMALL_LIMIT, "data.stop_accepting_below"),
        ("limits: {time: 0 s}", Code.SHORT_TIME, "limits.time"),
        ("limits: {time: 10 d}", Code.LONG_TIME, "limits.time"),
        ("limits: {memory: 1 MiB}", Code.SMALL_LIMIT, "limits.memory"),
        ("node: {largest_instance: 1 KiB}", Code.SMALL_LIMIT, "node.largest_instance"),
        ("node: {host: 127.0.0.1}", Code.LOCAL_ONLY, "node.host"),
        ("model: {size: auto, deadline: 1 ms}", Code.IMPOSSIBLE_DEADLINE, "model.deadline"),
        ("model: {deadline: 1 ms}", Code.NO_EFFECT, "model.deadline"),
        ("model: {memory: 99 GiB}", Code.MEMORY_ABOVE_LIMIT, "model.memory"),
    ],
)
def test_a_value_that_defeats_its_purpose_has_a_warning(more: str, code: Code, path: str) -> None:
    assert coded_paths(config_of(more=more)) == [(code, path)]


@pytest.mark.parametrize("text", ["t2* gre", "R2*", "MPRAGE 3D", "HEAD and NECK", "anterior"])
def test_words_of_the_field_are_no_expressions(text: str) -> None:
    rules = f"\n- {{name: a, when: {{description: {text!r}}}, use: none}}"
    assert coded_paths(config_of(rules=rules)) == []


def test_a_configuration_without_a_model_has_a_warning() -> None:
    assert coded_paths("") == [(Code.NO_MODEL, "rules")]
    assert (Code.NO_MODEL, "rules") in coded_paths("rules: [{name: a, use: none}]")
