"""Every YAML type at every key of node.yaml: it loads, or an error names line, path and cure.

The keys are found by walking the structs, so that a new key is tested as soon as it exists.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
import pytest

from node.config import Config, load_text
from node.config.units import (
    Ages,
    Bytes,
    CertificateName,
    Lengths,
    Range,
    Seconds,
    Texts,
    Words,
)
from node.conversion import NotValid
from node.errors import Misconfigured
from node.yaml_strict import parse
from tests.support.keys import keys_of

VALUES = (
    "null", "", "~", "true", "yes", "off", "0", "1", "-3", "7", "9" * 30, "1.5", "2.0", ".nan",
    "-.inf", "0104", "0x10", "11:12", "1_000", "1.0e+400", "2024-01-02", "some_text", "''",
    "'  '", "x" * 5000, '"a\\nb"', '"a\\0b"', "[a, b]", "[]", "[[a], [b]]", "[a, null]", "[1, 2]",
    "{a: b}", "{}", "{a: null}", "5 s", "5 sec", "5", "-5 s", "9999999 d", "5 GiB", "5 GB",
    "99999999 TiB", "1..2 mm", "1..2 cm", "9..2", "2..9", "'>= 3'", "18..60 y", "6 m", "/^a|b$/",
    "'/[/'", "//", "!!set {a}", "!!binary YQ==", "!!timestamp 2024-01-02", "!mine a",
    "!!python/name:os", "!!str 12", "!!int '12'", "!!int a", "any", "MR", "[MR]", "small",
)  # fmt: skip
# keys that must also agree with other keys, or have a form that no type states
ALSO_CHECKED = {
    "node.host", "data.dir", "data.database", "callers.host", "targets.*.host", "model.dir",
    "rules.use", "rules.deadline", "rules.send_to", "page.host", "page.users", "page.certificate",
    "page.key", "page.user_header", "page.proxies", "alerts.webhook", "alerts.digest_at",
    "callers.port", "audit.syslog.host",
}  # fmt: skip
TLS = {"certificate": "a.pem", "key": "b.pem", "trust": "c.pem"}  # other keys need them
NUMBER = r"\d{1,15}(\.\d+)?"
FORMS: dict[Any, str] = {  # of values with units
    Seconds: rf"{NUMBER} (ms|s|min|h)",
    Bytes: rf"{NUMBER} (B|KiB|MiB|GiB)",
    Range: rf"((<=|>=) )?{NUMBER}|[12]\.\.\d",
    Lengths: rf"((<=|>=) )?{NUMBER}( mm)?|[12]\.\.\d( mm)?",
    Ages: rf"((<=|>=) )?{NUMBER}|[12]\.\.\d|18\.\.60 y",
}
KEYS = list(keys_of(Config))


def takes(kind: Any, value: object) -> bool:
    """Return whether a key of type `kind` takes a value: a second opinion, without msgspec."""
    if get_origin(kind) is Annotated:
        inner, meta = get_args(kind)
        return takes(inner, value) and fits(meta, value)
    if get_origin(kind) is not None:
        return in_container(kind, value)
    if kind in FORMS:
        is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        return is_plain and re.fullmatch(FORMS[kind], str(value)) is not None
    if kind in (Texts, Words):
        texts = value if isinstance(value, list) else [value]
        return bool(texts) and all(isinstance(t, str) and is_comparable(t) for t in texts)
    if kind is CertificateName:
        return isinstance(value, str) and re.fullmatch(r"[ -~]{1,128}", value.strip()) is not None
    if kind is Path:
        return isinstance(value, str) and value != "" and "\0" not in value
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return value == {} and kind.__struct_fields__[0] != "ae"
    return type(value) is kind


def in_container(kind: Any, value: object) -> bool:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return value in inner
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(takes(inner[0], item) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(takes(inner[1], item) for item in value.values())
    return any(takes(one, value) for one in inner if one is not type(None))


def fits(meta: msgspec.Meta, value: Any) -> bool:
    checks: list[tuple[Any, Callable[[Any], bool]]] = [
        (meta.ge, lambda limit: value >= limit),
        (meta.le, lambda limit: value <= limit),
        (meta.min_length, lambda limit: len(value) >= limit),
        (meta.pattern, lambda limit: re.search(limit, value) is not None),
    ]
    return all(check(limit) for limit, check in checks if limit is not None)


def is_comparable(text: str) -> bool:
    return text.strip() != "" and text not in ("/[/", "//")


def kind_of(key: str) -> Any:
    """Return the annotated type of a key."""
    kind: Any = Config
    for part in key.split("."):
        kinds = list(inner_types(kind))
        if part == "*":
            kind = next(get_args(one)[1] for one in kinds if get_origin(one) is dict)
        else:
            struct = next(one for one in kinds if is_struct(one))
            kind = next(f.type for f in msgspec.structs.fields(struct) if f.name == part)
    return kind


def inner_types(kind: Any) -> Iterator[Any]:
    """Yield a type and the types inside annotations, unions and sequences."""
    yield kind
    if get_origin(kind) not in (None, dict, Literal):
        for inner in get_args(kind):
            yield from inner_types(inner)


def is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def document(key: str, value: str) -> str:
    """Return a configuration that is valid but for `value` at `key`, which stands in line 2."""
    section, _, name = key.rpartition(".")
    entry = f"{name}: {value}"
    needed = {
        "callers": {"ae": "CT01"},
        "targets.*": {"ae": "PACS", "host": "h", "tls": "true"},
        "tls": TLS,
        "rules": {"name": "a", "use": "none"},
    }.get(section, {})
    line = ", ".join([*(f"{k}: {v}" for k, v in needed.items() if k != name), entry])
    places = {
        "": f"# the only key\n{entry}",
        "callers": f"callers:\n- {{{line}}}",
        "targets.*": f"targets:\n  pacs: {{{line}}}",
        "rules": f"rules:\n- {{{line}}}",
        "rules.when": f"rules:\n- {{name: a, use: none, when: {{{line}}}}}",
        "audit.syslog": f"audit:\n  syslog: {{{line}}}",
        "data.keep": f"data:\n  keep: {{{line}}}",
        "tls": f"tls:\n  {{{line}}}",
    }
    text = places.get(section, f"{section}:\n  {entry}")
    tls = ", ".join(f"{k}: {v}" for k, v in TLS.items())
    return text if key.startswith("tls") else f"{text}\ntls: {{{tls}}}"


@pytest.mark.parametrize("key", KEYS)
def test_a_key_takes_what_its_type_lists_and_explains_everything_else(key: str) -> None:
    for value in VALUES:
        text = document(key, value)
        try:
            load_text(text, "node.yaml")
        except Misconfigured as exc:
            check_explained(exc, key, text)
            assert key in ALSO_CHECKED or not expected_to_load(key, value), text
        else:
            assert expected_to_load(key, value), text


def expected_to_load(key: str, value: str) -> bool:
    try:
        content = parse(value).content
    except NotValid:
        return False
    return takes(kind_of(key), content)


def check_explained(error: Misconfigured, key: str, text: str) -> None:
    """Check that a message names line and key, in words for an administrator."""
    printed = f"{error.message} {error.advice}"
    name = key.rpartition(".")[2]
    assert error.message.startswith("node.yaml line 2"), (text, printed)
    is_named = re.search(rf"\b{name}\b", error.message) or key in ALSO_CHECKED
    assert is_named or "not valid YAML" in printed, (text, printed)
    assert not re.search(r"`(int|str|array|object|null|float)`|Struct|Expected", printed), printed
    assert len(printed) < 600, printed


@pytest.mark.parametrize("key", ["1", "1.5", "true", "null", "[a]", "{a: b}", "'a b'", "<<"])
@pytest.mark.parametrize("section", [key for key in KEYS if is_struct(kind_of(key))])
def test_an_odd_key_is_explained(section: str, key: str) -> None:
    with pytest.raises(Misconfigured, match=r"node.yaml line 2"):
        load_text(document(section, f"{{? {key} : 1}}"), "node.yaml")


def test_anchors_and_merge_keys_are_what_they_stand_for() -> None:
    text = """
    rules:
    - {name: a, use: none, when: &brain {modality: MR, body_part: &parts [HEAD, BRAIN]}}
    - {name: b, use: none, when: {<<: *brain, description: *parts}}
    - {name: c, use: none, when: {<<: [*brain], description: }}
    """
    with pytest.raises(Misconfigured, match=r"line 5: rules\[2\].when.description"):
        load_text(text.replace("\n    ", "\n"), "node.yaml")
    fine = text.replace(", description: }", "}").replace("\n    ", "\n")
    first, second, third = load_text(fine).rules
    assert second.when.modality == third.when.modality == first.when.modality == "MR"
    assert second.when.description is not None
    assert second.when.description.texts == ("HEAD", "BRAIN")
