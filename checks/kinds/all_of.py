"""all_of: a line that stands for others: it passes when every check that it needs has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params

if TYPE_CHECKING:
    from checks.contract import CheckContext


class AllOfParams(Params):
    """None: the checks are named under ``needs``."""


class AllOf(Kind):
    """Asks nothing itself. It is run only when all checks under ``needs`` have passed, and again when one of them is."""

    name: ClassVar[str] = "all_of"
    summary: ClassVar[str] = "Passes when every check under its needs has passed"
    params: ClassVar[type[Params]] = AllOfParams
    timeout: ClassVar[float] = 5.0

    def run(self, params: AllOfParams, ctx: CheckContext) -> Answer:
        """Always PASS with the names. Raises CheckError when it needs none: then it would say nothing."""
        if not ctx.needs:
            raise CheckError("needs names no check", hint=f"Set needs of {ctx.check} in the checklist.")
        names = ", ".join(ctx.needs)
        return Answer(
            Outcome.PASS,
            f"{len(ctx.needs)} of {len(ctx.needs)} passed: {names}",
            Evidence(asked=f"the results of {names}", expected="each passed", seen="each passed"),
        )
