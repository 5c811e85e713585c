"""Blocks of `docs/explanation/architecture.md` that are generated from the code.

`python -m tests.support.diagrams` writes them; a test compares them.
"""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from node.states import TRANSITIONS, State, Transition

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/architecture.md"


def states() -> str:
    """Return the state diagram of a job as mermaid: one arrow per pair of states."""
    arrows: dict[tuple[State, State], list[Transition]] = {}
    for (state, transition), end in TRANSITIONS.items():
        arrows.setdefault((state, end), []).append(transition)
    lines = [f"    [*] --> {State.QUEUED.value}"]
    lines += [
        f"    {state.value} --> {end.value} : {', '.join(name.value for name in names)}"
        for (state, end), names in arrows.items()
    ]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def layers() -> str:
    """Return the layers of both programs from the import-linter contracts, top first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = []
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract["type"] == "layers":
            lines += [*contract["containers"], *(f"  {layer}" for layer in contract["layers"])]
    return "\n".join(["```", *lines, "```"])


BLOCKS: dict[str, Callable[[], str]] = {"layers": layers, "states": states}


def replaced(text: str) -> str:
    """Return the text of the page with every block generated anew."""
    for name, block in BLOCKS.items():
        pattern = rf"(?s)(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)"
        new = block().replace("\\", "\\\\")
        text, count = re.subn(pattern, rf"\g<1>{new}\n\g<2>", text)
        assert count == 1, f"{PAGE.name} needs one pair of markers for {name}"
    return text


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
