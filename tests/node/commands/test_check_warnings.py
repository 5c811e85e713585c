"""`segnode check` prints warnings with line, code and advice; `--strict` fails because of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from node import measured
from node.config import load
from node.engines import ONNXRUNTIME
from node.measured import Measurement
from node.package import load as load_package
from tests.support.commanding import Run, configure
from tests.support.targets import scripted_target

RULE = {"name": "all", "use": "tiny-mr", "send_to": ["pacs"]}


def warnings(printed: str) -> list[tuple[str, str, int]]:
    return [
        (one["code"], one["subject"], one["line"]) for one in json.loads(printed) if one["code"]
    ]


def rule(**changes: Any) -> dict[str, Any]:
    return {"rules": [RULE | changes]}


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        (rule(when={"modality": "CT"}), "contradicts-package", "rules[0].when.modality"),
        (rule(when={"slices": "<= 2"}), "contradicts-package", "rules[0].when.slices"),
        (rule(when={"slice_spacing": ">= 90 mm"}), "contradicts-package",
         "rules[0].when.slice_spacing"),
        (rule(size="small", step_down_above=3), "no-effect", "rules[0].step_down_above"),
        (rule(send_to=["pacs", "pacs"]), "listed-twice", "rules[0].send_to"),
    ],
)  # fmt: skip
def test_a_warning_has_code_path_and_line(
    run: Run, tmp_path: Path, tiny_models: Path, changes: dict[str, Any], code: str, path: str
) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, **changes)
    _, printed, _ = run("check", "--config", file, "--json")
    ((printed_code, printed_path, line),) = warnings(printed)
    assert (printed_code, printed_path) == (code, path)
    key = path.rpartition(".")[2]
    assert f"{key}:" in file.read_text(encoding="utf-8").splitlines()[line - 1]


def test_strict_fails_because_of_a_warning(run: Run, tmp_path: Path, tiny_models: Path) -> None:
    with scripted_target() as peer:
        targets = {"pacs": {"ae": "PEER", "host": "127.0.0.1", "port": peer.port}}
        complete = {"quiet": "0 s", "settle": "0 s"}
        file = configure(tmp_path / "a.yaml", tiny_models, targets=targets, complete=complete)
        status, printed, _ = run("check", "--config", file)
        assert status == 0, printed
        assert "warn  complete.quiet (line " in printed
        assert "[short-time]" in printed
        assert run("check", "--config", file, "--strict")[0] == 1


def test_a_deadline_is_compared_with_what_was_measured_here(
    run: Run, tmp_path: Path, tiny_models: Path
) -> None:
    file = configure(tmp_path / "a.yaml", tiny_models, **rule(size="auto", deadline="2 s"))
    data, host = load(file).data, measured.this_host(0)
    digest = load_package(tiny_models / "tiny-mr/1.0").digest
    one = Measurement(
        digest=digest, package="tiny-mr/1.0", size="small", engine=ONNXRUNTIME,
        version=host.versions[ONNXRUNTIME], cpu=host.cpu, threads=host.threads, at=0.0, seconds=3.0,
    )  # fmt: skip
    measured.write(data, one)
    _, printed, _ = run("check", "--config", file, "--json")
    assert [(code, key_path) for code, key_path, _ in warnings(printed)] == [
        ("impossible-deadline", "rules[0].deadline")
    ]
