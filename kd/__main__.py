"""The commands of the laboratory: `kd --help` lists them."""

import sys

try:
    from kd.commands import main
except ModuleNotFoundError as exc:
    if exc.name != "torch":
        raise
    sys.exit(
        "kd: the laboratory computes with torch, which the node does without.\n"
        "  pip install 'segnode[kd]'"
    )

if __name__ == "__main__":
    sys.exit(main())
