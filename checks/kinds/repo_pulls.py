"""repo_pulls: the pull requests of a release, and commits that belong to none."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from checks.contract import Answer, Evidence, Kind, Outcome, Params
from checks.kit.release_range import release_range
from clients.needs import READ_CONTENTS, READ_PULLS, Need

if TYPE_CHECKING:
    from checks.contract import CheckContext

_MAX_NAMES = 20  # pull requests named in the summary; the evidence has all


class RepoPullsParams(Params):
    """None: the repository and the release say it."""


class RepoPulls(Kind):
    """Compares the release with the highest release tag below it. A commit that no pull request holds is named.

    INCONCLUSIVE when none of the commits belongs to a pull request: then the team works in another way.
    """

    name: ClassVar[str] = "repo_pulls"
    summary: ClassVar[str] = "Lists the pull requests of the release"
    params: ClassVar[type[Params]] = RepoPullsParams
    timeout: ClassVar[float] = 120.0

    def needs(self, params: RepoPullsParams) -> tuple[Need, ...]:
        """To read the commits and their pull requests."""
        return (READ_CONTENTS, READ_PULLS)

    def run(self, params: RepoPullsParams, ctx: CheckContext) -> Answer:
        """PASS with the list. Raises CheckError when the range cannot be told."""
        release = release_range(ctx)
        titles = "\n".join(f"#{pull.number} {pull.title}" for pull in release.pulls)
        evidence = Evidence(
            asked=f"commits from {release.since} to {ctx.subject.commit[:12]}, and the pull requests of each",
            expected="each commit belongs to a pull request",
            seen=f"{release.commits} commits, {len(release.pulls)} pull requests; without one: {', '.join(release.without) or 'none'}",
            attachment=titles,
            attachment_name="pull-requests.txt" if titles else "",
        )
        if release.commits and not release.pulls:
            summary = f"none of the {release.commits} commits since {release.since} belongs to a pull request"
            return Answer(Outcome.INCONCLUSIVE, summary, evidence, hint="Say in the release notes what is in it.")
        names = ", ".join(f"#{pull.number}" for pull in release.pulls[:_MAX_NAMES])
        more = f" and {len(release.pulls) - _MAX_NAMES} more" if len(release.pulls) > _MAX_NAMES else ""
        summary = f"{names}{more} since {release.since}" if release.pulls else f"nothing since {release.since}"
        if release.without:
            summary += f"; without one: {', '.join(release.without)}"
        return Answer(Outcome.PASS, summary, evidence)
