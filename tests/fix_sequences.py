"""Options of the tests of sequences: their number, and the seed that repeats them, which is printed at the end of the run."""

import os
import random

import pytest
from hypothesis import HealthCheck, Phase, settings

SEED, FACTOR = "RELEASE_BOT_SEED", "RELEASE_BOT_SEQUENCES_TIMES"


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once; the processes of pytest-xdist inherit it."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(10**9)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the seed of the sequences at the end of the run, if any ran."""
    all_reports = [
        report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "nodeid")
    ]
    if any(report.nodeid.startswith("tests/property/") for report in all_reports):
        terminalreporter.write_line(f"sequences: {SEED}={os.environ[SEED]} repeats them")


def chosen_seed() -> int:
    """The seed of this run."""
    return int(os.environ[SEED])


def sequences(number: int, steps: int) -> settings:
    """Settings for ``number`` sequences of at most ``steps`` steps; a nightly run multiplies the number."""
    return settings(
        max_examples=number * int(os.environ.get(FACTOR, "1")),
        stateful_step_count=steps,
        database=None,  # what a seed shows is the same on every machine
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),  # the limit of a run is its number of sequences
    )
