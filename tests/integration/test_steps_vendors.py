"""Tag and frontend, against the simulated GitHub and Vercel: once each, whatever is lost, refused or in the way."""

from contextlib import closing

import pytest

from bot.domain.actions import RestoreFrontend, Tag, VercelDeploy
from bot.domain.plan import Mutation, Way
from bot.errors import Contradicted, NoAnswer, StepError, Superseded
from bot.steps import frontend, tag
from bot.steps.contract import FIRST_PAUSE, ReleaseReference
from clients.connections import Clients
from clients.github import GitHub
from clients.target import Target
from clients.vercel import id_of
from sandbox.staging.versions import BRANCH, commit_sha
from tests.checks.replies import Replies, Reply
from tests.fix_steps import Notes, RecordedPauses, StepHarness
from tests.fix_vendors import Vendors

COMMIT = commit_sha(BRANCH)
SHIPMENT = ReleaseReference("v4.8.0", "4.8.0", COMMIT, "ghcr.io/solvereign/api@sha256:" + "ab" * 32)
TAG = Tag(do="tag")
FRONTEND = VercelDeploy(do="vercel_deploy", wait_for_auto=0)
RESTORE = RestoreFrontend(do="restore_frontend")
TAG_ROUTE = "GET /repos/o/r/git/ref/tags/v4.8.0"
LIVE_DEPLOYMENT = "dpl_v4.7.0"  # what production shows before the release


@pytest.fixture
def step(vendors: Vendors) -> StepHarness:
    """A step of the release v4.8.0."""
    return StepHarness(Target(name="production").model_copy(update=vendors.parts), SHIPMENT)


def tag_of(step: StepHarness, vendor: Replies, seconds: float = 20) -> tuple[str, bool] | None:
    """Read the tag from GitHub at ``vendor``, as a step with ``seconds`` left does."""
    step.cancelled = RecordedPauses()
    with Clients(step.target) as clients, closing(GitHub(vendor.url, "o/r", "")) as github:
        return step.context(clients, seconds).retry_read(lambda: github.tag("v4.8.0"))


def live(vendors: Vendors) -> str:
    """The deployment that is live in production."""
    deployment = vendors.vercel.live()
    assert deployment is not None
    return str(deployment["id"])


