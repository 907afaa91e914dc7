"""The answers of checks that were not run: ERROR, why, and what to do about it (promise P2)."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.checklist import Check
from bot.domain.ids import CheckId
from checks.contract import Answer, Evidence, Outcome

_OUTCOMES = {
    None: "hasn't run",
    Outcome.FAIL: "failed",
    Outcome.ERROR: "couldn't be checked",
    Outcome.INCONCLUSIVE: "needs a person",
}
TERMINAL = "release-bot check "  # with the id of the check: the name of a run from a terminal


def not_run_answer(entry: Check, why: str, hint: str = "") -> Answer:
    """Return ERROR with the reason, and evidence that says that nobody was asked."""
    evidence = Evidence(entry.action or entry.title, entry.expected, "nothing: it was not run")
    return Answer(Outcome.ERROR, why, evidence, hint=hint)


def skipped_answer(entry: Check, need: CheckId, outcome: Outcome | None, *, then: str) -> Answer:
    """Return ERROR because the check ``need`` has not passed. ``then``: what happens once it does, for people."""
    why = f"skipped: {need} {_OUTCOMES.get(outcome, outcome)}"
    return not_run_answer(entry, why, f"Make {need} pass first; {then}.")


def blocked_answer(entry: Check, holders: Sequence[str]) -> Answer:
    """Return ERROR because ``holders``, runs that did not stop in time, still use a resource of this check."""
    names = ", ".join(holders)
    if set(holders) == {entry.id}:
        why = "not run: its last run didn't stop and still uses what it needs"
    else:
        why = f"not run: {names} didn't stop and still uses what this check needs"
    commands = [name for name in holders if name.startswith(TERMINAL)]
    what = f"End `{commands[0]}` at its terminal" if commands else "Restart the bot"
    return not_run_answer(entry, why, f"{what}: that ends {names} and puts back what it changed. Then run this again.")


def leftovers_answer(entry: Check, leftovers: Sequence[str]) -> Answer:
    """Return ERROR because changes of an earlier run could not be undone yet."""
    hint = "The bot tries again every few seconds. Once that system answers, run the check again."
    return not_run_answer(entry, f"not run: an earlier run hasn't put back yet: {', '.join(leftovers)}", hint)
