"""Checkup of the product's addresses: does a server answer there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.checkup.finding import PATIENCE, Finding, State, answers
from checks.clients import Clients, http_errors, status_hint
from checks.contract import CheckError

if TYPE_CHECKING:
    from checks.target import Target


def address(target: Target, url: str, lines: tuple[str, ...]) -> list[Finding]:
    """Get ``url``. Any answer of a server that is well is good: what it should say is for the checks."""
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            with http_errors(f"get {url}"):
                status = clients.http().get(url).status_code
        except CheckError as error:
            return [Finding(State.UNREACHABLE, error.summary, error.hint, lines=lines)]
    if not answers(status):
        return [Finding(State.UNREACHABLE, f"{url} answers {status}", status_hint(status), lines=lines)]
    return [Finding(State.OK, f"{url} answers")]
