"""Checkup of the product's addresses: does a server answer there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checks.checkup.finding import PATIENCE, Finding, State, answers
from clients.connections import Clients
from clients.errors import ClientError, status_hint
from clients.http import http_errors

if TYPE_CHECKING:
    from clients.target import Target


def address(target: Target, url: str, lines: tuple[str, ...]) -> list[Finding]:
    """Get ``url``. Any answer of a server that is well is good: what it should say is for the checks."""
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            with http_errors(f"get {url}"):
                status = clients.http().get(url).status_code
        except ClientError as error:
            return [Finding(State.UNREACHABLE, error.summary, error.hint, lines=lines)]
    if not answers(status):
        return [Finding(State.UNREACHABLE, f"{url} answers {status}", status_hint(status), lines=lines)]
    return [Finding(State.OK, f"{url} answers")]
