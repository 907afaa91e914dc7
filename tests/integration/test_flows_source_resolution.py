"""P4: what a release is bound to is looked up again; a waiting release is looked after until somebody signs, or it expires."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from bot.domain.actor import Actor
from bot.domain.ids import CheckId, ReleaseId, UserId, Version
from bot.domain.policy import Policy, Role
from bot.domain.release import ReleaseState
from bot.domain.results import RunState
from bot.errors import GateClosed, IdentityUnknown, NotAllowed, VendorError
from bot.flows import check, freeze, start, upkeep
from bot.flows.deploying.judge import judge_deploy
from bot.flows.deploying.prepare import prepare_deploy
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.deps import Deps
from bot.store import releases
from bot.store.pool import Tx
from tests.fix_bot import GUEST, MANAGER, QA, SOURCE, World
from tests.fix_tags import COMMIT, DIGEST, OTHER_COMMIT, OTHER_DIGEST, Tags
from tests.unit.factories import PAT, QUINN, RITA, render_stored


@pytest.fixture
def tagged_world(world: World, tags: Tags) -> World:
    """The flows with sources that answer."""
    world.change(sources=tags.sources())
    return world


def notices(world: World) -> list[str]:
    """The kinds of the stored notices."""
    return [row["subject"].partition(":")[0] for row in world.rows("SELECT subject FROM posts WHERE kind = 'notice'")]


def freeze_notices(world: World, release_id: ReleaseId) -> list[str]:
    """The texts of the notices about freezes on a release."""
    query = "SELECT subject FROM posts WHERE release_id = %s AND subject LIKE 'frozen%%' ORDER BY id"
    subjects = [row["subject"] for row in world.rows(query, release_id)]
    return [render_stored("notice", subject, world.view(release_id)).text for subject in subjects]


def rerendered_notices(world: World, flow: Callable[[Tx, Deps, Actor], str]) -> set[tuple[int, str]]:
    """Release and kind of the notices that are rendered again after ``flow`` by the release manager."""
    with world.store.transaction() as tx:
        tx.execute("DELETE FROM work WHERE queue = 'messages'")
    world.act(flow, MANAGER)
    query = "SELECT release_id, split_part(subject, ':', 1) AS word FROM posts WHERE kind = 'notice' AND release_id::text IN "
    rows = world.rows(query + "(SELECT key FROM work WHERE queue = 'messages')")
    return {(row["release_id"], row["word"]) for row in rows}


def run_upkeep(world: World) -> float | None:
    """Run the upkeep of the release; returns the minutes until the next one."""
    job = world.claim("upkeep")
    assert job is not None
    due = world.carry_out(job)
    return None if due is None else round((due - world.clock.now()).total_seconds() / 60, 2)


class TestSourceChanges:
    """A version whose source changes."""

    def test_an_unchanged_source_is_confirmed(self, tagged_world: World) -> None:
        """Only the time of the last resolution changes."""
        release_id = tagged_world.run_to_approval()
        tagged_world.clock.advance(minutes=30)
        tagged_world.resolve_source(release_id)
        view = tagged_world.view(release_id)
        assert view.release.confirmed_at == tagged_world.clock.now()
        assert len(view.signoffs) == 1
        assert notices(tagged_world) == []

    @pytest.mark.parametrize(("attribute", "value"), [("tag", OTHER_COMMIT), ("digest", OTHER_DIGEST)])
    def test_a_changed_source_makes_approvals_and_results_void(
        self, tagged_world: World, tags: Tags, attribute: str, value: str
    ) -> None:
        """The results were about something else, so the checks run again and people are told."""
        release_id = tagged_world.run_to_approval()
        tagged_world.act(check.attest, QA, release_id, CheckId("prep.person"), "seen")
        setattr(tags, attribute, value)
        prepare_deploy(tagged_world.deps, QA, release_id)
        view = tagged_world.view(release_id)
        new_source = {"tag": (OTHER_COMMIT, DIGEST), "digest": (COMMIT, OTHER_DIGEST)}[attribute]
        assert (view.release.commit, view.release.digest) == new_source
        assert (list(view.signoffs), {check_view.result for check_view in view.checks.values()}) == ([], {None})
        assert view.checks[CheckId("go.one")].run_state is RunState.WAITING
        assert sorted(notices(tagged_world)) == ["moved", "voided"]
        assert [event for _, event in tagged_world.recorded_events()[-2:]] == ["signoff.voided", "release.rebound"]
        with pytest.raises(GateClosed, match="waiting to run"):
            tagged_world.deploy(QA, release_id)
        tagged_world.run("check")
        tagged_world.approve(release_id)
        tagged_world.deploy(QA, release_id)
        assert tagged_world.last_event().body["commit"] == new_source[0]

    def test_a_reason_to_release_again_is_for_one_image(self, tagged_world: World, tags: Tags) -> None:
        """Another image that was rolled back needs its own reason."""
        tagged_world.act(judge_rollback, QA, tagged_world.run_to_watch(), "errors")
        tagged_world.run("advance")
        version = Version.parse("v4.9.0")
        assert version is not None
        tagged_world.act(start.open_release, MANAGER, version, "", SOURCE, because="it was the database")
        with tagged_world.store.transaction() as tx:
            again = releases.active(tx, "production")
        assert again is not None
        assert again.repeat_reason == "it was the database"
        for tag, digest, reason in ((OTHER_COMMIT, DIGEST, "it was the database"), (OTHER_COMMIT, OTHER_DIGEST, "")):
            tags.tag, tags.digest = tag, digest
            tagged_world.resolve_source(again.id)
            assert tagged_world.view(again.id).release.repeat_reason == reason

    def test_a_waiver_survives_a_changed_source(self, tagged_world: World, tags: Tags) -> None:
        """A waiver is about a check, and is shown to whoever signs again."""
        release_id = tagged_world.run_to_approval()
        tagged_world.act(check.waive, MANAGER, release_id, CheckId("go.one"), "known")
        tags.tag = OTHER_COMMIT
        tagged_world.clock.advance(minutes=1)
        tagged_world.resolve_source(release_id)
        assert tagged_world.view(release_id).checks[CheckId("go.one")].waiver is not None

    @pytest.mark.parametrize(
        ("attribute", "message"), [("tag", "The tag v4.8.0 no longer exists"), ("digest", "no image")]
    )
    def test_a_missing_source_closes_the_gate_until_it_is_back(
        self, tagged_world: World, tags: Tags, attribute: str, message: str
    ) -> None:
        """The approvals stay valid, because the source is the same when it is back."""
        release_id = tagged_world.run_to_approval()
        before = getattr(tags, attribute)
        setattr(tags, attribute, None)
        prepare_deploy(tagged_world.deps, QA, release_id)
        with pytest.raises(GateClosed, match=message):
            tagged_world.deploy(QA, release_id)
        setattr(tags, attribute, before)
        tagged_world.act(judge_deploy, QA, prepare_deploy(tagged_world.deps, QA, release_id))
        assert [event for _, event in tagged_world.recorded_events()[-3:]] == [
            "release.unbound",
            "release.bound",
            "deploy.started",
        ]

    def test_new_commits_on_the_branch_change_nothing(self, tagged_world: World, tags: Tags) -> None:
        """Without a tag the commit of the start counts, and a tag on another commit is a change."""
        tags.tag = None
        version = tagged_world.deps.sources.resolve("v4.8.0")
        assert not version.is_tagged
        tagged_world.change(sources=tags.sources())
        release_id = tagged_world.start(source=version)
        tags.branch = OTHER_COMMIT
        tagged_world.resolve_source(release_id)
        assert tagged_world.view(release_id).release.commit == COMMIT
        tags.tag = OTHER_COMMIT
        tagged_world.resolve_source(release_id)
        assert (tagged_world.view(release_id).release.commit, tagged_world.view(release_id).release.is_tagged) == (
            OTHER_COMMIT,
            True,
        )

    def test_an_unconfirmed_source_cannot_be_deployed(self, tagged_world: World, tags: Tags) -> None:
        """The gate is closed if the sources do not answer or were not asked."""
        release_id = tagged_world.run_to_approval()
        tagged_world.clock.advance(minutes=2, seconds=1)
        tags.away = True
        with pytest.raises(VendorError, match="GitHub answered 503"):
            prepare_deploy(tagged_world.deps, QA, release_id)
        with pytest.raises(GateClosed, match="nobody has confirmed yet"):
            tagged_world.deploy(QA, release_id)

    def test_an_approval_ends_with_the_role_of_who_gave_it(self, tagged_world: World) -> None:
        """Slack is asked about the approvers before a deploy, and not before a rollback."""
        release_id = tagged_world.run_to_approval()
        tagged_world.approve(release_id, QA)

        def away(users: Iterable[UserId]) -> dict[UserId, frozenset[Role]]:
            raise IdentityUnknown(f"Slack didn't say who {sorted(users)} are")

        tagged_world.change(roles_of=away)
        with pytest.raises(IdentityUnknown, match=f"{QUINN}', '{RITA}"):
            prepare_deploy(tagged_world.deps, QA, release_id)
        assert len(tagged_world.view(release_id).signoffs) == 2
        tagged_world.change(roles_of=lambda users: dict.fromkeys(users, frozenset({Role.QA})))  # RITA has lost hers
        prepare_deploy(tagged_world.deps, QA, release_id)
        assert [signoff.by for signoff in tagged_world.view(release_id).signoffs] == [QUINN]
        why = "the approver no longer has the role"
        assert (tagged_world.last_event().event, tagged_world.last_fields()) == (
            "signoff.voided",
            {"role": "release_manager", "signed_by": RITA, "why": why},
        )
        with pytest.raises(GateClosed, match="Release Manager has not signed off"):
            tagged_world.deploy(QA, release_id)
        (subject,) = [
            row["subject"] for row in tagged_world.rows("SELECT subject FROM posts WHERE subject LIKE 'voided%%'")
        ]
        assert render_stored("notice", subject, tagged_world.view(release_id)).text == (
            f"<@{RITA}> no longer has the role Release Manager, so that sign-off for Small v4.8.0 is void. "
            "Another Release Manager must sign."
        )
        tagged_world.change(roles_of=lambda users: dict.fromkeys(users, frozenset(Role)))
        tagged_world.approve(release_id)
        tagged_world.act(judge_deploy, QA, prepare_deploy(tagged_world.deps, QA, release_id))
        tagged_world.change(roles_of=away)
        assert "Rolling" in tagged_world.act(judge_rollback, QA, release_id, "errors")

    def test_the_source_is_resolved_only_for_those_who_may_deploy(self, tagged_world: World, tags: Tags) -> None:
        """No vendor is asked on behalf of others."""
        release_id = tagged_world.run_to_approval()
        with pytest.raises(NotAllowed):
            prepare_deploy(tagged_world.deps, GUEST, release_id)
        assert tags.requests == []

    def test_the_source_is_not_resolved_while_the_gate_is_closed(self, tagged_world: World, tags: Tags) -> None:
        """Whoever presses too early reads why, even if GitHub does not answer."""
        release_id = tagged_world.start()
        prepare_deploy(tagged_world.deps, QA, release_id)
        assert tags.requests == []

    def test_the_source_of_a_deployed_release_stays(self, tagged_world: World, tags: Tags) -> None:
        """A tag that changes later does not change what runs."""
        release_id = tagged_world.run_to_watch()
        tags.tag = OTHER_COMMIT
        tagged_world.resolve_source(release_id)
        assert tagged_world.view(release_id).release.commit == COMMIT
        assert run_upkeep(tagged_world) is None


class TestPolicy:
    """A restart with another policy."""

    def test_an_open_release_gets_the_new_policy(self, tagged_world: World) -> None:
        """Approvals under the old policy are void, and a notice says which policy is in force."""
        release_id = tagged_world.run_to_approval()
        strict = Policy.model_validate({"required": ["release_manager", "qa"]})
        tagged_world.change(policy=strict)
        with tagged_world.store.transaction() as tx:
            upkeep.resume(tx, tagged_world.deps)
        view = tagged_world.view(release_id)
        assert (view.release.policy_digest, view.policy.required) == (strict.digest, strict.required)
        assert list(view.signoffs) == []
        assert sorted(notices(tagged_world)) == ["policy", "voided"]
        with tagged_world.store.transaction() as tx:
            upkeep.resume(tx, tagged_world.deps)
        assert tagged_world.last_event().event == "policy.adopted"  # once

    def test_a_policy_with_old_names_of_keys_is_not_another_one(self, tagged_world: World) -> None:
        """The approvals of a release stay valid when only the names of keys have changed since its start."""
        release_id = tagged_world.start()
        with tagged_world.store.transaction() as tx:
            tx.execute("INSERT INTO policies VALUES ('old', %s)", [Jsonb({"people": 1, "may": {}})])
            tx.execute("UPDATE releases SET policy_digest = 'old' WHERE id = %s", [release_id])
            upkeep.resume(tx, tagged_world.deps)
        assert tagged_world.view(release_id).release.policy_digest == "old"
        assert notices(tagged_world) == []

    def test_a_deployed_release_keeps_its_policy(self, tagged_world: World) -> None:
        """Who may roll it back is decided by the policy of the deploy."""
        release_id = tagged_world.run_to_watch()
        tagged_world.change(policy=Policy(four_eyes=False))
        with tagged_world.store.transaction() as tx:
            upkeep.resume(tx, tagged_world.deps)
        assert tagged_world.view(release_id).policy == Policy()


class TestWaiting:
    """A release that waits for people."""

    def test_a_waiting_release_is_examined_every_five_minutes(self, tagged_world: World, tags: Tags) -> None:
        """A changed tag is found without a click."""
        release_id = tagged_world.run_to_approval()
        assert run_upkeep(tagged_world) == 5
        tags.tag = OTHER_COMMIT
        tagged_world.clock.advance(minutes=5)
        assert run_upkeep(tagged_world) == 5
        assert tagged_world.view(release_id).release.commit == OTHER_COMMIT

    def test_vendors_that_do_not_answer_stop_nothing(self, tagged_world: World, tags: Tags) -> None:
        """The upkeep asks them again, and a deploy asks for itself."""
        tagged_world.run_to_approval()
        tags.away = True
        assert run_upkeep(tagged_world) == 5

    def test_the_upkeep_runs_when_a_freeze_ends(self, tagged_world: World) -> None:
        """A freeze that ends in three minutes disappears from the card in three minutes."""
        tagged_world.run_to_approval()
        tagged_world.act(freeze.freeze, MANAGER, tagged_world.clock.now() + timedelta(minutes=3), "short")
        assert run_upkeep(tagged_world) == 3

    def test_late_people_are_reminded_once_a_round(self, tagged_world: World) -> None:
        """Whoever has the missing role at that moment gets a direct message."""
        tagged_world.change(people=lambda role: {Role.RELEASE_MANAGER: [RITA], Role.QA: [QUINN, PAT]}.get(role, []))
        tagged_world.change(policy=Policy.model_validate({"required": ["release_manager", "qa"]}))
        release_id = tagged_world.run_to_approval()
        run_upkeep(tagged_world)
        tagged_world.clock.advance(hours=4)
        run_upkeep(tagged_world)
        run_upkeep(tagged_world)
        query = "SELECT subject, channel FROM posts WHERE kind = 'reminder' ORDER BY subject"
        assert [tuple(row.values()) for row in tagged_world.rows(query)] == [
            (f"qa:{PAT}:1", PAT),
            (f"qa:{QUINN}:1", QUINN),
        ]
        assert tagged_world.last_event().event == "release.reminded"
        tagged_world.approve(release_id, QA)
        tagged_world.clock.advance(hours=4)
        run_upkeep(tagged_world)
        assert [row["subject"] for row in tagged_world.rows(query)][-1] == f"qa:{QUINN}:1"

    def test_the_manager_is_reminded_of_an_open_gate(self, tagged_world: World) -> None:
        """If nobody else is late the release manager is reminded to deploy."""
        tagged_world.run_to_approval()
        tagged_world.clock.advance(hours=4)
        run_upkeep(tagged_world)
        assert [row["channel"] for row in tagged_world.rows("SELECT channel FROM posts WHERE kind = 'reminder'")] == [
            RITA
        ]

    def test_nobody_is_reminded_while_slack_does_not_answer(self, tagged_world: World) -> None:
        """Slack is asked again, and the rest of the upkeep goes on."""

        def away(role: Role) -> list[UserId]:
            raise VendorError("Slack is away")

        tagged_world.change(people=away)
        tagged_world.start()
        tagged_world.clock.advance(hours=4)
        assert run_upkeep(tagged_world) == 5
        assert tagged_world.rows("SELECT FROM posts WHERE kind = 'reminder'") == []

    def test_an_approval_expires(self, tagged_world: World) -> None:
        """Its person is told, and the gate closes at that moment."""
        release_id = tagged_world.run_to_approval()
        tagged_world.clock.advance(hours=24)
        assert run_upkeep(tagged_world) == 0.02
        tagged_world.clock.advance(seconds=1)
        tagged_world.run("check")
        tagged_world.resolve_source(release_id)
        with pytest.raises(GateClosed, match="Release Manager has not signed off"):
            tagged_world.deploy(QA, release_id)
        run_upkeep(tagged_world)
        assert "voided" in notices(tagged_world)
        assert tagged_world.view(release_id).signoffs == []

    def test_a_release_that_nobody_deploys_expires(self, tagged_world: World) -> None:
        """After seven days it is aborted with a notice, and the environment is free."""
        release_id = tagged_world.run_to_approval()
        tagged_world.clock.advance(days=7)
        assert run_upkeep(tagged_world) is None
        release = tagged_world.view(release_id).release
        assert (release.state, release.reason) == (ReleaseState.ABORTED, "nobody deployed it within 7 days")
        assert "aborted" in notices(tagged_world)
        tagged_world.start("v4.9.0")

    def test_the_upkeep_is_scheduled_at_the_start(self, tagged_world: World) -> None:
        """It is scheduled with the release, and again when a process starts."""
        release_id = tagged_world.start()
        assert tagged_world.rows("SELECT key FROM work WHERE queue = 'upkeep'") == [{"key": str(release_id)}]


class TestFreezeNotice:
    """Notices of freezes in the channel."""

    def test_each_freeze_has_its_own_notice(self, tagged_world: World) -> None:
        """A notice says that deploys are allowed again only if no other freeze is in force."""
        tagged_world.act(freeze.freeze, MANAGER, None, "before the first release there is nobody to tell")
        tagged_world.act(freeze.unfreeze, MANAGER)
        release_id = tagged_world.run_to_watch()
        tagged_world.act(freeze.freeze, MANAGER, tagged_world.clock.now() + timedelta(hours=1), "incident")
        tagged_world.clock.advance(seconds=5)
        tagged_world.act(freeze.freeze, MANAGER, tagged_world.clock.now() + timedelta(hours=4), "another")
        first, second = freeze_notices(tagged_world, release_id)
        instead = "That freeze is over, but another one freezes deploys until"
        assert first.startswith(f"{instead} <!date^")
        assert (first.endswith(": another"), second.startswith(f"<@{RITA}> froze deploys until")) == (True, True)
        tagged_world.clock.advance(seconds=5)
        tagged_world.act(judge_rollback, QA, release_id, "errors")
        tagged_world.run("advance")
        text = f"{instead} someone lifts it: v4.8.0 was rolled back: errors"
        assert freeze_notices(tagged_world, release_id) == [text, text]
        tagged_world.start("v4.9.0")
        assert rerendered_notices(tagged_world, freeze.unfreeze) >= {
            (release_id, "rolled_back"),
            (release_id, "frozen"),
        }
        assert freeze_notices(tagged_world, release_id) == ["The freeze is over. Deploys are allowed again."] * 2

    def test_a_window_of_the_calendar_freezes_deploys(self, tagged_world: World) -> None:
        """A freeze window of the policy closes the gate, and a rollback is possible."""
        now = tagged_world.clock.now()
        window = {
            "reason": "end of the year",
            "begins": f"{now + timedelta(hours=1):%Y-%m-%d %H:%M}",
            "ends": f"{now + timedelta(hours=3):%Y-%m-%d %H:%M}",
        }
        tagged_world.change(policy=Policy.model_validate({"freeze_windows": [window]}))
        release_id = tagged_world.run_to_approval()
        tagged_world.clock.advance(hours=2)
        tagged_world.resolve_source(release_id)
        with pytest.raises(GateClosed, match="deploys are frozen: end of the year"):
            tagged_world.deploy(QA, release_id)
        until = f"{window['ends']} UTC: end of the year"
        answer = f"Deploys to production are frozen by the calendar until {until}. Nobody can lift a calendar freeze."
        assert tagged_world.act(freeze.unfreeze, MANAGER) == answer
        answer = tagged_world.act(freeze.freeze, MANAGER, tagged_world.clock.now() + timedelta(minutes=5), "busy")
        assert f"After that the calendar keeps them frozen until {until}." in answer
        assert tagged_world.act(freeze.unfreeze, MANAGER) == (
            f"The freeze is lifted, but deploys to production are still frozen by the calendar until {until}."
        )
        assert freeze_notices(tagged_world, release_id)[0].startswith(
            "That freeze is over, but the calendar freezes deploys until"
        )
        tagged_world.clock.advance(hours=1)
        tagged_world.resolve_source(release_id)
        tagged_world.deploy(QA, release_id)

    def test_a_freeze_during_a_deploy_says_how_to_stop_it(self, tagged_world: World) -> None:
        """The running deploy continues, and answer and notice say how to stop it."""
        release_id = tagged_world.run_to_approval()
        tagged_world.deploy(QA, release_id)
        goes_on = (
            "The deploy of v4.8.0 continues. To stop it, press Cancel at its step in the thread, "
            "or type `/release rollback REASON`."
        )
        assert tagged_world.act(freeze.freeze, MANAGER, None, "incident").endswith(f"\n{goes_on}")
        assert freeze_notices(tagged_world, release_id) == [
            f"<@{RITA}> froze deploys until someone lifts it: incident\n{goes_on}"
        ]
        tagged_world.run("advance")
        assert freeze_notices(tagged_world, release_id) == [f"<@{RITA}> froze deploys until someone lifts it: incident"]
