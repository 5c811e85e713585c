"""A configuration for commands that run in this process; the fixtures are in tests/conftest.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.support.orthanc import free_port

Run = Callable[..., tuple[int, str, str]]  # exit status, output, errors


def configure(path: Path, models: Path, **changes: Any) -> Path:
    sections: dict[str, Any] = {
        "node": {"host": "127.0.0.1", "port": free_port()},
        "data": {"dir": "data", "stop_accepting_below": "1 MiB"},
        "callers": "any",
        "page": {"port": free_port()},
        "targets": {"pacs": {"ae": "PEER", "host": "127.0.0.1", "port": free_port()}},
        "model": {"dir": str(models), "size": "small"},
        "rules": [
            {"name": "all", "when": {"modality": "MR"}, "use": "tiny-mr", "send_to": ["pacs"]}
        ],
    }
    path.write_text(yaml.safe_dump(sections | changes), encoding="utf-8")
    return path
