"""all_of: a line that stands for others."""

from checks.contract import Outcome
from clients.target import Target
from tests.fix_checks import run


def test_all_of_passes_with_the_names_of_its_checks():
    """The kind runs only if all needed checks have passed, and then passes with their names."""
    answer = run("all_of", {}, Target(name="production"), needs={"a.one": {}, "a.two": {}}).answer

    assert (answer.outcome, answer.summary) == (Outcome.PASS, "2 of 2 passed: a.one, a.two")


def test_all_of_nothing_is_an_error():
    """A line that needs no other check is an ERROR."""
    assert run("all_of", {}, Target(name="production")).outcome is Outcome.ERROR