class TestTag:
    """The step for the tag."""

    def test_a_tag_is_created_once(self, step: StepHarness, vendors: Vendors) -> None:
        """The tag is annotated and on the commit, and a second run changes nothing."""
        assert step.perform(tag.create, TAG) == f"v4.8.0 is on {COMMIT[:12]}"
        assert vendors.github.tag("v4.8.0") == (COMMIT, True)
        assert step.notes.kinds() == ["intent", "acted", "observed"]
        step.notes, requests = Notes(), vendors.posts()
        step.perform(tag.create, TAG)
        assert (step.notes.kinds(), vendors.posts()) == (["observed"], requests)

    def test_the_tag_is_shown_before(self, step: StepHarness, vendors: Vendors) -> None:
        """The plan shows exactly what is done, and showing changes nothing."""
        (change,) = step.inspect(tag.preview, TAG)
        assert change == Mutation(
            "tag v4.8.0 of solvereign/solvereign",
            "",
            f"commit {COMMIT}",
            Way.COMPATIBLE,
            "stays: a tag is never moved or deleted",
        )
        assert vendors.posts() == []
        step.perform(tag.create, TAG)
        assert step.notes.intents() == [change]
        assert step.inspect(tag.preview, TAG) == []

    @pytest.mark.parametrize("how", ["lost", 500, 429])
    @pytest.mark.parametrize("part", ["/git/tags", "/git/refs"])
    def test_a_lost_answer_creates_no_second_tag(
        self, step: StepHarness, vendors: Vendors, part: str, how: int | str
    ) -> None:
        """The step looks whether the request was carried out."""
        vendors.break_once("POST", part, how)
        step.perform(tag.create, TAG)
        assert vendors.github.tag("v4.8.0") == (COMMIT, True)
        assert vendors.posts().count("/repos/solvereign/solvereign/git/refs") == (
            2 if (part, how) in {("/git/refs", 500), ("/git/refs", 429)} else 1
        )

    def test_a_read_without_an_answer_is_repeated(self, step: StepHarness, vendors: Vendors) -> None:
        """A read can be repeated safely."""
        vendors.break_once("GET", "/compare/", 502)
        step.perform(tag.create, TAG)

    @pytest.mark.parametrize(
        ("status", "headers", "pauses"),
        [
            (429, {"Retry-After": "7"}, [7.0]),
            (403, {"Retry-After": "7"}, [7.0]),  # GitHub's secondary limits
            (503, {"Retry-After": "0"}, [FIRST_PAUSE]),
            (500, {"Retry-After": "7"}, [FIRST_PAUSE]),
            (429, {}, [FIRST_PAUSE]),
        ],
    )
    def test_a_requested_pause_is_respected(
        self, step: StepHarness, status: int, headers: dict[str, str], pauses: list[float]
    ) -> None:
        """The step waits before it asks again."""
        replies = [Reply(status, {}, headers)]
        with Replies({TAG_ROUTE: lambda _: replies.pop() if replies else Reply(404, {})}) as vendor:
            assert tag_of(step, vendor) is None
            assert (step.cancelled.pauses, len(vendor.requests)) == (pauses, 2)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("seconds", "time_left"), [("61", 600), ("21", 20)])
    def test_a_pause_that_is_too_long_is_an_error(self, step: StepHarness, seconds: str, time_left: float) -> None:
        """A person retries if the pause is longer than a step waits or has time for."""
        with Replies({TAG_ROUTE: Reply(429, {}, {"Retry-After": seconds})}) as vendor:
            with pytest.raises(
                NoAnswer, match=f"GitHub answered 429 to GET .* asks the bot to wait {seconds} s"
            ) as error:
                tag_of(step, vendor, time_left)
            assert (error.value.hint, len(vendor.requests)) == ("Retry after that.", 1)

    @pytest.mark.parametrize(
        ("status", "hint"),
        [
            (401, "Renew its token: github in release-bot.yml."),
            (404, "Check its settings: github in release-bot.yml."),
            (409, "Something else is changing it: press Retry in a moment."),
        ],
    )
    def test_a_refused_tag_is_an_error_with_a_hint(
        self, step: StepHarness, vendors: Vendors, status: int, hint: str
    ) -> None:
        """The request is not repeated, and a conflict is no problem of the settings."""
        vendors.break_once("POST", "/git/refs", status)
        with pytest.raises(StepError, match=f"GitHub refused POST .*/git/refs: {status} broken by the test") as error:
            step.perform(tag.create, TAG)
        assert error.value.hint == hint
        assert vendors.posts().count("/repos/solvereign/solvereign/git/refs") == 1

    def test_a_tag_on_another_commit_is_refused(self, step: StepHarness, vendors: Vendors) -> None:
        """The tag stays where it is."""
        vendors.github.create_tag("v4.8.0", commit_sha("v4.7.0"), "by somebody")
        before = vendors.posts()
        with pytest.raises(StepError, match=r"the tag v4\.8\.0 exists and points to .*, not to") as error:
            step.perform(tag.create, TAG)
        assert "never moved" in error.value.hint
        assert vendors.posts() == before

    def test_a_commit_with_failed_checks_is_not_tagged(self, step: StepHarness, vendors: Vendors) -> None:
        """The step can be configured not to look at the checks."""
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(StepError, match="not green: backend tests"):
            step.perform(tag.create, TAG)
        assert vendors.posts() == []
        step.perform(tag.create, Tag(do="tag", checks=False))

    @pytest.mark.parametrize(
        ("version", "commit", "message"),
        [
            ("v4.8.0", "v4.7.0", r"is the same commit as v4\.7\.0"),
            ("v4.8.0", "v4.6.0", r"is older than v4\.7\.0"),
        ],
    )
    def test_a_commit_behind_the_last_release_is_not_tagged(
        self, step: StepHarness, version: str, commit: str, message: str
    ) -> None:
        """Without a known deploy, the last release is the highest tag below this version."""
        step.reference = ReleaseReference(version, version[1:], commit_sha(commit), "")
        with pytest.raises(StepError, match=message):
            step.perform(tag.create, TAG)

    def test_the_last_deploy_counts_as_the_last_release(self, step: StepHarness) -> None:
        """A higher tag that was never deployed does not count."""
        step.reference = ReleaseReference("v4.8.0", "4.8.0", commit_sha("v4.7.0"), "", previous="v4.6.0")
        step.perform(tag.create, TAG)

    def test_a_missing_configuration_is_an_error(self, step: StepHarness) -> None:
        """The hint says what to add."""
        step.target = Target(name="production")
        with pytest.raises(StepError) as error:
            step.perform(tag.create, TAG)
        assert error.value.hint == "Set github in release-bot.yml."


