"""Checkup of a cluster: does it answer, and does it grant the bot what is needed there?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from checks.checkup.finding import PATIENCE, REFUSED, Finding, State, trouble
from checks.clients import Clients
from checks.contract import CheckError
from checks.permissions import refused
from checks.rights import Grant, rule

if TYPE_CHECKING:
    from checks.target import Target


def cluster(target: Target, needs: Mapping[Grant, tuple[str, ...]]) -> list[Finding]:
    """Ask for each grant. ``needs``: grant -> ids of the lines that need it. Reads only, and nothing of the product's."""
    everything = sorted({line for lines in needs.values() for line in lines})
    with Clients(target, http_timeout=PATIENCE) as clients:
        try:
            missing = refused(clients.kube(), needs)
        except CheckError as error:
            hint = "Is its token still good? Make a new one for the bot's service account."
            return [trouble(error, everything, hint=hint if error.status == REFUSED else "")]
    if not missing:
        return [Finding(State.OK, f"answers and grants the {len(needs)} rights that are needed")]
    return [
        Finding(
            State.MISSING,
            f"the bot may not {grant}",
            f"Add this to the rules of a Role in {grant.namespace} that is bound to the bot's service account:",
            rule(grant),
            needs[grant],
        )
        for grant in missing
    ]
