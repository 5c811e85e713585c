"""`segnode` and `python -m node`."""

import os
import sys

from node import commands


def main() -> None:
    """Run the command line and exit with its status."""
    # before numpy is imported, here and in every child process: the pipeline has its own threads
    # (`node.imaging.parallel`), and those of the matrix library would wait for each other
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    sys.exit(commands.main())


if __name__ == "__main__":
    main()
