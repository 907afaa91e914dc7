"""Tag and frontend, against the simulated GitHub and Vercel: once each, whatever is lost, refused or in the way."""

from contextlib import closing

import pytest

from bot.domain.actions import RestoreFrontend, Tag, VercelDeploy
from bot.domain.plan import Mutation, Way
from bot.errors import Contradicted, NoAnswer, StepError, Superseded
from bot.steps import frontend, tag
from bot.steps.contract import PAUSE, ReleaseReference
from clients.connections import Clients
from clients.github import GitHub
from clients.target import Target
from clients.vercel import id_of
from sandbox.staging.versions import BRANCH, commit_sha
from tests.checks.replies import Replies, Reply
from tests.fix_steps import Notes, Surroundings, Waits
from tests.fix_vendors import Vendors

COMMIT = commit_sha(BRANCH)
SHIPMENT = ReleaseReference("v4.8.0", "4.8.0", COMMIT, "ghcr.io/solvereign/api@sha256:" + "ab" * 32)
TAG = Tag(do="tag")
FRONTEND = VercelDeploy(do="vercel_deploy", wait_for_auto=0)
RESTORE = RestoreFrontend(do="restore_frontend")
ASKED = "GET /repos/o/r/git/ref/tags/v4.8.0"
STANDS = "dpl_v4.7.0"  # what production shows before the release


@pytest.fixture
def step(vendors: Vendors) -> Surroundings:
    """A step of the release v4.8.0."""
    return Surroundings(Target(name="production").model_copy(update=vendors.parts), SHIPMENT)


def tag_of(step: Surroundings, vendor: Replies, seconds: float = 20) -> tuple[str, bool] | None:
    """What GitHub at ``vendor`` says of the tag, asked as a step asks that has ``seconds`` left."""
    step.cancelled = Waits()
    with Clients(step.target) as clients, closing(GitHub(vendor.url, "o/r", "")) as github:
        return step.context(clients, seconds).retry_read(lambda: github.tag("v4.8.0"))


def live(vendors: Vendors) -> str:
    """The deployment that production shows."""
    found = vendors.vercel.live()
    assert found is not None
    return str(found["id"])