class TestTagByHand:
    """How the bot confirms a tag that somebody created."""

    def test_a_tag_by_hand_is_confirmed(self, step: StepHarness, vendors: Vendors) -> None:
        """The tag is on the commit of the release, and confirming changes nothing."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        before = vendors.posts()
        assert step.inspect(tag.confirm, TAG) == f"v4.8.0 is on {COMMIT[:12]}"
        assert vendors.posts() == before

    def test_a_missing_tag_is_contradicted(self, step: StepHarness) -> None:
        """The hint says what to push."""
        with pytest.raises(Contradicted, match=r"there is no tag v4\.8\.0 on GitHub yet") as error:
            step.inspect(tag.confirm, TAG)
        assert error.value.hint == f"Push it, on commit {COMMIT[:12]}."

    def test_a_tag_by_hand_on_another_commit_is_contradicted(self, step: StepHarness, vendors: Vendors) -> None:
        """A tag on another commit is not this release's."""
        vendors.github.create_tag("v4.8.0", commit_sha("v4.7.0"), "by somebody")
        with pytest.raises(Contradicted, match="points to"):
            step.inspect(tag.confirm, TAG)

    def test_a_tag_by_hand_on_a_failed_commit_is_contradicted(self, step: StepHarness, vendors: Vendors) -> None:
        """A pushed tag does not make failed checks green."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(Contradicted, match="not green: backend tests"):
            step.inspect(tag.confirm, TAG)
        step.inspect(tag.confirm, Tag(do="tag", checks=False))

    def test_a_tag_by_hand_on_an_old_commit_is_contradicted(self, step: StepHarness, vendors: Vendors) -> None:
        """A pushed tag does not make an old commit newer."""
        step.reference = ReleaseReference("v4.8.0", "4.8.0", commit_sha("v4.6.0"), "")
        vendors.github.create_tag("v4.8.0", commit_sha("v4.6.0"), "by somebody")
        with pytest.raises(Contradicted, match=r"is older than v4\.7\.0"):
            step.inspect(tag.confirm, TAG)

    def test_a_known_problem_comes_before_a_missing_answer(self, step: StepHarness, vendors: Vendors) -> None:
        """A missing answer does not hide failed checks, and alone it is no contradiction."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        vendors.fault_for = lambda method, path: 403 if "/compare/" in path else None
        with pytest.raises(StepError, match="GitHub refused") as unseen:
            step.inspect(tag.confirm, TAG)
        assert not isinstance(unseen.value, Contradicted)
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(Contradicted, match="not green"):
            step.inspect(tag.confirm, TAG)


