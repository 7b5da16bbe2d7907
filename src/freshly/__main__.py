"""`python -m freshly`, and the `freshly` command."""

import os

from freshly import cli

PRIVATE = 0o077  # files of this process are for its user only


def main() -> int:
    os.umask(PRIVATE)
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())
