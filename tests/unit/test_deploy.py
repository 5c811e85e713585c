"""What runs the node for good asks it the right question: is every loop alive?"""

import re
import shlex
from pathlib import Path

import yaml

from node.commands import parser

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIG = Path("/etc/segnode/node.yaml")


def test_the_container_is_healthy_only_while_all_loops_run() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (check,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)
    command, otherwise = check.split("||")  # Docker defines the statuses 0 and 1 only
    assert otherwise.split() == ["exit", "1"]
    asks_for_status(shlex.split(command))


def test_kubernetes_asks_the_same() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (pod,) = [d for d in yaml.safe_load_all(text) if d["kind"] == "StatefulSet"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    asks_for_status(container["livenessProbe"]["exec"]["command"])


def test_systemd_does_not_repeat_a_start_that_cannot_work() -> None:
    unit = (DEPLOY / "segnode.service").read_text(encoding="utf-8")
    assert "RestartPreventExitStatus=78" in unit


def asks_for_status(command: list[str]) -> None:
    assert command[0] == "segnode"
    chosen = parser().parse_args(command[1:])
    assert (chosen.command, chosen.config) == ("status", CONFIG)
