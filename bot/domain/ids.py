"""Ids as distinct types, and Version: vX.Y.Z as people type it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

ReleaseId = NewType("ReleaseId", int)
CheckId = NewType("CheckId", str)  # as in the checklist: go.stripe_webhook
StepId = NewType("StepId", str)  # as in the checklist: deploy.backend
UserId = NewType("UserId", str)  # Slack's U… or W…; "system" for the bot itself

SYSTEM = UserId("system")

_VERSION = re.compile(r"v(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})(?:-rc(0|[1-9]\d{0,3}))?", re.ASCII)

_NO_CANDIDATE = 10_000  # sorts a release after all of its candidates


@dataclass(frozen=True, order=True)
class Version:
    """A release version, ordered; a release candidate comes before its release."""

    major: int
    minor: int
    patch: int
    candidate: int = _NO_CANDIDATE  # the number of an rc; the release itself sorts after all of them

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Return the version that ``text`` spells (``v4.8.0``, ``v4.8.0-rc1``), or None when it spells none."""
        match = _VERSION.fullmatch(text)
        if match is None:
            return None
        major, minor, patch, candidate = match.groups()
        return cls(int(major), int(minor), int(patch), _NO_CANDIDATE if candidate is None else int(candidate))

    def __str__(self) -> str:
        suffix = "" if self.candidate == _NO_CANDIDATE else f"-rc{self.candidate}"
        return f"v{self.major}.{self.minor}.{self.patch}{suffix}"

    @property
    def plain(self) -> bool:
        """Whether it is a release and no candidate."""
        return self.candidate == _NO_CANDIDATE

    @property
    def bare(self) -> str:
        """The version without its v, as in a Sentry release or an application setting."""
        return str(self)[1:]
