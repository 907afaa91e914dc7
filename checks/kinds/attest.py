"""attest: a question that only a person can answer. Stays open until somebody attests it by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from checks.contract import Answer, Evidence, Kind, Outcome, Params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.contract import CheckContext


class AttestParams(Params):
    """What the person is asked."""

    question: str = Field(
        default="", description="One sentence that can be answered with yes; empty: the title of the check."
    )


class Attest(Kind):
    """Has nothing to ask a server: the answer is a person's, recorded beside the check."""

    name: ClassVar[str] = "attest"
    summary: ClassVar[str] = "Waits for a person to confirm something by name"
    params: ClassVar[type[Params]] = AttestParams
    example: ClassVar[Mapping[str, Any]] = {"question": "Is it done?"}
    timeout: ClassVar[float] = 5.0

    def run(self, params: AttestParams, ctx: CheckContext) -> Answer:
        """Always INCONCLUSIVE: no program can know it."""
        return Answer(
            Outcome.INCONCLUSIVE,
            params.question or "waiting for a person to confirm",
            Evidence(asked=f"a person, about {ctx.target.name}", expected="yes, with a note", seen="no answer yet"),
            hint="Check by hand, then press Attest.",
        )
