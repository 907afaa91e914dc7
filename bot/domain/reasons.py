"""Reasons: why the gate is closed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why the gate is closed; the word that tests and audit rows use."""

    STATE = "state"
    CHANNEL = "channel"
    SOURCE = "source"
    FREEZE = "freeze"
    MITIGATION = "mitigation"
    KNOWN_BAD = "known_bad"
    CHECK = "check"
    SIGNOFF_MISSING = "signoff_missing"
    SIGNOFF_DECLINED = "signoff_declined"
    SIGNOFF_VOID = "signoff_void"
    PEOPLE = "people"
    FOUR_EYES = "four_eyes"
    PLAN = "plan"


@dataclass(frozen=True)
class Reason:
    """One reason against it, with the check, role or freeze that it is about."""

    cause: Cause
    about: str
    text: str