class TestTag:
    """Step 1."""

    def test_once(self, step: Surroundings, vendors: Vendors) -> None:
        """Annotated, on the commit; the second time changes nothing."""
        assert step.perform(tag.create, TAG) == f"v4.8.0 is on {COMMIT[:12]}"
        assert vendors.github.tag("v4.8.0") == (COMMIT, True)
        assert step.notes.kinds() == ["intent", "acted", "observed"]
        step.notes, asked = Notes(), vendors.posts()
        step.perform(tag.create, TAG)
        assert (step.notes.kinds(), vendors.posts()) == (["observed"], asked)

    def test_shown_before(self, step: Surroundings, vendors: Vendors) -> None:
        """What is shown is what is done, and showing asks for nothing."""
        (shown,) = step.look(tag.preview, TAG)
        assert shown == Mutation(
            "tag v4.8.0 of solvereign/solvereign",
            "",
            f"commit {COMMIT}",
            Way.STAYS,
            "stays: a tag is never moved or deleted",
        )
        assert vendors.posts() == []
        step.perform(tag.create, TAG)
        assert step.notes.intents() == [shown]
        assert step.look(tag.preview, TAG) == []

    @pytest.mark.parametrize("how", ["lost", 500, 429])
    @pytest.mark.parametrize("part", ["/git/tags", "/git/refs"])
    def test_no_answer(self, step: Surroundings, vendors: Vendors, part: str, how: int | str) -> None:
        """Whether it was carried out is seen by looking; there is one tag."""
        vendors.break_once("POST", part, how)
        step.perform(tag.create, TAG)
        assert vendors.github.tag("v4.8.0") == (COMMIT, True)
        assert vendors.posts().count("/repos/solvereign/solvereign/git/refs") == (
            2 if (part, how) in {("/git/refs", 500), ("/git/refs", 429)} else 1
        )

    def test_a_look_without_answer_is_repeated(self, step: Surroundings, vendors: Vendors) -> None:
        """Reading may be done again."""
        vendors.break_once("GET", "/compare/", 502)
        step.perform(tag.create, TAG)

    @pytest.mark.parametrize(
        ("status", "headers", "waited"),
        [
            (429, {"Retry-After": "7"}, [7.0]),
            (403, {"Retry-After": "7"}, [7.0]),  # GitHub's secondary limits
            (503, {"Retry-After": "0"}, [PAUSE]),
            (500, {"Retry-After": "7"}, [PAUSE]),
            (429, {}, [PAUSE]),
        ],
    )
    def test_a_pause_that_is_asked_for_is_kept(
        self, step: Surroundings, status: int, headers: dict[str, str], waited: list[float]
    ) -> None:
        """Before it is asked again."""
        left = [Reply(status, {}, headers)]
        with Replies({ASKED: lambda _: left.pop() if left else Reply(404, {})}) as vendor:
            assert tag_of(step, vendor) is None
            assert (step.cancelled.waited, len(vendor.requests)) == (waited, 2)  # type: ignore[attr-defined]

    @pytest.mark.parametrize(("seconds", "time_left"), [("61", 600), ("21", 20)])
    def test_a_pause_that_is_too_long_is_left_to_a_person(
        self, step: Surroundings, seconds: str, time_left: float
    ) -> None:
        """Longer than a step waits, or than it has time for."""
        with Replies({ASKED: Reply(429, {}, {"Retry-After": seconds})}) as vendor:
            with pytest.raises(
                NoAnswer, match=f"GitHub answered 429 to GET .* asks for a pause of {seconds} s"
            ) as left:
                tag_of(step, vendor, time_left)
            assert (left.value.hint, len(vendor.requests)) == ("Retry after that.", 1)

    @pytest.mark.parametrize(
        ("status", "hint"),
        [
            (401, "Renew its token: github in release-bot.yml."),
            (404, "Check its settings: github in release-bot.yml."),
            (409, "Something else is at it: press Retry in a moment."),
        ],
    )
    def test_refused(self, step: Surroundings, vendors: Vendors, status: int, hint: str) -> None:
        """It is not asked for again, and what to do is said: a conflict is nothing that a setting mends."""
        vendors.break_once("POST", "/git/refs", status)
        with pytest.raises(StepError, match=f"GitHub refused POST .*/git/refs: {status} broken by the test") as refused:
            step.perform(tag.create, TAG)
        assert refused.value.hint == hint
        assert vendors.posts().count("/repos/solvereign/solvereign/git/refs") == 1

    def test_elsewhere(self, step: Surroundings, vendors: Vendors) -> None:
        """A tag that points to another commit is refused and stays where it is."""
        vendors.github.create_tag("v4.8.0", commit_sha("v4.7.0"), "by somebody")
        before = vendors.posts()
        with pytest.raises(StepError, match=r"the tag v4\.8\.0 is there and points to .*, not to") as refused:
            step.perform(tag.create, TAG)
        assert "never moved" in refused.value.hint
        assert vendors.posts() == before

    def test_not_green(self, step: Surroundings, vendors: Vendors) -> None:
        """A commit whose checks failed is not tagged."""
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(StepError, match="not green: backend tests"):
            step.perform(tag.create, TAG)
        assert vendors.posts() == []
        step.perform(tag.create, Tag(do="tag", checks=False))

    @pytest.mark.parametrize(
        ("version", "commit", "said"),
        [
            ("v4.8.0", "v4.7.0", r"is the very commit of v4\.7\.0"),
            ("v4.8.0", "v4.6.0", r"is older than v4\.7\.0"),
        ],
    )
    def test_not_ahead(self, step: Surroundings, version: str, commit: str, said: str) -> None:
        """Of the last release, which is the highest one that is tagged below this version where the bot has seen none."""
        step.reference = ReleaseReference(version, version[1:], commit_sha(commit), "")
        with pytest.raises(StepError, match=said):
            step.perform(tag.create, TAG)

    def test_ahead_of_what_was_deployed(self, step: Surroundings) -> None:
        """What the bot has deployed counts, not the highest tag."""
        step.reference = ReleaseReference("v4.8.0", "4.8.0", commit_sha("v4.7.0"), "", previous="v4.6.0")
        step.perform(tag.create, TAG)

    def test_not_configured(self, step: Surroundings) -> None:
        """It says what to add."""
        step.target = Target(name="production")
        with pytest.raises(StepError) as refused:
            step.perform(tag.create, TAG)
        assert refused.value.hint == "Set github in release-bot.yml."


