"""What is wrong where nobody could ever do what a policy asks."""

from __future__ import annotations

from bot.domain.staffing import Lack, Shortage

_SHORTAGES = {
    Lack.SIGN: "{subject.title} needs {people} to sign off, but slack.roles names {present}",
    Lack.APPROVE: "policy.min_approvers needs {people}, but slack.roles names {present}",
    Lack.ACT: "nobody has a role that may {subject}",
    Lack.FOUR_EYES: "four_eyes needs two people, one to approve and one to deploy, but there is only one",
    Lack.BREAK_GLASS: "it is allowed, but nobody has a role that may do it",
    Lack.REVIEW: "a second person must review it, but nobody else may",
}


def shortage_text(shortage: Shortage) -> str:
    """What is missing, as a clause without a full stop."""
    return _SHORTAGES[shortage.lack].format_map({**vars(shortage), "people": count_people(shortage.minimum)})


def count_people(number: int) -> str:
    """How many people have to do something, each another one."""
    return "one person" if number == 1 else f"{number} different people"
