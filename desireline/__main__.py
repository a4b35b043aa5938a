"""`desireline` and `python -m desireline`."""

import sys

from desireline import neighbours


def main() -> int:
    """Run the command line; the exit code is 0 done, 1 failed, 2 usage, 3 a check did not hold."""
    if taken := neighbours.strangers():
        print(f"desireline: {taken}", file=sys.stderr)
        return 1
    try:
        # only now: what follows imports the packages that were just looked at
        from desireline.cli.app import run

        return run(sys.argv[1:])
    except KeyboardInterrupt:  # Ctrl-C while it is still being read
        return 130


if __name__ == "__main__":
    sys.exit(main())
