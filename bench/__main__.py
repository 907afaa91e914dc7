"""python -m bench [NAME …]: run the measurements and print what was measured beside what is promised; exits 1 on a miss."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from bench.figure import Figure

NAMES = ("whole_run", "slack_calls", "ack", "recovery", "queries", "process")


def main() -> int:
    """Run what was asked for, default all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    figures: list[Figure] = []
    for name in names:
        print(f"\n{name}: {(importlib.import_module(f'bench.{name}').__doc__ or '').splitlines()[0]}", flush=True)
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            results: list[Figure] = importlib.import_module(f"bench.{name}").measure(Path(folder))
        for figure in results:
            print(figure, flush=True)
        figures += results
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
