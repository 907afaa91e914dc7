"""Start a release: resolve the version, open the release, enqueue its messages, request its checks."""

from __future__ import annotations

from bot.domain.actor import Actor
from bot.domain.deploy_findings import ChannelAccess
from bot.domain.events import ReleaseStarted
from bot.domain.ids import Version
from bot.domain.policy import Action
from bot.domain.posts import CardPost, SectionPost
from bot.errors import GateClosed, NotAllowed
from bot.flows import check, upkeep
from bot.flows.commit import commit_change
from bot.flows.deps import Deps, locked_view, require
from bot.steps.sources import ResolvedSource
from bot.store import checks, releases
from bot.store.pool import Tx


def prepare_start(deps: Deps, actor: Actor, version: Version) -> tuple[ResolvedSource, str]:
    """Ask Slack about the channel, and GitHub and the registry what ``version`` means, before the transaction of the start.

    Returns what it means and what people should know of who reads the channel. Raises NotAllowed for somebody who may not
    start a release, or in a channel where none may begin; InvalidInput where there is no such image; VendorError.
    """
    require(deps.policy, actor, Action.START)
    access = deps.channel_access(deps.channel)
    refuse_channel(access)
    return deps.sources.resolve(str(version)), access.warning


def refuse_channel(access: ChannelAccess) -> None:
    """Raise NotAllowed where no release may begin in a channel."""
    if access.refusal:
        raise NotAllowed(f"{access.refusal}, so no release can begin there.", hint=access.hint)


def open_release(
    tx: Tx, deps: Deps, actor: Actor, version: Version, notes_url: str, source: ResolvedSource, *, because: str = ""
) -> str:
    """Open a release with ``actor`` as its release manager, and return the answer for them.

    ``because``: why an image that was rolled back, or that runs already, is released again. Raises NotAllowed,
    ActiveReleaseExists, and GateClosed for such an image without ``because``.
    """
    require(deps.policy, actor, Action.START)
    now, because = deps.clock.now(), deps.clean(because.strip())
    known_bad = releases.known_bad(tx, deps.environment, source.image, source.digest)
    running_release = releases.running(tx, deps.environment, source.image, source.digest)
    say_why = f"say why: `/release start {version} because REASON`."
    if known_bad and not because:
        raise GateClosed(f"{known_bad}.", hint=f"To release it again, {say_why} Someone else must then approve it.")
    if running_release and not because:
        raise GateClosed(
            f"{running_release} runs in {deps.environment} already, with this image.",
            hint=f"Name another version, or to deploy this one again, {say_why}",
        )
    values = {
        "environment": deps.environment,
        "version": str(version),
        "manager": actor.user,
        "notes_url": notes_url,
        "commit": source.commit,
        "image": source.image,
        "digest": source.digest,
        "tagged": source.is_tagged,
        "channel": deps.channel,
        "at": now,
        "repeat_reason": because if known_bad or running_release else "",
    }
    release_id = releases.insert(tx, values, deps.checklist, deps.policy)
    for entry in deps.checklist.distinct_checks:
        checks.add(tx, release_id, entry.id, actor.user, now)
    check.request_runs(
        tx, locked_view(tx, deps, release_id), [entry.id for entry in deps.checklist.distinct_checks], actor.user
    )
    upkeep.schedule(tx, release_id, now + upkeep.INTERVAL)
    event = ReleaseStarted(
        version=str(version), commit=source.commit, image=f"{source.image}@{source.digest}", tagged=source.is_tagged,
        checklist=deps.checklist.digest, policy=deps.policy.digest, environment=deps.environment, channel=deps.channel,
        notes_url=notes_url, known_bad=known_bad, runs=running_release, again_because=values["repeat_reason"],
    )  # fmt: skip
    sections = [SectionPost(section=section.id) for section in deps.checklist.sections if section.phase == "before"]
    commit_change(tx, release_id, event, at=now, by=actor.user, new_posts=[CardPost(), *sections])
    return f"{version} is open. The checks are running; follow them in <#{deps.channel}>."
