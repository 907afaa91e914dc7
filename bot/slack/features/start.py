"""Starting a release, and what is known of the one under way: `/release start`, `status` and `plan`."""

from __future__ import annotations

from bot.domain.ids import Version
from bot.domain.plan import lasting_changes
from bot.domain.policy import Action
from bot.flows import start, status
from bot.flows.deploying.plan_snapshot import store_snapshot
from bot.flows.step_inspection import plan_of_release
from bot.slack import grammar
from bot.slack.blocks import status as answers
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.plan import plan_message
from bot.slack.entries import Audience, Command, Effect, Interaction
from bot.slack.features.signoffs import permalink_of_card
from bot.slack.grammar import StartRequest
from bot.store import releases
from bot.store.pool import Tx


def _start(interaction: Interaction[StartRequest]) -> Effect:
    """Resolve the version, for somebody who may start a release, where the channel allows one."""
    deps, actor, request = interaction.deps, interaction.actor, interaction.content
    source, warning = start.prepare_start(deps, actor, request.version)

    def open_release(tx: Tx) -> str:
        answer = start.open_release(
            tx, deps, actor, request.version, request.notes_url, source, because=request.because
        )
        return f"{answer}\n{warning}"

    return open_release


def _status(tx: Tx, interaction: Interaction[Version | None]) -> Rendered:
    version = interaction.content
    release = status.release_of(tx, interaction.deps, str(version) if version else None)
    return answers.status(status.view(tx, interaction.deps, release.id), permalink_of_card(tx, release.id))


def _plan(interaction: Interaction[None]) -> Effect:
    """What the release that is under way would change now; with none, the steps of the checklist."""
    deps = interaction.deps
    with deps.store.transaction() as tx:
        release = releases.active(tx, deps.environment)
        view = None if release is None else status.view(tx, deps, release.id)
    if release is None or view is None:
        return lambda _tx: answers.plan(deps.checklist)
    steps = plan_of_release(deps, release)

    def store(tx: Tx) -> Rendered:
        store_snapshot(tx, deps, interaction.actor, release, steps)
        title = f"{deps.checklist.title} {release.version}"
        return plan_message(title, steps, lasting_changes(view.steps, view.checklist.deploy))

    return store


BUTTONS = ()
COMMANDS = (
    Command(
        word="start", parameters="vX.Y.Z [notes URL] [because REASON]",
        summary="Open a release and run every check.",
        details=(
            "Resolves the commit and the image digest first. A candidate is `v4.8.0-rc1`. An image whose last release was "
            "rolled back needs a reason, and an approval by someone other than who starts it. An image that already runs "
            "needs a reason."
        ),
        permission=Action.START, parse=grammar.start_request, prepare=_start,
    ),
    Command(
        word="status", parameters="[vX.Y.Z]", summary="Show the state of the release and what is missing.",
        details="Without a version: the release under way, or else the newest.",
        permission=Audience.MEMBER, parse=grammar.version_or_nothing("status"), run=_status,
    ),
    Command(
        word="plan", summary="Show what a deploy would change, and how a rollback undoes it.",
        details="Lists each step of the deploy with its changes as of now, and the steps of the rollback.",
        permission=Audience.MEMBER, parse=grammar.nothing("plan"), prepare=_plan,
    ),
)  # fmt: skip
