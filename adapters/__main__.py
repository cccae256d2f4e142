"""`python -m adapters`: the same as `taskswap`."""

import sys

from adapters.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
