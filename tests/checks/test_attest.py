"""attest: never passes by itself."""

from checks.contract import Outcome
from clients.target import Target
from tests.fix_checks import run


def test_attest_stays_open():
    """The kind asks its question and stays INCONCLUSIVE; the hint says who can answer."""
    answer = run("attest", {"question": "Is the runbook up to date?"}, Target(name="production")).answer

    assert (answer.outcome, answer.summary) == (Outcome.INCONCLUSIVE, "Is the runbook up to date?")
    assert "Attest" in answer.hint


def test_question_may_be_the_title():
    """Without a question of its own the title of the check is the question, and the summary says so."""
    assert run("attest", {}, Target(name="production")).answer.summary == "waiting for a person to confirm"
