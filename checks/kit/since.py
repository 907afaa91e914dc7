"""What kinds that ask Sentry share: since when, in which environment and of which release."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field

from checks.contract import CheckError, Params
from clients.target import require

if TYPE_CHECKING:
    from checks.contract import CheckContext

THIS = "this"  # the release that the check is run for


class SinceParams(Params):
    """Since when, and where."""

    since: AwareDatetime | None = Field(default=None, description="Unset: since the deploy began.")
    environment: str = Field(default="", description="Empty: the target's own.")
    release: str = Field(
        default="", description='Only events of this release, "this": the one that is deployed; empty: all.'
    )

    def start(self, ctx: CheckContext) -> datetime:
        """The moment. Raises CheckError when nothing says when it was, as before a deploy."""
        moment = self.since or ctx.subject.deploy_began
        if moment is None:
            raise CheckError("the start of the period is unknown", hint="Set since, or run it after a deploy.")
        return moment

    def where(self, ctx: CheckContext) -> str:
        """The environment as Sentry calls it."""
        return self.environment or ctx.target.environment or ctx.target.name


def sentry_release(name: str, ctx: CheckContext) -> str:
    """The release as Sentry calls it: ``name``, or for ``this`` the one that the check is run for.

    Raises CheckError when there is none, as in a check from a terminal.
    """
    if name != THIS:
        return name
    part = require(ctx.target.sentry, ctx.target, "sentry")
    if not ctx.subject.version:
        raise CheckError("there is no release for `release: this`", hint="Name the release, or run it in one.")
    return part.release_prefix + ctx.subject.version.removeprefix("v")
