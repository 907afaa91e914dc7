"""The three plays: a release from start to done, one that is taken back, one that stays blocked."""

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 120.0  # seconds; a play ends in under two minutes


@pytest.mark.parametrize(
    ("play", "seen"),
    [
        ("tour", "is in production and its watch is over"),
        ("rollback", "is rolled back, production runs what it ran before"),
        ("blocked", "is aborted, nothing was deployed"),
    ],
)
def test_a_play_ends_well(play: str, seen: str, tmp_path: Path) -> None:
    """It exits 0, prints what happened, breaks no limit of Slack, and the bot logs no warning."""
    arguments = ["demo", "--play", play, "--data-dir", str(tmp_path)]

    played = subprocess.run(
        [sys.executable, "-m", "bot", *arguments], capture_output=True, text=True, timeout=LIMIT, check=False
    )

    assert "The end." in played.stdout, played.stdout[-3000:] + played.stderr
    assert seen in played.stdout
    assert played.returncode == 0
    log = (tmp_path / "bot.log").read_text(encoding="utf-8")
    assert [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line] == []
