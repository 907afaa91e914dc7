"""DeployFindings: what was found out, outside of the database, shortly before a deploy is judged; part of the gate's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from bot.domain.ids import ReleaseId
    from bot.domain.plan import PlanDifference


@dataclass(frozen=True)
class ChannelAccess:
    """What Slack says about the channel of a release: whether the bot may work there, and who else reads it."""

    refusal: str = ""  # why nothing may begin there, as the beginning of a sentence; empty: it may
    hint: str = ""  # what to do about the refusal
    warning: str = ""  # what people should know about who reads the channel; empty: nothing


@dataclass(frozen=True)
class DeployFindings:
    """What Slack, GitHub, the registry and the target said about a deploy, before the transaction that judges it."""

    release_id: ReleaseId
    fingerprint: str  # of the release that was looked at: ``confirmed_at`` counts for no other
    channel: ChannelAccess
    confirmed_at: datetime | None = None  # when its version still meant its commit and image; None: nobody asked
    plan_changes: tuple[PlanDifference, ...] = ()  # how the plan differs from the one that people saw
