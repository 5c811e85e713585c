"""Every error in the configuration has a line, a path and what to write instead."""

from pathlib import Path

import msgspec
import pytest

from node.commands.admin import template
from node.config import CertificateName, Config, load, load_text
from node.config.units import Ages, Bytes, Lengths, Range, Seconds, Texts, Words
from node.errors import Misconfigured

TARGETS = "targets:\n  pacs: {ae: PACS, host: h}\n"


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ("node:\n  prot: 4", "line 2: node.prot: unknown key 'prot'", "'port'"),
        ("node:\n\n  port: 99999", "line 3: node.port", ""),
        ("nodes: {}", "unknown key 'nodes'", "'node'"),
        ("complete: {quiet: 60}", "complete.quiet: 60 is not a time", ""),
        ("data: {stop_accepting_below: 10 GB}", "'10 GB' is not a size", ""),
        ("targets:\n  pacs:\n    ae: P\n    host: h\n    confrim: find", "line 5", "'confirm'"),
        ("targets:\n  pacs:\n    ae: this-title-is-too-long\n    host: h", "line 3", ""),
        ("rules:\n- {name: a, use: x, send_to: [b]}", "no target 'b'", ""),
        ("rules:\n- {name: a, use: x}", "at least one target", ""),
        ("rules:\n- {name: a, use: none}\n- {name: a, use: none}", "line 3: rules[1].name", ""),
        ("rules:\n- {name: a, use: none, when: {description: '/[a/'}}", "not a regular expr", ""),
        ("rules:\n- {name: a, use: none, when: {slices: many}}", "is not a range", ""),
        ("model: {size: enormous}", "model.size", ""),
        ("model: {engine: abacus}", "model.engine", ""),
        ("model: {deadline: 30}", "30 is not a time", ""),
        ("rules:\n- {name: a, use: none, deadline: 2 s}", "line 2: rules[0].deadline", ""),
        ("callers: nobody", "callers", ""),
        ("targets:\n  my pacs: {ae: P, host: h}", "line 2: targets.my pacs: a name has", ""),
        ("targets:\n  12: {ae: P, host: h}", "line 2: targets.12", ""),
        (
            "targets:\n  a: {ae: A, host: h, port: 1}\n  b:\n    ae: B\n    host: h\n    port: x",
            "line 6: targets.b.port",
            "",
        ),
        ("targets:\n  a:\n    ae: A\n    host: h\n    seg: none", "line 5: targets.a.seg", ""),
        (
            "targets:\n  a:\n    ae: A\n    host: h\n    seg: auto\n    report: true",
            "line 6: targets.a.report: report: true requires seg: binary",
            "",
        ),
        ("node: {ae_title: 'a\\b'}", "an AE title has 1 to 16 plain characters", ""),
        ("node: {uid_root: '1.02'}", "write digits and dots", ""),
        (f"node: {{institution: {'x' * 65}}}", "at most 64 characters", ""),
        ("node: {institution: 'a\\b'}", "without a backslash", ""),
        ('node: {institution: "a\\nb"}', "in one line", ""),
        ("node:\n  port: 1\n  port: 2", "line 3: key 'port' stands here and in line 2", ""),
        ("node: {port: 0104}", "node.port", ""),
        ("node: {host: not a host}", "neither an address nor a host name", ""),
        ("callers:\n- {ae: A, host: 10.1.0.0/33}", "line 2: callers[0].host", ""),
        ("callers: [{ae: A, host: 10.1.0.300}]", "no address, network", ""),
        ("data: {database: foo}", "not a database URL", ""),
        ("data: {database: 'sqlite://'}", "not a database URL", ""),
        ("data: {database: 'sqlite:///:memory:'}", "not a database URL", ""),
        ("data: {dir: }", "data.dir: write a path", ""),
        ("data: {dir: ~nobody-of-this-name/x}", "no such user", ""),
        (f"model: {{memory: {'9' * 400} GiB}}", "is not a size", ""),
        ("page: {host: 0.0.0.0}", "page.host: outside of this machine", ""),
        ("page: {host: 0.0.0.0, users: u}", "page.certificate: passwords require TLS", ""),
        ("page: {host: 0.0.0.0, user_header: X-User}", "page.host", ""),
        ("page: {certificate: a.pem}", "page.certificate", ""),
        ("page: {user_header: X-User}", "page.user_header", ""),
        ("page: {user_header: 'X: y'}", "the name of an HTTP header", ""),
        ("page: {user_header: X-User, proxies: [pacs]}", "page.proxies[0]", ""),
        ("page: {users: u, user_header: X-User, proxies: [10.1.2.3]}", "page.users", ""),
        ("page: {host: not a host}", "page.host", ""),
        ("alerts: {webhook: 'file:///etc/passwd'}", "alerts.webhook", ""),
        ("alerts: {webhook: 'https://user@host/x'}", "alerts.webhook", ""),
        ("alerts: {digest_at: '24:00'}", "hours and minutes", ""),
        ("alerts: {digest_at: '07:00'}", "requires alerts.webhook", ""),
        ("node: [", "not valid YAML", ""),
        ("tls: {certificate: a, key: b}", "line 1: tls.certificate: certificate requires", ""),
        ("tls: {only: true}", "tls.only: only requires", ""),
        ("tls: {certificate: a, key: b, trust: c, port: 11112}", "tls.port: node.port", ""),
        ("targets: {a: {ae: A, host: h, tls: true}}", "targets.a.tls: tls: true requires", ""),
        ("targets: {a: {ae: A, host: h, certificate: A}}", "requires tls: true", ""),
        ("callers: [{ae: A, certificate: A}]", "callers[0].certificate: a certificate", ""),
        (f"callers: [{{ae: A, certificate: '{'a1' * 20}'}}]", "SHA-256", ""),
        ("node: !!python/object:os.system {}", "not valid YAML", ""),
    ],
)
def test_an_error_names_line_path_and_advice(text: str, message: str, advice: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load_text(text)
    assert message in caught.value.message
    assert advice in caught.value.advice


@pytest.mark.parametrize(
    "text",
    ["AB" * 32, ":".join(["Ab"] * 32), f"sha256 Fingerprint={':'.join(['AB'] * 32)}",
     f"SHA256:{'ab' * 32}"],
)  # fmt: skip
def test_a_fingerprint_may_be_written_as_openssl_prints_it(text: str) -> None:
    name = CertificateName.parse(text)
    assert name.is_fingerprint
    assert name.is_of("ab" * 32, [])
    assert not name.is_of("ac" * 32, ["ab" * 32])


def test_files_of_tls_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("tls: {certificate: a.pem, key: /b.key, trust: c/d}")
    tls = load(tmp_path / "node.yaml").tls
    assert (tls.certificate, tls.key) == (tmp_path / "a.pem", Path("/b.key"))
    assert tls.trust == tmp_path / "c" / "d"


@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "fe80::1%eth0", "pacs", "ct-01.hospital.org"])
def test_addresses_and_names_are_hosts(host: str) -> None:
    config = load_text(f"node: {{host: '{host}'}}\ncallers: [{{ae: A, host: '{host}'}}]")
    assert config.node.host == host


