"""all_of: a line that stands for others."""

from checks.contract import Outcome
from clients.target import Target
from tests.fix_checks import run


def test_it_passes_with_the_names():
    """The bot runs it only when all that it needs has passed."""
    answer = run("all_of", {}, Target(name="production"), needs={"a.one": {}, "a.two": {}}).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "2 of 2 passed: a.one, a.two")


def test_of_nothing_is_no_pass():
    """A line that stands for no other says nothing: ERROR."""
    assert run("all_of", {}, Target(name="production")).outcome is Outcome.ERROR
