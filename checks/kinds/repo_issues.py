"""repo_issues: the issues that the release's pull requests say to close are closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from checks.contract import Answer, Evidence, Kind, Outcome, Params
from checks.kit.release_range import release_range
from clients.needs import READ_CONTENTS, READ_ISSUES, READ_PULLS, Need

if TYPE_CHECKING:
    from checks.contract import CheckContext


class RepoIssuesParams(Params):
    """None: the repository and the release say it."""


class RepoIssues(Kind):
    """Which issues belong to the release is told by the words for it in its pull requests, such as "closes #12".

    GitHub closes them by itself only when the pull request goes to the default branch. An issue that no pull request
    names is not seen.
    """

    name: ClassVar[str] = "repo_issues"
    summary: ClassVar[str] = "Issues that the release's pull requests say to close are closed"
    params: ClassVar[type[Params]] = RepoIssuesParams
    timeout: ClassVar[float] = 120.0

    def needs(self, params: RepoIssuesParams) -> tuple[Need, ...]:
        """To read the commits, their pull requests and the issues that these close."""
        return (READ_CONTENTS, READ_PULLS, READ_ISSUES)

    def run(self, params: RepoIssuesParams, ctx: CheckContext) -> Answer:
        """FAIL with those that are open. Raises CheckError when the range cannot be told."""
        release = release_range(ctx)
        numbers = sorted({number for pull in release.pulls for number in pull.closes})
        still_open = [number for number in numbers if not ctx.clients.github().is_closed(number)]
        names = ", ".join(f"#{number}" for number in numbers) or "none"
        evidence = Evidence(
            asked=f"issues that {len(release.pulls)} pull requests since {release.since} say to close: {names}",
            expected="all closed",
            seen=f"open: {', '.join(f'#{number}' for number in still_open) or 'none'}",
        )
        if still_open:
            summary = (
                f"{len(still_open)} of {len(numbers)} are open: {', '.join(f'#{number}' for number in still_open)}"
            )
            return Answer(Outcome.FAIL, summary, evidence, hint="Close them, or say in each issue why it stays open.")
        summary = f"{names}: closed" if numbers else f"no pull request since {release.since} names an issue to close"
        return Answer(Outcome.PASS, summary, evidence)