@pytest.mark.parametrize(
    "place", ["sqlite:////data/a.sqlite", "postgresql+psycopg://node@db:5432/segnode"]
)
def test_a_database_may_be_a_file_or_on_a_server(place: str) -> None:
    assert load_text(f"data: {{database: '{place}'}}").data.database == place


def test_an_empty_file_is_all_defaults() -> None:
    assert load_text("") == load_text("{}")


def test_the_template_shows_the_defaults_and_is_valid() -> None:
    shown, default = load_text(template()), Config()
    for section in ("complete", "limits", "page", "alerts"):
        assert getattr(shown, section) == getattr(default, section)
    assert shown.node == default.node
    assert shown.tls == default.tls
    assert shown.data.keep == default.data.keep
    assert shown.data.stop_accepting_below == default.data.stop_accepting_below
    for key in ("size", "deadline", "memory", "engine"):
        assert getattr(shown.model, key) == getattr(default.model, key)


def test_the_template_has_every_key() -> None:
    text = template()
    config = load_text(text)
    structs: list[msgspec.Struct] = [
        config,
        config.node,
        config.tls,
        config.data,
        config.data.keep,
        config.model,
        config.complete,
        config.page,
        config.alerts,
    ]
    structs += [config.limits, config.targets["pacs"], config.rules[0], config.rules[0].when]
    assert config.callers != "any"
    structs += [config.callers[0]]
    for struct in structs:
        for key in struct.__struct_fields__:
            assert f"{key}:" in text, f"{type(struct).__name__}.{key} is not in the template"