class TestFrontend:
    """The step for the frontend, and its rollback."""

    def test_a_frontend_is_deployed_and_rolled_back(self, step: StepHarness, vendors: Vendors) -> None:
        """The commit is deployed, and the rollback restores the exact previous deployment."""
        (change,) = step.inspect(frontend.preview, FRONTEND)
        step.rollback_target = step.inspect(frontend.where_we_are, FRONTEND)
        assert step.rollback_target == {"deployment": LIVE_DEPLOYMENT, "commit": commit_sha("v4.7.0")}
        message = step.contradiction_of(frontend.confirm, FRONTEND)
        assert message == f"{change.what} is {change.now}, not a deployment of commit {COMMIT[:12]}"
        assert step.inspect(frontend.confirm_restore, RESTORE) == f"production shows {LIVE_DEPLOYMENT}"
        step.perform(frontend.deploy, FRONTEND)
        deployment = vendors.vercel.live()
        assert deployment is not None
        assert deployment["meta"]["githubCommitSha"] == COMMIT
        assert step.notes.intents() == [change]
        assert step.inspect(frontend.confirm, FRONTEND) == f"production shows {id_of(deployment)}, commit {COMMIT[:12]}"
        assert f"not {LIVE_DEPLOYMENT}, commit" in step.contradiction_of(frontend.confirm_restore, RESTORE)
        assert change.now == f"{LIVE_DEPLOYMENT}, commit {commit_sha('v4.7.0')[:12]}"
        assert step.notes.first == {"deployment": change.now}
        for _ in range(2):
            step.perform(frontend.restore, RESTORE)
            assert live(vendors) == LIVE_DEPLOYMENT
        assert len([path for path in vendors.posts() if "/rollback/" in path]) == 1

    def test_a_second_deploy_changes_nothing(self, step: StepHarness, vendors: Vendors) -> None:
        """After a crash the step looks first."""
        step.perform(frontend.deploy, FRONTEND)
        step.notes, requests = Notes(), vendors.posts()
        assert "already" in step.perform(frontend.deploy, FRONTEND)
        assert (step.notes.kinds(), vendors.posts()) == ([], requests)

    def test_an_automatic_deployment_is_waited_for(self, step: StepHarness, vendors: Vendors) -> None:
        """Vercel builds the tag by itself, so the step requests nothing."""
        step.perform(tag.create, TAG)
        requests = vendors.posts()
        step.perform(frontend.deploy, VercelDeploy(do="vercel_deploy", wait_for_auto=15))
        assert vendors.posts() == requests

    def test_a_deployment_after_a_rollback_is_promoted(self, step: StepHarness, vendors: Vendors) -> None:
        """After a rollback Vercel no longer promotes new builds by itself."""
        step.rollback_target = step.inspect(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        step.perform(frontend.restore, RESTORE)
        step.perform(frontend.deploy, FRONTEND)
        deployment = vendors.vercel.live()
        assert deployment is not None
        assert deployment["meta"]["githubCommitSha"] == COMMIT
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 1
        assert sum("/promote/" in path for path in vendors.posts()) == 1

    def test_a_deployment_before_the_release_is_rolled_back_past(self, step: StepHarness, vendors: Vendors) -> None:
        """The rollback target is then the newest earlier deployment."""
        step.perform(frontend.deploy, FRONTEND)
        assert step.inspect(frontend.where_we_are, FRONTEND)["deployment"] == LIVE_DEPLOYMENT
        assert step.inspect(frontend.preview, FRONTEND) == []

    def test_a_failed_build_is_an_error(self, step: StepHarness, vendors: Vendors) -> None:
        """The error links to the log, and a retry builds once more."""
        vendors.faults.set("vercel_build_fails", True)
        with pytest.raises(StepError, match=r"couldn't build dpl_.*: ERROR") as error:
            step.perform(frontend.deploy, FRONTEND)
        assert "https://vercel.com/" in error.value.hint
        assert live(vendors) == LIVE_DEPLOYMENT
        vendors.faults.set("vercel_build_fails", False)
        with pytest.raises(StepError, match="couldn't build"):  # taken up after a crash, it does not build again
            step.perform(frontend.deploy, FRONTEND)
        step.attempt = 2
        step.perform(frontend.deploy, FRONTEND)
        assert live(vendors) != LIVE_DEPLOYMENT
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 2

    def test_a_build_with_a_lost_answer_is_not_repeated(self, step: StepHarness, vendors: Vendors) -> None:
        """A build that began without an answer is found by looking."""
        vendors.break_once("POST", "/v13/deployments", "lost")
        step.perform(frontend.deploy, FRONTEND)
        assert live(vendors) != LIVE_DEPLOYMENT
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 1

    def test_a_build_is_not_requested_twice_after_a_kill(self, step: StepHarness, vendors: Vendors) -> None:
        """The requested build may not be listed yet, so the next process waits for it."""

        def die() -> None:
            if step.notes.kinds() == ["intent", "observed", "intent"]:
                step.notes.on_intent = lambda: None
                raise Superseded

        step.notes.on_intent = die
        with pytest.raises(Superseded):
            step.perform(frontend.deploy, FRONTEND)
        with pytest.raises(StepError, match="gave up waiting for Vercel to build"):
            step.perform(frontend.deploy, FRONTEND, seconds=1)
        assert vendors.posts() == []

    def test_a_rollback_is_not_requested_twice_after_a_kill(self, step: StepHarness, vendors: Vendors) -> None:
        """The next process sees that production is changing."""
        step.rollback_target = step.inspect(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        vendors.sim_vercel._pace = 1.0
        step.cancelled.set()
        with pytest.raises(Superseded):
            step.perform(frontend.restore, RESTORE)
        step.cancelled.clear()
        step.perform(frontend.restore, RESTORE)
        assert live(vendors) == LIVE_DEPLOYMENT
        assert len([path for path in vendors.posts() if "/rollback/" in path]) == 1

    @pytest.mark.parametrize("how", ["lost", 500, 409])
    def test_a_rollback_with_a_lost_answer_ends_at_the_recorded_deployment(
        self, step: StepHarness, vendors: Vendors, how: int | str
    ) -> None:
        """The step looks whether the rollback was carried out."""
        step.rollback_target = step.inspect(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        vendors.break_once("POST", "/rollback/", how)
        step.perform(frontend.restore, RESTORE)
        assert live(vendors) == LIVE_DEPLOYMENT

    def test_a_missing_deployment_is_an_error(self, step: StepHarness, vendors: Vendors) -> None:
        """No other deployment is restored in its place."""
        step.perform(frontend.deploy, FRONTEND)
        step.rollback_target = {"deployment": "dpl_gone", "commit": "c0ffee"}
        with pytest.raises(StepError, match="dpl_gone is gone from Vercel"):
            step.perform(frontend.restore, RESTORE)

    def test_an_unreachable_vercel_is_an_error(self, step: StepHarness, vendors: Vendors) -> None:
        """Vercel is asked a few times before."""
        vendors.faults.set("vercel_down", True)
        with pytest.raises(NoAnswer, match="Vercel answered 503 to GET /v9/projects/prj_solvereign"):
            step.perform(frontend.deploy, FRONTEND)
        assert len(vendors.calls) == 4

    def test_nothing_is_restored_without_a_record(self, step: StepHarness) -> None:
        """A deploy that failed before its first change needs no rollback."""
        assert step.perform(frontend.restore, RESTORE) == "nothing was changed, so there is nothing to put back"