class TestTagByHand:
    """What the bot sees of a tag that somebody says to have made."""

    def test_made(self, step: Surroundings, vendors: Vendors) -> None:
        """On the commit of the release, under the rules; looking asks for no change."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        before = vendors.posts()
        assert step.look(tag.confirm, TAG) == f"v4.8.0 is on {COMMIT[:12]}"
        assert vendors.posts() == before

    def test_not_made(self, step: Surroundings) -> None:
        """It says what to push, and where."""
        with pytest.raises(Contradicted, match=r"there is no tag v4\.8\.0 on GitHub yet") as refused:
            step.look(tag.confirm, TAG)
        assert refused.value.hint == f"Push it, on commit {COMMIT[:12]}."

    def test_elsewhere(self, step: Surroundings, vendors: Vendors) -> None:
        """A tag on another commit is not this release's."""
        vendors.github.create_tag("v4.8.0", commit_sha("v4.7.0"), "by somebody")
        with pytest.raises(Contradicted, match="points to"):
            step.look(tag.confirm, TAG)

    def test_not_green(self, step: Surroundings, vendors: Vendors) -> None:
        """A tag that was pushed past red checks does not make them green."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(Contradicted, match="not green: backend tests"):
            step.look(tag.confirm, TAG)
        step.look(tag.confirm, Tag(do="tag", checks=False))

    def test_not_ahead(self, step: Surroundings, vendors: Vendors) -> None:
        """Nor does it make an old commit a new one."""
        step.reference = ReleaseReference("v4.8.0", "4.8.0", commit_sha("v4.6.0"), "")
        vendors.github.create_tag("v4.8.0", commit_sha("v4.6.0"), "by somebody")
        with pytest.raises(Contradicted, match=r"is older than v4\.7\.0"):
            step.look(tag.confirm, TAG)

    def test_what_is_known_to_be_wrong_comes_before_what_cannot_be_seen(
        self, step: Surroundings, vendors: Vendors
    ) -> None:
        """A look that gets no answer hides no red check; alone it is no verdict."""
        vendors.github.create_tag("v4.8.0", COMMIT, "by somebody")
        vendors.breaking = lambda method, path: 403 if "/compare/" in path else None
        with pytest.raises(StepError, match="GitHub refused") as unseen:
            step.look(tag.confirm, TAG)
        assert not isinstance(unseen.value, Contradicted)
        vendors.faults.set("commit_checks_fail", True)
        with pytest.raises(Contradicted, match="not green"):
            step.look(tag.confirm, TAG)


class TestFrontend:
    """Step 5, and its way back."""

    def test_there_and_back(self, step: Surroundings, vendors: Vendors) -> None:
        """A deployment of the commit is made; back to the very deployment of before, however often."""
        (shown,) = step.look(frontend.preview, FRONTEND)
        step.recorded = step.look(frontend.where_we_are, FRONTEND)
        assert step.recorded == {"deployment": STANDS, "commit": commit_sha("v4.7.0")}
        said = step.contradicted(frontend.confirm, FRONTEND)
        assert said == f"{shown.what} is {shown.now}, not a deployment of commit {COMMIT[:12]}"
        assert step.look(frontend.confirm_restore, RESTORE) == f"production shows {STANDS}"
        step.perform(frontend.deploy, FRONTEND)
        found = vendors.vercel.live()
        assert found is not None
        assert found["meta"]["githubCommitSha"] == COMMIT
        assert step.notes.intents() == [shown]
        assert step.look(frontend.confirm, FRONTEND) == f"production shows {id_of(found)}, commit {COMMIT[:12]}"
        assert f"not {STANDS}, commit" in step.contradicted(frontend.confirm_restore, RESTORE)
        assert shown.now == f"{STANDS}, commit {commit_sha('v4.7.0')[:12]}"
        assert step.notes.first == {"deployment": shown.now}
        for _ in range(2):
            step.perform(frontend.restore, RESTORE)
            assert live(vendors) == STANDS
        assert len([path for path in vendors.posts() if "/rollback/" in path]) == 1

    def test_a_second_time_changes_nothing(self, step: Surroundings, vendors: Vendors) -> None:
        """After a crash it looks first."""
        step.perform(frontend.deploy, FRONTEND)
        step.notes, asked = Notes(), vendors.posts()
        assert "already" in step.perform(frontend.deploy, FRONTEND)
        assert (step.notes.kinds(), vendors.posts()) == ([], asked)

    def test_waits_for_the_automatic_one(self, step: Surroundings, vendors: Vendors) -> None:
        """Vercel builds the tag by itself, so nothing is asked for."""
        step.perform(tag.create, TAG)
        tagged = vendors.posts()
        step.perform(frontend.deploy, VercelDeploy(do="vercel_deploy", wait_for_auto=15))
        assert vendors.posts() == tagged

    def test_after_a_rollback_it_has_to_be_promoted(self, step: Surroundings, vendors: Vendors) -> None:
        """A rollback on Vercel switches off that new builds go live by themselves."""
        step.recorded = step.look(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        step.perform(frontend.restore, RESTORE)
        step.perform(frontend.deploy, FRONTEND)
        found = vendors.vercel.live()
        assert found is not None
        assert found["meta"]["githubCommitSha"] == COMMIT
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 1
        assert sum("/promote/" in path for path in vendors.posts()) == 1

    def test_deployed_by_itself_before_the_release(self, step: Surroundings, vendors: Vendors) -> None:
        """The way back is then the newest earlier deployment, not the release's own."""
        step.perform(frontend.deploy, FRONTEND)
        assert step.look(frontend.where_we_are, FRONTEND)["deployment"] == STANDS
        assert step.look(frontend.preview, FRONTEND) == []

    def test_a_build_that_fails(self, step: Surroundings, vendors: Vendors) -> None:
        """It says so and where the log is; a retry builds once more."""
        vendors.faults.set("vercel_build_fails", True)
        with pytest.raises(StepError, match=r"could not build dpl_.*: ERROR") as failed:
            step.perform(frontend.deploy, FRONTEND)
        assert "https://vercel.com/" in failed.value.hint
        assert live(vendors) == STANDS
        vendors.faults.set("vercel_build_fails", False)
        with pytest.raises(StepError, match="could not build"):  # taken up after a crash, it does not build again
            step.perform(frontend.deploy, FRONTEND)
        step.attempt = 2
        step.perform(frontend.deploy, FRONTEND)
        assert live(vendors) != STANDS
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 2

    def test_no_answer_to_the_build(self, step: Surroundings, vendors: Vendors) -> None:
        """A build that was begun without an answer is not begun twice."""
        vendors.break_once("POST", "/v13/deployments", "lost")
        step.perform(frontend.deploy, FRONTEND)
        assert live(vendors) != STANDS
        assert sum(path == "/v13/deployments" for path in vendors.posts()) == 1

    def test_killed_while_it_asked_for_the_build(self, step: Surroundings, vendors: Vendors) -> None:
        """What was asked for may not be listed yet, so the next process does not ask again at once."""

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

    def test_killed_while_production_moves(self, step: Surroundings, vendors: Vendors) -> None:
        """The next process sees that it moves, and does not ask again."""
        step.recorded = step.look(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        vendors.sim_vercel._pace = 1.0
        step.cancelled.set()
        with pytest.raises(Superseded):
            step.perform(frontend.restore, RESTORE)
        step.cancelled.clear()
        step.perform(frontend.restore, RESTORE)
        assert live(vendors) == STANDS
        assert len([path for path in vendors.posts() if "/rollback/" in path]) == 1

    @pytest.mark.parametrize("how", ["lost", 500, 409])
    def test_no_answer_to_the_rollback(self, step: Surroundings, vendors: Vendors, how: int | str) -> None:
        """It ends at the recorded deployment."""
        step.recorded = step.look(frontend.where_we_are, FRONTEND)
        step.perform(frontend.deploy, FRONTEND)
        vendors.break_once("POST", "/rollback/", how)
        step.perform(frontend.restore, RESTORE)
        assert live(vendors) == STANDS

    def test_the_recorded_one_is_gone(self, step: Surroundings, vendors: Vendors) -> None:
        """Never another one in its place."""
        step.perform(frontend.deploy, FRONTEND)
        step.recorded = {"deployment": "dpl_gone", "commit": "c0ffee"}
        with pytest.raises(StepError, match="dpl_gone is gone from Vercel"):
            step.perform(frontend.restore, RESTORE)

    def test_down(self, step: Surroundings, vendors: Vendors) -> None:
        """Asked a few times, then said."""
        vendors.faults.set("vercel_down", True)
        with pytest.raises(NoAnswer, match="Vercel answered 503 to GET /v9/projects/prj_solvereign"):
            step.perform(frontend.deploy, FRONTEND)
        assert len(vendors.calls) == 4

    def test_nothing_recorded(self, step: Surroundings) -> None:
        """A deploy that failed before its first change."""
        assert step.perform(frontend.restore, RESTORE) == "nothing was changed, so there is nothing to put back"
