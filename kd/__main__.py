"""The commands of the laboratory: `kd --help` lists them."""

import sys

from kd.commands import main

if __name__ == "__main__":
    sys.exit(main())
