"""The accepted configuration: what a process follows, and which changes need a restart."""

from pathlib import Path

import pytest

from node.config import (
    Accepted,
    Config,
    RunningConfig,
    accept,
    accepted_in,
    changed_keys,
    in_use,
    load_text,
    needs_restart,
)
from node.errors import BadPackage, Misconfigured

BEFORE = """
data: {dir: data}
targets:
  pacs: {ae: PACS, host: 10.0.0.9}
  old: {ae: OLD, host: 10.0.0.8}
rules:
  - {name: head, when: {slices: ">= 16", description: t1}, use: brain-mr, send_to: [pacs]}
"""


def text_with(old: str, new: str) -> str:
    assert old in BEFORE
    return BEFORE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("16", "16", []),
        ("16", "20", [("rules",)]),
        ("t1", "t2", [("rules",)]),
        ("host: 10.0.0.9", "host: 10.0.0.7", [("targets", "pacs")]),
        ("  old: {ae: OLD, host: 10.0.0.8}\n", "", [("targets", "old")]),
        ("data: {", "node: {port: 104}\ndata: {", [("node", "port")]),
        ("dir: data", "dir: data, keep: {sources: 1 h}", [("data", "keep")]),
        ("data: {", "callers: any\ndata: {", [("callers",)]),
    ],
)
def test_changed_keys_are_named(old: str, new: str, keys: list[tuple[str, ...]]) -> None:
    assert changed_keys(load_text(BEFORE), load_text(text_with(old, new))) == keys


def test_places_and_tls_need_a_restart_and_rules_do_not() -> None:
    fixed = [("node", "port"), ("data", "dir"), ("tls", "only"), ("tls",)]
    assert all(needs_restart(key) for key in fixed)
    assert not any(needs_restart(key) for key in [("rules",), ("node", "institution"), ("page",)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    accept(tmp_path / "data", accepted(tmp_path, BEFORE))
    return tmp_path / "data"


def accepted(folder: Path, text: str) -> Accepted:
    return Accepted(text=text, file=str(folder / "node.yaml"), at=1.0, by="os:anna")


def test_a_process_follows_what_is_accepted(data: Path) -> None:
    running = RunningConfig.of_node(data, "sender")
    assert not running.follow()
    later = accepted(data.parent, text_with("10.0.0.9", "10.0.0.7"))
    accept(data, later)
    assert running.config.targets["pacs"].host == "10.0.0.9"  # until it follows
    assert running.follow()
    assert running.config.targets["pacs"].host == "10.0.0.7"
    assert running.config.data.dir == data  # relative to the file, wherever the process runs
    assert in_use(data)["sender"].digest == later.digest
    assert not running.follow()


def test_a_process_that_cannot_prepare_goes_on_with_the_earlier_one(data: Path) -> None:
    running = RunningConfig.of_node(data, "housekeeping")
    first = in_use(data)["housekeeping"]
    accept(data, accepted(data.parent, text_with("brain-mr", "none")))

    def fails(_: Config) -> None:
        message = "altered"
        raise BadPackage(message)

    assert not running.follow(fails)
    assert running.config.rules[0].use == "brain-mr"
    assert in_use(data)["housekeeping"] == first
    assert not running.follow()  # until another one is accepted
    accept(data, accepted(data.parent, text_with("t1", "t2")))
    assert running.follow()


def test_a_loop_started_by_hand_keeps_its_file_until_another_is_accepted(data: Path) -> None:
    own = load_text(text_with("OLD", "NEW"), base=data.parent)
    running = RunningConfig(own, "listener", "0123456789ab")
    assert not running.follow()
    assert in_use(data)["listener"].digest == "0123456789ab"
    accept(data, accepted(data.parent, BEFORE + "\n"))
    assert running.follow()
    assert running.config.targets["old"].ae == "OLD"


def test_without_an_accepted_configuration_a_process_of_the_node_does_not_start(
    data: Path,
) -> None:
    (data / "configuration" / "accepted.json").write_bytes(b"{")
    assert accepted_in(data) is None
    with pytest.raises(Misconfigured, match=r"accepted\.json cannot be read"):
        RunningConfig.of_node(data, "sender")
