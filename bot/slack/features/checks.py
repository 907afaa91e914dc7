"""Running, cancelling, waiving and attesting checks."""

from __future__ import annotations

from bot.domain.policy import Action
from bot.domain.view import ReleaseView
from bot.flows import check
from bot.flows.status import release_of
from bot.slack import evidence, grammar
from bot.slack.blocks.details import details
from bot.slack.blocks.modals import Details, Form, check_of
from bot.slack.entries import Audience, Button, Command
from bot.slack.payloads import CheckPayload, SectionPayload
from bot.store.pool import Tx


def _share(tx: Tx, payload: CheckPayload, view: ReleaseView) -> None:
    """Put an attachment that is too long for the modal into the thread."""
    entry, state = view.checklist.check(payload.check), view.checks.get(payload.check)
    if entry is not None and state is not None and state.result is not None:
        evidence.share(tx, view, entry, state.result)


BUTTONS = (
    Button(
        id="check.details", payload=CheckPayload, permission=Audience.MEMBER,
        place="section",
        does="shows what was asked, expected and seen; what is too long goes as a file into the thread",
        modal=Details(
            title="Details",
            blocks=lambda payload, view: details(check_of(payload.check, view), view),
            share=_share,
        ),
    ),
    Button(
        id="check.rerun", payload=CheckPayload, permission=Action.CHECK,
        place="section", does="runs the check again, before the deploy or after it",
        run=lambda tx, click: check.rerun(tx, click.deps, click.actor, click.content.release_id, click.content.check),
    ),
    Button(
        id="check.cancel", payload=CheckPayload, permission=Action.CHECK,
        place="section, while it runs or waits", does="stops the check; its earlier result stays",
        run=lambda tx, click: check.cancel(tx, click.deps, click.actor, click.content.release_id, click.content.check),
    ),
    Button(
        id="section.rerun", payload=SectionPayload, permission=Action.CHECK,
        place="section", does="runs all of its checks again",
        run=lambda tx, click: check.rerun(tx, click.deps, click.actor, click.content.release_id, click.content.section),
    ),
    Button(
        id="section.cancel", payload=SectionPayload, permission=Action.CHECK,
        place="section, while one of its checks runs or waits", does="stops all of them",
        run=lambda tx, click: check.cancel(
            tx, click.deps, click.actor, click.content.release_id, click.content.section
        ),
    ),
    Button(
        id="check.waive", payload=CheckPayload, permission=Action.WAIVE,
        place="section, where the check may be waived",
        does="waives the check for this release; sign-offs become void",
        modal=Form(
            title="Waive a check", submit="Waive", label="Why may the release go without it?",
            effect="Waives the check for this release only. Everyone must approve again.",
        ),
        run=lambda tx, click: check.waive(
            tx, click.deps, click.actor, click.content.release_id, click.content.check, click.note
        ),
    ),
    Button(
        id="check.attest", payload=CheckPayload, permission=Action.ATTEST,
        place="section, for a check of the kind `attest`; one from before the deploy only while the release is OPEN",
        does="records that you checked it",
        modal=Form(
            title="Attest a check", submit="Attest", label="What did you look at, and what did you see?",
            effect="The check passes on your word, under your name.",
        ),
        run=lambda tx, click: check.attest(
            tx, click.deps, click.actor, click.content.release_id, click.content.check, click.note
        ),
    ),
)  # fmt: skip
COMMANDS = (
    Command(
        word="check", parameters="[ID|SECTION|all]", summary="Run checks again.",
        details="Runs also those that need them. Without a name: all.",
        permission=Action.CHECK, parse=grammar.check_or_section("check"),
        run=lambda tx, command: check.rerun(
            tx, command.deps, command.actor, release_of(tx, command.deps).id, command.content
        ),
    ),
    Command(
        word="check cancel", parameters="[ID|SECTION|all]", summary="Cancel checks that run or wait.",
        details="Without a name: all.",
        permission=Action.CHECK, parse=grammar.check_or_section("check cancel"),
        run=lambda tx, command: check.cancel(
            tx, command.deps, command.actor, release_of(tx, command.deps).id, command.content
        ),
    ),
)  # fmt: skip
