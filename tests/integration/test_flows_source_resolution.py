"""P4: what a release is bound to is looked up again; a waiting release is looked after until somebody signs, or it expires."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

from bot.domain.actor import Actor
from bot.domain.ids import CheckId, ReleaseId, UserId, Version
from bot.domain.policy import Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import Running
from bot.errors import GateClosed, IdentityUnknown, NotAllowed, VendorError
from bot.flows import check, freeze, start, upkeep
from bot.flows.deploying.judge import judge_deploy
from bot.flows.deploying.prepare import prepare_deploy
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.deps import Deps
from bot.store import releases
from bot.store.pool import Tx
from tests.fix_bot import GUEST, MANAGER, QA, RESOLVED, World
from tests.fix_tags import COMMIT, DIGEST, MOVED, REBUILT, Tags
from tests.unit.factories import PAT, QUINN, RITA, render_stored


@pytest.fixture
def bound(world: World, tags: Tags) -> World:
    """The flows, with sources that answer."""
    world.change(sources=tags.sources())
    return world


def notices(world: World) -> list[str]:
    """The kinds of the notices that are owed."""
    return [row["subject"].partition(":")[0] for row in world.rows("SELECT subject FROM posts WHERE kind = 'notice'")]


def frozen(world: World, release_id: ReleaseId) -> list[str]:
    """What the notices of the freezes on a release say now."""
    asked = "SELECT subject FROM posts WHERE release_id = %s AND subject LIKE 'frozen%%' ORDER BY id"
    shown = [row["subject"] for row in world.rows(asked, release_id)]
    return [render_stored("notice", subject, world.view(release_id)).text for subject in shown]


def asked_anew(world: World, flow: Callable[[Tx, Deps, Actor], str]) -> set[tuple[int, str]]:
    """Release and kind of the notices that are rendered again after ``flow``, by the release manager."""
    with world.store.transaction() as tx:
        tx.execute("DELETE FROM work WHERE queue = 'messages'")
    world.act(flow, MANAGER)
    asked = "SELECT release_id, split_part(subject, ':', 1) AS word FROM posts WHERE kind = 'notice' AND release_id::text IN "
    rows = world.rows(asked + "(SELECT key FROM work WHERE queue = 'messages')")
    return {(row["release_id"], row["word"]) for row in rows}


def looked_after(world: World) -> float | None:
    """Look after the release; minutes until the next look."""
    job = world.claim("upkeep")
    assert job is not None
    due = world.carry_out(job)
    return None if due is None else round((due - world.clock.now()).total_seconds() / 60, 2)


class TestBound:
    """A version that means something else."""

    def test_the_same_is_confirmed(self, bound: World) -> None:
        """Nothing changes but when it was last looked up."""
        release_id = bound.ready()
        bound.clock.advance(minutes=30)
        bound.resolve_source(release_id)
        view = bound.view(release_id)
        assert view.release.confirmed_at == bound.clock.now()
        assert len(view.signoffs) == 1
        assert notices(bound) == []

    @pytest.mark.parametrize(("attribute", "value"), [("tag", MOVED), ("digest", REBUILT)])
    def test_a_move_voids_what_was_signed_and_found(self, bound: World, tags: Tags, attribute: str, value: str) -> None:
        """Everything that was found out was about something else, be it in the same moment: it is asked again, and people are told."""
        release_id = bound.ready()
        bound.act(check.attest, QA, release_id, CheckId("prep.person"), "seen")
        setattr(tags, attribute, value)
        prepare_deploy(bound.deps, QA, release_id)
        view = bound.view(release_id)
        moved = {"tag": (MOVED, DIGEST), "digest": (COMMIT, REBUILT)}[attribute]
        assert (view.release.commit, view.release.digest) == moved
        assert (list(view.signoffs), {known.result for known in view.checks.values()}) == ([], {None})
        assert view.checks[CheckId("go.one")].running is Running.WAITING
        assert sorted(notices(bound)) == ["moved", "voided"]
        assert [event for _, event in bound.recorded_events()[-2:]] == ["signoff.voided", "release.rebound"]
        with pytest.raises(GateClosed, match="waits to run"):
            bound.deploy(QA, release_id)
        bound.run("check")
        bound.approve(release_id)
        bound.deploy(QA, release_id)
        assert bound.last().body["commit"] == moved[0]

    def test_a_reason_to_release_it_again_is_for_that_image_only(self, bound: World, tags: Tags) -> None:
        """Another one that was rolled back too needs a reason of its own."""
        bound.act(judge_rollback, QA, bound.deployed(), "errors")
        bound.run("advance")
        version = Version.parse("v4.9.0")
        assert version is not None
        bound.act(start.open_release, MANAGER, version, "", RESOLVED, because="it was the database")
        with bound.store.transaction() as tx:
            again = releases.active(tx, "production")
        assert again is not None
        assert again.again_because == "it was the database"
        for tag, digest, kept in ((MOVED, DIGEST, "it was the database"), (MOVED, REBUILT, "")):
            tags.tag, tags.digest = tag, digest
            bound.resolve_source(again.id)
            assert bound.view(again.id).release.again_because == kept

    def test_a_waiver_stays_and_is_signed_anew(self, bound: World, tags: Tags) -> None:
        """It is a decision about a line, shown to whoever signs."""
        release_id = bound.ready()
        bound.act(check.waive, MANAGER, release_id, CheckId("go.one"), "known")
        tags.tag = MOVED
        bound.clock.advance(minutes=1)
        bound.resolve_source(release_id)
        assert bound.view(release_id).checks[CheckId("go.one")].waiver is not None

    @pytest.mark.parametrize(("attribute", "said"), [("tag", "no tag v4.8.0"), ("digest", "no image")])
    def test_what_is_gone_closes_the_gate_until_it_is_back(
        self, bound: World, tags: Tags, attribute: str, said: str
    ) -> None:
        """The sign-offs hold: when it is back it is the same."""
        release_id = bound.ready()
        before = getattr(tags, attribute)
        setattr(tags, attribute, None)
        prepare_deploy(bound.deps, QA, release_id)
        with pytest.raises(GateClosed, match=said):
            bound.deploy(QA, release_id)
        setattr(tags, attribute, before)
        bound.act(judge_deploy, QA, prepare_deploy(bound.deps, QA, release_id))
        assert [event for _, event in bound.recorded_events()[-3:]] == [
            "release.unbound",
            "release.bound",
            "deploy.started",
        ]

    def test_a_branch_that_goes_on_moves_nothing(self, bound: World, tags: Tags) -> None:
        """With no tag yet the commit is that of the start; a tag elsewhere then is a move."""
        tags.tag = None
        version = bound.deps.sources.resolve("v4.8.0")
        assert not version.tagged
        bound.change(sources=tags.sources())
        release_id = bound.start(resolved=version)
        tags.branch = MOVED
        bound.resolve_source(release_id)
        assert bound.view(release_id).release.commit == COMMIT
        tags.tag = MOVED
        bound.resolve_source(release_id)
        assert (bound.view(release_id).release.commit, bound.view(release_id).release.tagged) == (MOVED, True)

    def test_nobody_deploys_what_could_not_be_confirmed(self, bound: World, tags: Tags) -> None:
        """Tags that are away, or nobody who asked them: closed."""
        release_id = bound.ready()
        bound.clock.advance(minutes=2, seconds=1)
        tags.away = True
        with pytest.raises(VendorError, match="GitHub answered 503"):
            prepare_deploy(bound.deps, QA, release_id)
        with pytest.raises(GateClosed, match="not looked up just now"):
            bound.deploy(QA, release_id)

    def test_an_approval_ends_with_the_role_of_who_gave_it(self, bound: World) -> None:
        """Slack is asked who approved at the deploy; where it does not say, nothing is deployed. A rollback asks nothing new."""
        release_id = bound.ready()
        bound.approve(release_id, QA)

        def away(users: Iterable[UserId]) -> dict[UserId, frozenset[Role]]:
            raise IdentityUnknown(f"Slack did not say who {sorted(users)} are")

        bound.change(roles_of=away)
        with pytest.raises(IdentityUnknown, match=f"{QUINN}', '{RITA}"):
            prepare_deploy(bound.deps, QA, release_id)
        assert len(bound.view(release_id).signoffs) == 2
        bound.change(roles_of=lambda users: dict.fromkeys(users, frozenset({Role.QA})))  # RITA has lost hers
        prepare_deploy(bound.deps, QA, release_id)
        assert [signed.by for signed in bound.view(release_id).signoffs] == [QUINN]
        why = "who gave it does not hold the role any more"
        assert (bound.last().event, bound.last_fields()) == (
            "signoff.voided",
            {"role": "release_manager", "signed_by": RITA, "why": why},
        )
        with pytest.raises(GateClosed, match="Release Manager has not signed off"):
            bound.deploy(QA, release_id)
        (subject,) = [row["subject"] for row in bound.rows("SELECT subject FROM posts WHERE subject LIKE 'voided%%'")]
        assert render_stored("notice", subject, bound.view(release_id)).text == (
            f"The Release Manager sign-off of <@{RITA}> for Small v4.8.0 is void: they do not hold that role any more. "
            "Somebody who does has to sign."
        )
        bound.change(roles_of=lambda users: dict.fromkeys(users, frozenset(Role)))
        bound.approve(release_id)
        bound.act(judge_deploy, QA, prepare_deploy(bound.deps, QA, release_id))
        bound.change(roles_of=away)
        assert "Rolling" in bound.act(judge_rollback, QA, release_id, "errors")

    def test_only_for_somebody_who_may_deploy(self, bound: World, tags: Tags) -> None:
        """No vendor is asked on behalf of others."""
        release_id = bound.ready()
        with pytest.raises(NotAllowed):
            prepare_deploy(bound.deps, GUEST, release_id)
        assert tags.requests == []

    def test_not_while_something_else_speaks_against_it(self, bound: World, tags: Tags) -> None:
        """Whoever presses too early reads why, also when GitHub is away."""
        release_id = bound.start()
        prepare_deploy(bound.deps, QA, release_id)
        assert tags.requests == []

    def test_once_it_is_deployed_it_stays_what_it_was(self, bound: World, tags: Tags) -> None:
        """A tag that moves afterwards changes nothing of what runs."""
        release_id = bound.deployed()
        tags.tag = MOVED
        bound.resolve_source(release_id)
        assert bound.view(release_id).release.commit == COMMIT
        assert looked_after(bound) is None


class TestPolicy:
    """Another policy at the next start."""

    def test_an_open_release_is_judged_by_it(self, bound: World) -> None:
        """What was signed under the old one is void, and everybody sees which one holds."""
        release_id = bound.ready()
        strict = Policy.model_validate({"required": ["release_manager", "qa"]})
        bound.change(policy=strict)
        with bound.store.transaction() as tx:
            upkeep.resume(tx, bound.deps)
        view = bound.view(release_id)
        assert (view.release.policy_digest, view.policy.required) == (strict.digest, strict.required)
        assert list(view.signoffs) == []
        assert sorted(notices(bound)) == ["policy", "voided"]
        with bound.store.transaction() as tx:
            upkeep.resume(tx, bound.deps)
        assert bound.last().event == "policy.adopted"  # once

    def test_what_is_deployed_keeps_its_own(self, bound: World) -> None:
        """Who may take it back is what it was when it was deployed."""
        release_id = bound.deployed()
        bound.change(policy=Policy(four_eyes=False))
        with bound.store.transaction() as tx:
            upkeep.resume(tx, bound.deps)
        assert bound.view(release_id).policy == Policy()


class TestWaiting:
    """For people."""

    def test_it_is_looked_at_every_five_minutes(self, bound: World, tags: Tags) -> None:
        """A tag that moves while it waits is found without anybody pressing anything."""
        release_id = bound.ready()
        assert looked_after(bound) == 5
        tags.tag = MOVED
        bound.clock.advance(minutes=5)
        assert looked_after(bound) == 5
        assert bound.view(release_id).release.commit == MOVED

    def test_vendors_that_are_away_stop_nothing(self, bound: World, tags: Tags) -> None:
        """It asks again; a deploy asks for itself."""
        bound.ready()
        tags.away = True
        assert looked_after(bound) == 5

    def test_it_wakes_when_something_ends(self, bound: World) -> None:
        """A freeze that ends in three minutes is over on the card in three minutes."""
        bound.ready()
        bound.act(freeze.freeze, MANAGER, bound.clock.now() + timedelta(minutes=3), "short")
        assert looked_after(bound) == 3

    def test_people_who_are_late_are_reminded_once_a_round(self, bound: World) -> None:
        """Those whose sign-off is missing, by direct message, as Slack says who they are now."""
        bound.change(people=lambda role: {Role.RELEASE_MANAGER: [RITA], Role.QA: [QUINN, PAT]}.get(role, []))
        bound.change(policy=Policy.model_validate({"required": ["release_manager", "qa"]}))
        release_id = bound.ready()
        looked_after(bound)
        bound.clock.advance(hours=4)
        looked_after(bound)
        looked_after(bound)
        asked = "SELECT subject, channel FROM posts WHERE kind = 'reminder' ORDER BY subject"
        assert [tuple(row.values()) for row in bound.rows(asked)] == [
            (f"qa:{PAT}:1", PAT),
            (f"qa:{QUINN}:1", QUINN),
        ]
        assert bound.last().event == "release.reminded"
        bound.approve(release_id, QA)
        bound.clock.advance(hours=4)
        looked_after(bound)
        assert [row["subject"] for row in bound.rows(asked)][-1] == f"qa:{QUINN}:1"

    def test_when_nobody_else_is_late_the_manager_is(self, bound: World) -> None:
        """It is Go and nobody deploys."""
        bound.ready()
        bound.clock.advance(hours=4)
        looked_after(bound)
        assert [row["channel"] for row in bound.rows("SELECT channel FROM posts WHERE kind = 'reminder'")] == [RITA]

    def test_slack_that_does_not_say_who_reminds_nobody(self, bound: World) -> None:
        """It is asked again; the rest goes on."""

        def away(role: Role) -> list[UserId]:
            raise VendorError("Slack is away")

        bound.change(people=away)
        bound.start()
        bound.clock.advance(hours=4)
        assert looked_after(bound) == 5
        assert bound.rows("SELECT FROM posts WHERE kind = 'reminder'") == []

    def test_an_approval_grows_old(self, bound: World) -> None:
        """Its person is told; the gate has closed at the very moment."""
        release_id = bound.ready()
        bound.clock.advance(hours=24)
        assert looked_after(bound) == 0.02
        bound.clock.advance(seconds=1)
        bound.run("check")
        bound.resolve_source(release_id)
        with pytest.raises(GateClosed, match="Release Manager has not signed off"):
            bound.deploy(QA, release_id)
        looked_after(bound)
        assert "voided" in notices(bound)
        assert bound.view(release_id).signoffs == []

    def test_it_expires(self, bound: World) -> None:
        """After seven days, said in the channel, and the environment is free."""
        release_id = bound.ready()
        bound.clock.advance(days=7)
        assert looked_after(bound) is None
        release = bound.view(release_id).release
        assert (release.state, release.reason) == (ReleaseState.ABORTED, "nobody deployed it within 7 days")
        assert "aborted" in notices(bound)
        bound.start("v4.9.0")

    def test_it_is_armed_at_the_start(self, bound: World) -> None:
        """And again when a process starts."""
        release_id = bound.start()
        assert bound.rows("SELECT key FROM work WHERE queue = 'upkeep'") == [{"key": str(release_id)}]


class TestFreezeNotice:
    """The channel is told."""

    def test_of_each_freeze(self, bound: World) -> None:
        """One message a freeze, on the release under way or the newest; it says "allowed again" only when nothing stands."""
        bound.act(freeze.freeze, MANAGER, None, "before the first release there is nobody to tell")
        bound.act(freeze.unfreeze, MANAGER)
        release_id = bound.deployed()
        bound.act(freeze.freeze, MANAGER, bound.clock.now() + timedelta(hours=1), "incident")
        bound.clock.advance(seconds=5)
        bound.act(freeze.freeze, MANAGER, bound.clock.now() + timedelta(hours=4), "another")
        first, second = frozen(bound, release_id)
        instead = "That freeze is over, but another one stands: deploys are frozen until"
        assert first.startswith(f"{instead} <!date^")
        assert (first.endswith(": another"), second.startswith(f"<@{RITA}> froze deploys until")) == (True, True)
        bound.clock.advance(seconds=5)
        bound.act(judge_rollback, QA, release_id, "errors")
        bound.run("advance")
        held = f"{instead} somebody lifts it: v4.8.0 was rolled back: errors"
        assert frozen(bound, release_id) == [held, held]
        bound.start("v4.9.0")
        assert asked_anew(bound, freeze.unfreeze) >= {(release_id, "rolled_back"), (release_id, "frozen")}
        assert frozen(bound, release_id) == ["Deploys are allowed again: the freeze is lifted."] * 2

    def test_by_the_calendar(self, bound: World) -> None:
        """A window of the policy closes the gate for a deploy; a rollback works."""
        now = bound.clock.now()
        window = {
            "reason": "end of the year",
            "begins": f"{now + timedelta(hours=1):%Y-%m-%d %H:%M}",
            "ends": f"{now + timedelta(hours=3):%Y-%m-%d %H:%M}",
        }
        bound.change(policy=Policy.model_validate({"freeze_windows": [window]}))
        release_id = bound.ready()
        bound.clock.advance(hours=2)
        bound.resolve_source(release_id)
        with pytest.raises(GateClosed, match="deploys are frozen: end of the year"):
            bound.deploy(QA, release_id)
        until = f"{window['ends']} UTC: end of the year"
        said = f"Deploys to production are frozen by the calendar until {until}. Nobody can lift that."
        assert bound.act(freeze.unfreeze, MANAGER) == said
        said = bound.act(freeze.freeze, MANAGER, bound.clock.now() + timedelta(minutes=5), "busy")
        assert f"After that the calendar keeps them frozen until {until}." in said
        assert bound.act(freeze.unfreeze, MANAGER) == (
            f"The freeze is lifted, but deploys to production are still frozen by the calendar until {until}."
        )
        assert frozen(bound, release_id)[0].startswith(
            "That freeze is over, but the calendar keeps deploys frozen until"
        )
        bound.clock.advance(hours=1)
        bound.resolve_source(release_id)
        bound.deploy(QA, release_id)

    def test_beside_a_deploy(self, bound: World) -> None:
        """What has begun goes on, and both the answer and the message say so and how it is stopped."""
        release_id = bound.ready()
        bound.deploy(QA, release_id)
        goes_on = (
            "v4.8.0 is being deployed and goes on. To stop it: press Cancel at its step in the thread, "
            "or type `/release rollback REASON`."
        )
        assert bound.act(freeze.freeze, MANAGER, None, "incident").endswith(f"\n{goes_on}")
        assert frozen(bound, release_id) == [f"<@{RITA}> froze deploys until somebody lifts it: incident\n{goes_on}"]
        bound.run("advance")
        assert frozen(bound, release_id) == [f"<@{RITA}> froze deploys until somebody lifts it: incident"]
