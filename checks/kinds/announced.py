"""announced: the message in which the bot announces the release stands in the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params

if TYPE_CHECKING:
    from checks.contract import CheckContext


class AnnouncedParams(Params):
    """None: the release has one announcement."""


class Announced(Kind):
    """Answered in a release, after its end: the bot announces it by itself, and knows where its message stands.

    It is asked again when that message is posted or found gone, and by **Run again**, which also has Slack asked; one that is gone
    is posted anew. Only for lines after the deploy.
    """

    name: ClassVar[str] = "announced"
    summary: ClassVar[str] = "The bot announced the release in the channel"
    params: ClassVar[type[Params]] = AnnouncedParams
    timeout: ClassVar[float] = 5.0

    def run(self, params: AnnouncedParams, ctx: CheckContext) -> Answer:
        """FAIL while it is not there. Raises CheckError without a release."""
        version, where = ctx.subject.version, ctx.subject.announced
        if not version:
            raise CheckError("there is no release to announce", hint="Start one; the bot announces it when it is done.")
        evidence = Evidence(
            asked=f"the bot's message about {version} in the channel",
            expected="posted",
            seen=where or "it is not there",
        )
        if not where:
            hint = "The bot posts it. If it doesn't, `/release doctor` says why."
            return Answer(Outcome.FAIL, f"the announcement of {version} is not in the channel", evidence, hint=hint)
        return Answer(Outcome.PASS, f"posted: {where}", evidence)
