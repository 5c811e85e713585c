"""`segnode` and `python -m node`."""

import sys

from node import commands


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(commands.main())


if __name__ == "__main__":
    main()
