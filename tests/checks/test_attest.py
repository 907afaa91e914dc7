"""attest: never passes by itself."""

import pytest

from checks.contract import Outcome
from checks.registry import Registry, RegistryError
from checks.target import Target
from tests.fix_checks import run


def test_stays_open():
    """The question is asked and stays INCONCLUSIVE; the hint says who can answer it."""
    answer = run("attest", {"question": "Is the runbook up to date?"}, Target(name="production")).answer

    assert (answer.outcome, answer.summary) == (Outcome.INCONCLUSIVE, "Is the runbook up to date?")
    assert "Attest" in answer.hint


def test_needs_a_question():
    """An empty question is refused when the checklist is loaded."""
    with pytest.raises(RegistryError, match="question"):
        Registry.load().validate("attest", {"question": ""})
