"""repo_file: a file of the repository names the version that is released."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from clients.needs import READ_CONTENTS, Need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.contract import CheckContext


class RepoFileParams(Params):
    """Which file, and what it must say."""

    path: str = Field(min_length=1, description="Path in the repository; case-sensitive.")
    text: str = Field(
        min_length=1,
        description="What one line must hold; `{version}` is v1.2.3, `{bare}` 1.2.3. Case-insensitive.",
    )


class RepoFile(Kind):
    """Looks at the default branch, since such files are brought up to date after the release too."""

    name: ClassVar[str] = "repo_file"
    summary: ClassVar[str] = "A file on the default branch names the version that is released"
    params: ClassVar[type[Params]] = RepoFileParams
    example: ClassVar[Mapping[str, Any]] = {"path": "claude.md", "text": "Status: V{bare}"}
    timeout: ClassVar[float] = 30.0

    def needs(self, params: RepoFileParams) -> tuple[Need, ...]:
        """To read the file."""
        return (READ_CONTENTS,)

    def run(self, params: RepoFileParams, ctx: CheckContext) -> Answer:
        """FAIL when the file is not there or says something else. Raises CheckError without a release."""
        version = ctx.subject.version
        content = ctx.clients.github().file(params.path)
        if not version:
            raise CheckError("there is no release to check", hint="Run it in a release.")
        pattern = _fill(params.text, re.escape(version), re.escape(version.removeprefix("v")))
        expected_text = params.text.replace("{version}", version).replace("{bare}", version.removeprefix("v"))
        evidence = Evidence(f"{params.path} on the default branch", f"a line with {expected_text}", "no such file")
        if content is None:
            return Answer(
                Outcome.FAIL, f"there is no {params.path}", evidence, hint="Add it, or fix its path in the checklist."
            )
        # A longer version must not pass for a shorter one: 4.8.0 is not in 14.8.0, 4.8.01 or 4.8.0-rc1.
        exact = re.compile(rf"(?<![\w.]){pattern}(?![\w]|[.-]\w)", re.IGNORECASE)
        alike = re.compile(_fill(params.text, r"v?\d[\w.-]*", r"\d[\w.-]*"), re.IGNORECASE)
        lines = content.decode(errors="replace").splitlines()
        good = next((line.strip() for line in lines if exact.search(line)), None)
        if good is not None:
            return Answer(
                Outcome.PASS,
                f"{params.path} contains {expected_text}",
                Evidence(evidence.asked, evidence.expected, good),
            )
        other = next((line.strip() for line in lines if alike.search(line)), "")
        details = other or f"{len(lines)} lines, none similar"
        summary = f"{params.path} doesn't contain {expected_text}" + (f", but: {other}" if other else "")
        hint = "Fix it on the default branch, then run this again."
        return Answer(Outcome.FAIL, summary, Evidence(evidence.asked, evidence.expected, details), hint=hint)


def _fill(text: str, version: str, bare: str) -> str:
    """The text as a regular expression with the two placeholders filled in."""
    return re.escape(text).replace(re.escape("{version}"), version).replace(re.escape("{bare}"), bare)
