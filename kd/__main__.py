"""The command line of kd: `kd --help` lists the commands."""

import sys

try:
    from kd.commands import main
except ModuleNotFoundError as exc:
    if exc.name != "torch":
        raise
    sys.exit("kd requires torch, which is not installed.\n  pip install 'segnode[kd]'")

if __name__ == "__main__":
    sys.exit(main())
