"""What was released, its evidence, and whether the bot's parts work: `/release history`, `report` and `doctor`."""

from __future__ import annotations

from bot.domain.ids import Version
from bot.flows import doctor, status
from bot.slack import grammar, report
from bot.slack.blocks import status as answers
from bot.slack.entries import Audience, Command, Interaction
from bot.store.pool import Tx


def _report(tx: Tx, interaction: Interaction[Version | None]) -> str:
    deps, version = interaction.deps, interaction.content
    release = status.release_of(tx, deps, str(version) if version else None)
    view = status.view(tx, deps, release.id)
    return report.share(tx, view, interaction.actor, deps.redact, interaction.delivery)


BUTTONS = ()
COMMANDS = (
    Command(
        word="history", summary="List the latest releases.",
        permission=Audience.MEMBER, parse=grammar.nothing("history"),
        run=lambda tx, command: answers.history(
            status.history(tx, command.deps), status.list_open_mitigations(tx, command.deps)
        ),
    ),
    Command(
        word="report", parameters="[vX.Y.Z]", summary="Send the evidence of a release as a file.",
        details="The [file](../../bot/evidence/FORMAT.md) comes in the thread of its card.",
        permission=Audience.MEMBER, parse=grammar.version_or_nothing("report"), run=_report,
    ),
    Command(
        word="doctor", summary="Check every part the bot needs, and what to do about those that don't work.",
        details="Asks as [`release-bot doctor`](command-line.md#doctor) does; the findings follow within half a minute.",
        permission=Audience.MEMBER, parse=grammar.nothing("doctor"),
        run=lambda tx, command: doctor.request_examination(tx, command.deps.examination(), command.delivery),
    ),
)  # fmt: skip
