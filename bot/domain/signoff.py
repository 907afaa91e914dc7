"""SignOff: a recorded yes or no of one Actor in one Role, and the fingerprint of exactly what it is for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from bot.domain.model import digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from bot.domain.ids import UserId
    from bot.domain.policy import Role
    from bot.domain.release import Release
    from bot.domain.results import Waiver


class Verdict(StrEnum):
    """Yes or no."""

    APPROVE = "approve"
    DECLINE = "decline"


class Purpose(StrEnum):
    """What the signature is for."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class Void(StrEnum):
    """Why a signature counts no more, though nobody took it back."""

    CHANGED = "changed"  # what was signed
    OLD = "old"
    ROLE = "role"  # the approver no longer has the role


@dataclass(frozen=True)
class SignOff:
    """One signature as recorded. ``permalink`` is of the message that was signed."""

    id: int
    role: Role
    by: UserId
    verdict: Verdict
    purpose: Purpose
    reason: str
    fingerprint: str
    at: datetime
    permalink: str = ""


def fingerprint(release: Release, waivers: Sequence[Waiver]) -> str:
    """What a sign-off is bound to (promise P4): version, commit, digest, checklist, policy and waivers; sha256 in hex."""
    return digest_of(
        {
            "version": release.version,
            "commit": release.commit,
            "image": release.pinned_image,
            "checklist": release.checklist_digest,
            "policy": release.policy_digest,
            "waivers": sorted(
                [waiver.check, waiver.by, hashlib.sha256(waiver.reason.encode()).hexdigest()] for waiver in waivers
            ),
        }
    )
