"""The board of `release-bot check`: drawn over on a terminal, plain lines elsewhere."""

import io
import threading

import pytest

from bot.cli.board import Board, in_full
from bot.domain.results import RunState
from bot.flows.local_run import CheckProgress
from checks.contract import Answer, Evidence, Outcome
from tests.unit.factories import make_check

ENTRIES = tuple(make_check(f"go.number_{number}") for number in range(1, 6))
BAD = Answer(
    Outcome.FAIL,
    "two rows are not PASS",
    Evidence("SELECT 1", "all PASS", "1 FAIL\n1 WARN", attachment="a | b", attachment_name="rows.txt"),
    hint="Look at the rows.",
)


@pytest.fixture(autouse=True)
def _size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")


def visible_lines(out: io.StringIO) -> list[str]:
    """The lines on the terminal after all drawing."""
    lines: list[str] = []
    for part in out.getvalue().split("\x1b[J"):
        text, _, up = part.partition("\x1b[")
        lines += text.splitlines()
        if up:
            del lines[len(lines) - int(up.removesuffix("F")) :]
    return lines


def test_the_board_is_redrawn_in_place_on_a_terminal() -> None:
    """Each check has one line that changes and fits the terminal; the finished table stays."""
    out, cancelled = io.StringIO(), threading.Event()
    board = Board(ENTRIES, out, live=True, cancelled=cancelled)
    board.tick()
    assert [line.split()[:3] for line in visible_lines(out)][:2] == [
        ["·", "waiting", "go.number_1"],
        ["·", "waiting", "go.number_2"],
    ]
    assert visible_lines(out)[-1] == "0 of 5 done. Press Ctrl-C to stop."
    for entry in ENTRIES:
        board.tell(entry, CheckProgress(RunState.IDLE, start=1.0, answer=BAD, seconds=1.25))
    board.finish()
    assert len(visible_lines(out)) == len(ENTRIES)
    assert visible_lines(out)[0] == "✗ FAIL         go.number_1    1.2 s  two rows are not PASS"
    board.tell(ENTRIES[0], CheckProgress(RunState.RUNNING, start=1.0, line="x" * 100))
    cancelled.set()
    board.finish()
    assert {len(line) <= 60 for line in visible_lines(out)} == {True}


def test_a_small_terminal_shows_only_running_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal with too few lines only running checks are shown, so that no line scrolls away."""
    monkeypatch.setenv("LINES", "5")
    out, cancelled = io.StringIO(), threading.Event()
    board = Board(ENTRIES, out, live=True, cancelled=cancelled)
    board.tell(ENTRIES[3], CheckProgress(RunState.RUNNING, start=1.0, line="looks at pods"))
    cancelled.set()
    board.tick()
    (line, foot) = visible_lines(out)
    assert line.startswith("… running      go.number_4")
    assert foot.startswith("Stopping once every change is put back.")


def test_without_a_terminal_each_answer_is_one_line() -> None:
    """Without a terminal each answer is printed once and in full, and nothing is printed for running checks."""
    out = io.StringIO()
    board = Board(ENTRIES, out, live=False, cancelled=threading.Event())
    board.tick()
    board.tell(ENTRIES[0], CheckProgress(RunState.RUNNING, start=1.0, line="asks"))
    board.tell(ENTRIES[0], CheckProgress(RunState.IDLE, start=1.0, answer=BAD, seconds=1.25))
    board.finish()
    assert out.getvalue() == "✗ FAIL         go.number_1    1.2 s  two rows are not PASS\n"


def test_a_check_in_full_shows_its_evidence() -> None:
    """A check in full shows what was asked, expected and seen, its attachment and its hint."""
    assert list(in_full(ENTRIES[0], CheckProgress(RunState.IDLE, start=1.0, answer=BAD, seconds=1.25))) == [
        "✗ FAIL  go.number_1  Check of go.number_1  (1.2 s on staging)",
        "  two rows are not PASS",
        "  asked     SELECT 1",
        "  expected  all PASS",
        "  seen      1 FAIL",
        "            1 WARN",
        "  rows.txt:",
        "    a | b",
        "  to do     Look at the rows.",
    ]