def test_a_rule_may_override_size_deadline_and_memory() -> None:
    rules = "rules:\n- {name: a, use: x, send_to: [pacs], size: auto, deadline: 2 s, memory: 1 GiB}"
    (rule,) = load_text(TARGETS + rules).rules
    assert (rule.size, rule.deadline, rule.memory) == ("auto", 2.0, 1 << 30)


def test_folders_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("data: {dir: here}\nmodel: {dir: /there}")
    config = load(tmp_path / "node.yaml")
    assert config.data.dir == tmp_path / "here"
    assert config.model.dir == Path("/there")


@pytest.mark.parametrize(
    "page",
    [
        "{host: 0.0.0.0, users: u, certificate: c, key: k}",
        "{host: 0.0.0.0, user_header: X-User, proxies: [10.1.2.3]}",
        "{host: '::1'}",
        "{host: localhost, users: u}",
        "{enabled: false, host: 0.0.0.0}",
    ],
)
def test_the_page_may_listen_elsewhere_only_with_users(page: str) -> None:
    assert load_text(f"page: {page}").page.port == 8080


def test_an_absent_file_has_advice_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="segnode init"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250 ms", 0.25), ("60 s", 60), ("5min", 300), ("48 h", 172800), ("2 d", 172800)],
)
def test_times_carry_their_unit(text: str, seconds: float) -> None:
    assert Seconds.parse(text) == seconds


def test_sizes_carry_their_unit() -> None:
    assert Bytes.parse("1.5 KiB") == 1536


@pytest.mark.parametrize(
    ("kind", "text", "inside", "outside"),
    [
        (Lengths, "0.5..5 mm", (0.5, 5), (0.4, 5.1)),
        (Range, ">= 40", (40, 1e9), (39,)),
        (Lengths, "<= 3 mm", (0, 3), (3.1,)),
        (Range, "2", (2,), (1.9, 2.1)),
        (Ages, "18..60 y", (18, 60), (17.9, 61)),
    ],
)
def test_ranges_include_their_ends(
    kind: type[Range], text: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    limits = kind.parse(text)
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


@pytest.mark.parametrize(
    ("kind", "written", "matching", "others"),
    [
        (Words, ["HEAD", "BRAIN"], ("HEAD", "brain", "HEAD AND NECK", "Head_Neck"),
         ("ABDOMEN", "KNEE", "FOREHEAD", "HEADNECK", "")),
        (Words, "head neck", ("HEAD^NECK", "head-neck"), ("HEAD", "NECK HEAD")),
        (Words, "MIP", ("CT_SOM5 MIP",), ("CT_SOM5 MIPX",)),
        (Texts, "t1", ("T1w MPRAGE", "sag_t1"), ("T2", "")),
        (Texts, "[a", ("x[A]",), ("a",)),
        (Texts, "a|b", ("A|B",), ("a", "b")),
        (Texts, "/^t1|flair$/", ("T1 sag", "ax FLAIR"), ("sag T1",)),
        (Texts, "straße", ("STRASSE",), ("strabe",)),
        (Texts, ["tra", "/^cor/"], ("T1 TRA", "cor t2"), ("sag", "t2 cor")),
    ],
)  # fmt: skip
def test_texts_are_no_regular_expressions(
    kind: type[Texts], written: object, matching: tuple[str, ...], others: tuple[str, ...]
) -> None:
    texts = kind.parse(written)
    assert [value for value in (*matching, *others) if texts.matches([value])] == list(matching)
