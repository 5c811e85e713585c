"""Health checks of container, systemd and Kubernetes: does every loop run?"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from node.commands import parser

DEPLOY = Path(__file__).parents[3] / "deploy"
CONFIG = Path("/etc/segnode/node.yaml")


def test_the_container_is_healthy_only_while_all_loops_run() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (check,) = re.findall(r"^HEALTHCHECK .* CMD (.*)$", text, re.MULTILINE)
    command, otherwise = check.split("||")  # Docker defines the statuses 0 and 1 only
    assert otherwise.split() == ["exit", "1"]
    asks_for_status(shlex.split(command))


@pytest.mark.parametrize("file", ["Dockerfile", "../Makefile"])
def test_everything_that_is_installed_has_hashes(file: str) -> None:
    """Except torch, whose CPU build has no hash that holds everywhere, and this repository."""
    text = (DEPLOY / file).read_text(encoding="utf-8").replace("\\\n", " ")
    commands = re.findall(r"(?:pip|PIP\)|--quiet) (.*--requirement \S+)", text)
    assert commands
    for command in commands:
        is_locked = "LOCKED" in command or "--require-hashes" in command
        assert is_locked or command.endswith("/torch.txt"), command
        assert "--only-binary" in text.partition("LOCKED")[2]
    for command in re.findall(r"install (.*--no-deps.* \.)$", text, re.MULTILINE):
        assert "--no-build-isolation" in command


@pytest.mark.parametrize(
    ("base", "is_built"),
    [("python:3.11-slim", False), ("", False), (f"python@sha256:{'0' * 64}", True)],
)
def test_the_container_is_built_from_a_base_with_a_digest_only(base: str, is_built: bool) -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    assert "\nARG BASE\nFROM ${BASE} AS build\nARG BASE\nRUN case" in text
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    (check,) = re.findall(r"^RUN (case .*esac)$", text, re.MULTILINE)
    done = subprocess.run(["sh", "-c", check], env={"BASE": base}, capture_output=True, check=False)
    assert (done.returncode == 0) == is_built
    assert is_built or b"digest" in done.stderr


def test_compose_names_the_base_too() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services["node"]["build"]["args"]["BASE"].startswith("${BASE:?")


def test_kubernetes_probes_the_same_status() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (pod,) = [d for d in yaml.safe_load_all(text) if d["kind"] == "StatefulSet"]
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    asks_for_status(container["livenessProbe"]["exec"]["command"])


def test_systemd_does_not_restart_after_78() -> None:
    unit = (DEPLOY / "segnode.service").read_text(encoding="utf-8")
    assert "RestartPreventExitStatus=78" in unit
    # that is of the main process alone: what fails before it is repeated for ever
    assert not [line for line in unit.splitlines() if line.startswith("ExecStartPre")]


def test_a_kubernetes_service_preserves_the_address_of_the_sender() -> None:
    """`callers` names hosts: the address of a sender must survive the load balancer."""
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    (service,) = [d for d in yaml.safe_load_all(text) if d["kind"] == "Service"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["externalTrafficPolicy"] == "Local"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("compose.yaml", "data:/var/lib/segnode"),
        ("kubernetes.yaml", "mountPath: /var/lib/segnode"),
        ("segnode.service", "StateDirectory=segnode"),  # below /var/lib, as systemd has it
    ],
)
def test_writable_folders_are_those_of_the_guide(file: str, line: str) -> None:
    guide = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^ *(segnode init .*)$", guide, re.MULTILINE)
    chosen = parser().parse_args(shlex.split(command)[1:])
    assert chosen.file == CONFIG
    assert chosen.data == Path("/var/lib/segnode")
    assert line in (DEPLOY / file).read_text(encoding="utf-8")
    assert str(chosen.models) in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def asks_for_status(command: list[str]) -> None:
    assert command[0] == "segnode"
    chosen = parser().parse_args(command[1:])
    assert (chosen.command, chosen.config) == ("status", CONFIG)
    assert chosen.loops, "a restart does not cure a target that refuses"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_as_safe_as_the_guide_says() -> None:
    unit = str(DEPLOY / "segnode.service")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    match = re.search(r"exposure level for segnode.service: ([\d.]+)", done.stdout)
    if match is None:
        pytest.skip("this systemd rates no file")
    guide = (DEPLOY / "README.md").read_text(encoding="utf-8")
    promised = re.search(r"rates the unit ([\d.]+)", guide)
    assert promised is not None
    assert float(match[1]) <= float(promised[1])


def test_containers_have_limits_and_bounded_logs() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for service in services.values():
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    node = services["node"]
    assert node["ulimits"]["core"] == 0
    assert node["read_only"]
    assert all(node[limit] for limit in ("cpus", "mem_limit", "pids_limit"))
