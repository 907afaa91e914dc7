"""Checks of a release: run, run again, waive, attest."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bot.domain.checklist import Check, Section
from bot.domain.gate import deploy_gate
from bot.domain.ids import CheckId
from bot.domain.model import digest_of
from bot.domain.reasons import Cause
from bot.domain.results import CheckStatus, RunState, check_status
from bot.errors import InvalidInput, NotAllowed, RefusedError, StaleButton, Superseded, UnknownThing
from bot.flows import abort, check
from bot.flows.undo import undo_orphans
from bot.store import posts, releases, work
from bot.store.pool import Store
from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params, Subject
from checks.registry import BUILT_IN, Registry
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, Outside, World, checklist, die, hang_at
from tests.fix_kube import eventually
from tests.unit.factories import QUINN, RITA, make_check

ONE, FIRST, SECOND = CheckId("go.one"), CheckId("prep.first"), CheckId("prep.second")


def with_kind(world: World, kind: str) -> None:
    """Give go.one another kind."""
    sections = list(world.deps.checklist.sections)
    sections[0] = sections[0].model_copy(update={"checks": (make_check("go.one", kind=kind), sections[0].checks[1])})
    world.change(checklist=checklist(sections=tuple(sections)))


def test_every_check_runs_once(world: World, outside: Outside) -> None:
    """Each check answers once with evidence for the person who asked, and needed checks run first."""
    outside.answers = {"go.two": "two of five are missing", "prep.first": Outcome.PASS}
    release_id = world.start()
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    assert outside.runs.index("prep.first") < outside.runs.index("prep.second")
    result = world.view(release_id).checks[CheckId("go.two")].result
    assert result is not None
    assert (result.outcome, result.summary, result.by) == (Outcome.FAIL, "two of five are missing", RITA)
    assert [event for event in world.recorded_events() if event[1] == "check.answered"] == [
        (RITA, "check.answered")
    ] * 4


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Outcome.FAIL, Outcome.FAIL),
        (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE),
        (CheckError("no rights"), Outcome.ERROR),
        (ZeroDivisionError("a fault of the kind"), Outcome.ERROR),
    ],
)
def test_only_a_pass_is_a_pass(world: World, outside: Outside, answer: Outcome | Exception, outcome: Outcome) -> None:
    """Whatever a kind answers or raises, only PASS is a pass (promise P2)."""
    outside.answers = {"go.one": answer}
    release_id = world.start()
    world.run("check")
    assert world.outcome(release_id, "go.one") is outcome


def test_texts_that_postgresql_rejects_are_stored_cleaned(world: World, outside: Outside) -> None:
    """NUL bytes and half characters are replaced, and secrets are redacted as usual."""
    outside.answers = {"go.one": "bad \0 and \ud800 and s3cret"}
    release_id = world.start()
    world.run("check")
    result = world.view(release_id).checks[ONE].result
    assert result is not None
    assert result.summary == "bad ␀ and ? and [redacted]"
    assert result.data == {"text": "bad ␀ and ? and [redacted]"}


def test_a_check_knows_the_previous_deploy(world: World) -> None:
    """The subject of a check names the release that was deployed before."""
    subjects: list[Subject] = []

    class Curious(Kind):
        name, summary, params = "curious", "looks at its subject", Params

        def run(self, params: Params, ctx: CheckContext) -> Answer:
            subjects.append(ctx.subject)
            return Answer(Outcome.PASS, "seen", Evidence("the release", "one", "one"))

    world.run_to_done("v4.7.0")
    world.change(
        registry=Registry(
            {
                **BUILT_IN,
                "ask": world.deps.registry.get("ask").__class__,
                "quiet": world.deps.registry.get("quiet").__class__,
                "curious": Curious,
            }
        )
    )
    with_kind(world, "curious")
    world.start("v4.8.0")
    world.run("check")
    (subject,) = subjects
    assert (subject.version, subject.previous) == ("v4.8.0", "v4.7.0")


def test_a_check_whose_need_fails_does_not_run(world: World, outside: Outside) -> None:
    """The check is an ERROR that names the other one, and runs by itself once that one passes."""
    outside.answers = {"prep.first": Outcome.FAIL}
    release_id = world.start()
    world.run("check")
    result = world.view(release_id).checks[SECOND].result
    assert result is not None
    assert (result.outcome, result.summary) == (Outcome.ERROR, "skipped: prep.first failed")
    outside.answers = {}
    world.act(check.rerun, QA, release_id, "prep.first")
    world.run("check")
    assert world.outcome(release_id, "prep.second") is Outcome.PASS
    assert outside.runs.count("prep.second") == 1


def test_a_rerun_includes_the_dependents(world: World, outside: Outside) -> None:
    """Checks that need the repeated one run again too, for the person who asked."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep.first")
    world.run("check")
    assert outside.runs == ["prep.first", "prep.second"]
    result = world.view(release_id).checks[SECOND].result
    assert result is not None
    assert result.by == QUINN


@pytest.mark.parametrize(
    ("what", "expected_runs"),
    [
        ("all", ["go.one", "go.two", "prep.first", "prep.second"]),
        ("go", ["go.one", "go.two"]),
        ("go.two", ["go.two"]),
    ],
)
def test_a_check_a_section_or_all_can_run_again(
    world: World, outside: Outside, what: str, expected_runs: list[str]
) -> None:
    """A rerun is of one check, of a section or of all."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, what)
    world.run("check")
    assert sorted(outside.runs) == expected_runs


def test_a_rerun_of_a_waiting_check_is_refused(world: World, outside: Outside) -> None:
    """A double click is one run, and the answer says so."""
    release_id = world.start()
    assert world.act(check.rerun, QA, release_id, "go.one") == "That's already running."
    assert world.act(check.rerun, QA, release_id, "all") == "That's already running."
    world.run("check")
    assert outside.runs.count("go.one") == 1


def test_a_rerun_during_a_run_runs_once_more(world: World, outside: Outside) -> None:
    """A running check whose need is repeated must not keep an answer on the old one."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep.second")
    states: list[RunState] = []

    def ask_first_again(name: str) -> None:
        if name == "prep.second" and not states:
            world.act(check.rerun, QA, release_id, "prep.first")
            states.append(world.view(release_id).checks[SECOND].run_state)

    outside.during = ask_first_again
    job = world.claim("check")
    assert job is not None
    world.carry_out(job)
    assert states == [RunState.RUNNING]
    assert world.view(release_id).checks[SECOND].run_state is RunState.WAITING
    world.run("check")
    assert outside.runs == ["prep.second", "prep.first", "prep.second"]
    assert world.view(release_id).checks[SECOND].run_state is RunState.IDLE


def test_a_guest_may_not_run_checks(world: World) -> None:
    """People without a role may only look."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.rerun, GUEST, release_id, "all")


def test_an_unknown_check_is_refused_with_the_sections(world: World) -> None:
    """The error lists the sections of the checklist."""
    release_id = world.start()
    with pytest.raises(UnknownThing, match=r"no check or section 'go\.three'") as error:
        world.act(check.rerun, QA, release_id, "go.three")
    assert error.value.hint == "Sections: go, prep, after. Or `/release check all`."


def test_a_check_for_a_person_cannot_run(world: World) -> None:
    """The answer says that a person has to attest it."""
    release_id = world.start()
    with pytest.raises(InvalidInput, match=r"prep\.person needs a person's answer"):
        world.act(check.rerun, QA, release_id, "prep.person")


def test_checks_before_the_deploy_end_with_it(world: World, outside: Outside) -> None:
    """Checks before the deploy cannot run after it, and later ones not before it."""
    release_id = world.run_to_approval()
    with pytest.raises(StaleButton):
        world.act(check.rerun, QA, release_id, "after.health")
    assert "after.health" not in outside.runs
    world.act(abort.abort, MANAGER, release_id, "")
    with pytest.raises(StaleButton):
        world.act(check.rerun, QA, release_id, "go.one")


def test_checks_after_the_deploy_run_once_it_is_complete(world: World, outside: Outside) -> None:
    """They start with the end of the deploy, and their section gets a message for attestations."""
    release_id = world.run_to_watch()
    world.run("check")
    assert outside.runs[-1] == "after.health"
    assert world.outcome(release_id, "after.health") is Outcome.PASS
    assert world.rows("SELECT FROM posts WHERE kind = 'section' AND subject = 'after'") != []
    world.act(check.attest, QA, release_id, CheckId("after.notes"), "published")
    world.act(check.rerun, QA, release_id, "after")
    world.run("check")
    assert outside.runs[-2:] == ["after.health", "after.health"]


def test_the_announcement_is_checked_in_the_channel(world: World) -> None:
    """The check fails until the message is in the channel, and then passes with its link."""
    announcement = make_check("after.told", kind="announced", target="production")
    sections = (
        *world.deps.checklist.sections[:2],
        Section(id="after", title="Afterwards", phase="after", checks=(announcement,)),
    )
    world.change(checklist=checklist(sections=sections))
    release_id = world.run_to_watch()
    world.run("check")
    with pytest.raises(InvalidInput, match=r"after\.told is not due yet"):
        world.act(check.rerun, QA, release_id, "after.told")
    assert world.outcome(release_id, "after.told") is None

    world.clock.advance(minutes=16)
    world.poll()
    (post,) = world.rows("SELECT id FROM posts WHERE kind = 'notice' AND subject = 'done'")
    for permalink, outcome in (("", Outcome.FAIL), ("https://example.com/p1", Outcome.PASS)):
        if permalink:
            with world.store.transaction() as tx:
                posts.record_posting(
                    tx, post["id"], ts="1.2", permalink=permalink, content="c", is_pinned=False, at=world.clock.now()
                )
        world.act(check.rerun, QA, release_id, "after.told")
        world.run("check")
        result = world.view(release_id).checks[CheckId("after.told")].result
        assert result is not None
        assert (result.outcome, permalink in result.seen) == (outcome, True)
    assert world.rows("SELECT sent_hash FROM posts WHERE id = %s", post["id"]) == [{"sent_hash": ""}]


def test_a_waiver_needs_a_role_a_reason_and_a_check_that_may_be_waived(world: World) -> None:
    """A waiver by another role, without a reason or of another check is refused with the cause."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.waive, QA, release_id, ONE, "because")
    with pytest.raises(InvalidInput):
        world.act(check.waive, MANAGER, release_id, ONE, "  ")
    with pytest.raises(RefusedError, match="can't be waived"):
        world.act(check.waive, MANAGER, release_id, CheckId("go.two"), "because")
    with pytest.raises(UnknownThing):
        world.act(check.waive, MANAGER, release_id, CheckId("go.nine"), "because")
    assert world.recorded_events() == [(RITA, "release.started")]


def test_a_waiver_makes_the_approvals_void(world: World) -> None:
    """The approvals were for a release without the waiver, and their people are told (promise P4)."""
    release_id = world.run_to_approval()
    world.act(check.waive, MANAGER, release_id, ONE, " known and harmless ")
    view = world.view(release_id)
    assert list(view.signoffs) == []
    waiver = view.checks[ONE].waiver
    assert waiver is not None
    assert (waiver.by, waiver.reason) == (RITA, "known and harmless")
    rows = world.rows("SELECT ended_by, ended_why FROM signoffs")
    assert rows == [{"ended_by": "system", "ended_why": "Check of go.one was waived"}]
    assert len(world.rows("SELECT FROM posts WHERE kind = 'notice' AND subject LIKE 'voided:%%'")) == 1
    assert [event for _, event in world.recorded_events()[-2:]] == ["signoff.voided", "check.waived"]


def test_a_second_waiver_changes_nothing(world: World) -> None:
    """The reason of the first waiver stays."""
    release_id = world.start()
    world.act(check.waive, MANAGER, release_id, ONE, "first")
    assert "already" in world.act(check.waive, MANAGER, release_id, ONE, "second")
    waiver = world.view(release_id).checks[ONE].waiver
    assert waiver is not None
    assert waiver.reason == "first"


def digest_of_newest(world: World) -> str:
    """The digest of the newest result, as bot/evidence/FORMAT.md describes it."""
    fields = "outcome, summary, asked, expected, seen, attachment, attachment_name, hint"
    (row,) = world.rows(f"SELECT {fields} FROM check_results ORDER BY id DESC LIMIT 1")
    return digest_of(row)


def test_an_attestation_is_a_pass_with_a_name(world: World) -> None:
    """The note of the person is the evidence."""
    release_id = world.start()
    world.act(check.attest, PRODUCT, release_id, CheckId("prep.person"), "looked at it")
    result = world.view(release_id).checks[CheckId("prep.person")].result
    assert result is not None
    assert (result.outcome, result.by, result.is_attested) == (Outcome.PASS, PRODUCT.user, True)
    assert result.seen == f"attested by {PRODUCT.user}: looked at it"
    assert world.last_fields() == {"check": "prep.person", "note": "looked at it", "evidence": digest_of_newest(world)}


def test_checks_before_the_deploy_cannot_be_attested_after_it(world: World) -> None:
    """Nobody can complete afterwards what the deploy has passed by."""
    release_id = world.run_to_watch()
    with pytest.raises(StaleButton, match=r"v4\.8\.0 is WATCHING: these checks are closed"):
        world.act(check.attest, QA, release_id, CheckId("prep.person"), "a backup was there")
    assert world.outcome(release_id, "prep.person") is None
    world.act(check.attest, QA, release_id, CheckId("after.notes"), "published")


def test_a_check_of_the_bot_cannot_be_attested(world: World) -> None:
    """Otherwise a click would be worth as much as the check."""
    release_id = world.start()
    with pytest.raises(RefusedError, match="checked by the bot, not by people"):
        world.act(check.attest, MANAGER, release_id, ONE, "trust me")
    with pytest.raises(InvalidInput):
        world.act(check.attest, MANAGER, release_id, CheckId("prep.person"), "")


def test_an_attestation_starts_the_checks_that_need_it(world: World, outside: Outside) -> None:
    """A check that needs a person's answer runs by itself once it is given."""
    sections = list(world.deps.checklist.sections)
    needing = make_check("go.two", kind="ask", needs=("prep.person",))
    sections[0] = sections[0].model_copy(update={"checks": (sections[0].checks[0], needing)})
    world.change(checklist=checklist(sections=tuple(sections)))
    release_id = world.start()
    world.run("check")
    assert world.outcome(release_id, "go.two") is Outcome.ERROR
    world.act(check.attest, QA, release_id, CheckId("prep.person"), "done")
    world.run("check")
    assert world.outcome(release_id, "go.two") is Outcome.PASS


def test_a_check_that_is_stopped_has_no_result(world: World, outside: Outside) -> None:
    """If the process ends, the run has no outcome, and the next process runs the check again."""
    with_kind(world, "slow")
    release_id = world.start()
    job = world.claim_all("check")[f"{release_id}/go.one"]
    errors: list[BaseException] = []

    def carry_out() -> None:
        try:
            world.carry_out(job)
        except Superseded as error:
            errors.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()
    assert outside.is_running.wait(10)
    job.cancelled.set()
    thread.join(10)
    assert len(errors) == 1
    assert world.outcome(release_id, "go.one") is None


def test_a_cancelled_run_has_no_result(world: World, outside: Outside) -> None:
    """The run loses its claim, the earlier result stays, and the check can run again at once."""
    with_kind(world, "slow")
    release_id = world.start()
    job = world.claim_all("check")[f"{release_id}/go.one"]
    with ThreadPoolExecutor(1) as runner:
        running = runner.submit(world.carry_out, job)
        assert outside.is_running.wait(10)
        assert world.act(check.cancel, QA, release_id, "go.one") == "Cancelled go.one."
        with world.store.transaction() as tx:
            assert not work.renew(tx, job.claim)  # by which the process that runs it notices
        job.cancelled.set()
        assert isinstance(running.exception(timeout=10), Superseded)
    check_view = world.view(release_id).checks[ONE]
    assert (check_view.run_state, check_view.result) == (RunState.IDLE, None)
    assert world.recorded_events()[-1] == (QUINN, "check.cancelled")
    outside.go_on.set()
    world.act(check.rerun, QA, release_id, "go.one")
    world.run("check")
    assert world.outcome(release_id, "go.one") is Outcome.PASS


@pytest.mark.parametrize(
    ("what", "remaining"),
    [
        ("all", set()),
        ("prep", {"go.one", "go.two"}),
        ("prep.first", {"go.one", "go.two"}),
        ("go.two", {"go.one", "prep.first", "prep.second"}),
    ],
)
def test_cancel_includes_the_checks_that_wait_for_it(
    world: World, outside: Outside, what: str, remaining: set[str]
) -> None:
    """A check that needs a cancelled one would wait for ever."""
    release_id = world.start()
    world.act(check.cancel, QA, release_id, what)
    world.run("check")
    assert set(outside.runs) == remaining
    assert all(check_view.run_state is RunState.IDLE for check_view in world.view(release_id).checks.values())
    assert world.act(check.cancel, QA, release_id, "all") == "Nothing of that is running or waiting."


def test_a_guest_may_not_cancel_checks(world: World) -> None:
    """People without a role may only look."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.cancel, GUEST, release_id, "all")
    with pytest.raises(UnknownThing):
        world.act(check.cancel, QA, release_id, "go.three")


def test_an_expired_pass_is_shown_at_that_moment(world: World) -> None:
    """A timer renders the messages when the next PASS expires, and the gate is closed."""
    sections = list(world.deps.checklist.sections)
    short = sections[0].checks[0].model_copy(update={"max_age": timedelta(minutes=30)})
    sections[0] = sections[0].model_copy(update={"checks": (short, sections[0].checks[1])})
    world.change(checklist=checklist(sections=tuple(sections)))
    release_id = world.run_to_approval()
    (row,) = world.rows("SELECT due_at - now() AS left FROM work WHERE queue = 'expiry'")
    assert timedelta(minutes=29) < row["left"] <= timedelta(minutes=30, seconds=1)

    world.clock.advance(minutes=30, seconds=1)
    with world.store.transaction() as tx:
        tx.execute("DELETE FROM work WHERE queue = 'messages'")
    job = world.claim("expiry")
    assert job is not None
    due = world.carry_out(job)
    assert world.rows("SELECT FROM work WHERE queue = 'messages'") != []
    assert due is not None
    assert timedelta(hours=3) < due - world.clock.now() < timedelta(hours=4)  # the other checks
    view = world.view(release_id)
    assert check_status(view.checks[ONE], short.max_age, view.now) is CheckStatus.EXPIRED
    assert [reason.about for reason in deploy_gate(view).reasons if reason.cause is Cause.CHECK] == ["go.one"]


def test_expiry_ends_with_the_deploy(world: World) -> None:
    """After the deploy the age of results does not matter."""
    world.run_to_watch()
    job = world.claim("expiry")
    assert job is not None
    assert world.carry_out(job) is None


def test_a_killed_run_is_taken_over_by_another_process(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """The other process runs the check at once, and the killed one can no longer answer."""
    release_id = world.start()
    other = another_process()
    with other.transaction() as tx:
        stale = work.claim(tx, "check", other.instance)
    assert stale is not None
    die(other, world.store)
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    assert world.outcome(release_id, stale.key.split("/")[1]) is Outcome.PASS


def test_two_checks_of_one_resource_wait_for_each_other(world: World, outside: Outside) -> None:
    """The second check tries again in a moment, also after one that only reads."""
    with_kind(world, "tenant")
    release_id = world.start()
    jobs = world.claim_all("check")
    with world.store.lock(["staging/tenant"]) as lock:
        assert lock.acquired
        assert world.carry_out(jobs[f"{release_id}/go.one"]) is not None
    with world.store.lock([], shared=["staging/tenant"]) as lock:
        assert lock.acquired
        with world.store.lock([], shared=["staging/tenant"]) as other:
            assert other.acquired
        assert world.carry_out(world.claim_all("check")[f"{release_id}/go.one"]) is not None
    assert outside.runs == []
    for job in jobs.values():
        if not job.claim.key.endswith("go.one"):
            world.carry_out(job)
    world.run("check")
    assert world.outcome(release_id, "go.one") is Outcome.PASS


def test_a_check_that_is_woken_twice_runs_once(world: World, outside: Outside) -> None:
    """A worker that is about to begin a check need not run it again for the end of another."""
    sections = list(world.deps.checklist.sections)
    both = tuple(make_check(f"go.{name}", kind="tenant") for name in ("one", "two"))
    sections[0] = sections[0].model_copy(update={"checks": both})
    world.change(checklist=checklist(sections=tuple(sections)))
    release_id = world.start()
    jobs = world.claim_all("check")
    for name in ("go.one", "go.two"):
        world.carry_out(jobs.pop(f"{release_id}/{name}"))
    for job in jobs.values():
        world.carry_out(job)
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]


def test_a_waiting_check_is_woken_when_the_one_before_it_is_cancelled(world: World, outside: Outside) -> None:
    """A check that waits for a resource is due much later, and is due at once when the check that has the resource is
    cancelled.
    """
    sections = list(world.deps.checklist.sections)
    both = tuple(make_check(f"go.{name}", kind="tenant") for name in ("one", "two"))
    sections[0] = sections[0].model_copy(update={"checks": both})
    world.change(checklist=checklist(sections=tuple(sections)))
    outside.during = hang_at(outside, "go.one")
    release_id = world.start()
    jobs = world.claim_all("check")
    with ThreadPoolExecutor(1) as runner:
        running = runner.submit(world.carry_out, jobs[f"{release_id}/go.one"])
        eventually("it to run", lambda: "go.one" in outside.runs)
        due = world.carry_out(jobs[f"{release_id}/go.two"])
        assert due is not None
        assert due - world.clock.now() > timedelta(seconds=1)
        world.act(check.cancel, QA, release_id, "go.one")
        key = f"{release_id}/go.two"
        assert world.rows("SELECT due_at <= now() AS is_due FROM work WHERE key = %s", key) == [{"is_due": True}]
        outside.go_on.set()
        assert isinstance(running.exception(timeout=10), Superseded)


def test_a_request_during_a_run_runs_the_check_again(world: World, outside: Outside) -> None:
    """The answer of the run may be about the time before the request."""
    with_kind(world, "ask")
    release_id = world.start()

    def request_again(name: str) -> None:
        if name == "go.one" and outside.runs.count("go.one") == 1:
            with world.store.transaction() as tx:
                view = releases.view(tx, release_id, world.clock.now(), lock=True)
                assert view is not None
                check.request_runs(tx, view, [ONE], QUINN)

    outside.during = request_again
    world.run("check")
    assert outside.runs.count("go.one") == 2


def test_a_check_that_does_not_stop_holds_up_nobody(world: World, outside: Outside) -> None:
    """The check is an ERROR after its time, and its resources stay locked until it ends. Another check of the same
    resource waits for its own time, and then names the first one.
    """
    sections = list(world.deps.checklist.sections)
    first, other = (make_check(f"go.{name}", kind="tenant", timeout=0.1) for name in ("one", "two"))
    sections[0] = sections[0].model_copy(update={"checks": (first, other)})
    world.change(checklist=checklist(sections=tuple(sections)))
    outside.during = hang_at(outside, "go.one")
    release_id = world.start()
    jobs = world.claim_all("check")

    assert world.carry_out(jobs.pop(f"{release_id}/go.one")) is None
    result = world.view(release_id).checks[ONE].result
    assert result is not None
    assert (result.outcome, result.summary) == (Outcome.ERROR, "didn't finish within 0 s")
    assert undo_orphans(world.deps) == 0
    assert outside.tenant == "past_due"  # nobody puts back what it may change again

    assert world.carry_out(jobs.pop(f"{release_id}/go.two")) is not None
    waiting_view = world.view(release_id).checks[CheckId("go.two")]
    assert (waiting_view.run_state, waiting_view.progress) == (
        RunState.WAITING,
        "waiting for go.one, which didn't stop in time",
    )
    world.act(check.rerun, QA, release_id, "go.one")
    world.clock.advance(minutes=1)
    for job in jobs.values():
        world.carry_out(job)
    world.run("check")
    check_views = world.view(release_id).checks
    assert all(view.run_state is RunState.IDLE for view in check_views.values())
    summaries = {
        name: view.result.summary for name, view in check_views.items() if view.result and name.startswith("go.")
    }
    assert summaries == {
        "go.one": "not run: its last run didn't stop and still uses what it needs",
        "go.two": "not run: go.one didn't stop and still uses what this check needs",
    }
    blocked_result = check_views[CheckId("go.two")].result
    assert blocked_result is not None
    assert (
        blocked_result.hint == "Restart the bot: that ends go.one and puts back what it changed. Then run this again."
    )
    assert outside.runs.count("go.one") == 1
    assert world.outcome(release_id, "prep.second") is Outcome.PASS

    outside.go_on.set()
    eventually("what it had in use to be free", lambda: world.store.find_abandoned(["staging/tenant"]) == [])
    assert outside.tenant == "active"
    assert world.rows("SELECT FROM undos WHERE settled_at IS NULL") == []
    assert world.rows("SELECT FROM check_results WHERE outcome = 'PASS' AND check_id = 'go.one'") == []
    world.act(check.rerun, QA, release_id, "go")
    world.run("check")
    assert {world.outcome(release_id, name) for name in ("go.one", "go.two")} == {Outcome.PASS}


def add_references(world: World) -> None:
    """Let two lines of the section prep show go.one, and one the check for a person."""
    sections = list(world.deps.checklist.sections)
    more = [
        Check(id=CheckId(f"prep.{name}"), title=name, same_as=CheckId(original))
        for name, original in (("once", "go.one"), ("twice", "go.one"), ("by_hand", "prep.person"))
    ]
    sections[1] = sections[1].model_copy(update={"checks": (*sections[1].checks, *more)})
    world.change(checklist=checklist(sections=tuple(sections)))


def test_a_check_with_two_references_runs_once(world: World, outside: Outside) -> None:
    """Both lines show the one result, and a click on either runs the original."""
    add_references(world)
    release_id = world.start()
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    check_views = world.view(release_id).checks
    assert check_views[CheckId("prep.once")] == check_views[CheckId("prep.twice")] == check_views[ONE]
    outside.runs.clear()
    assert world.act(check.rerun, QA, release_id, "prep.once") == "Running go.one again."
    world.run("check")
    assert outside.runs == ["go.one"]
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep")
    world.run("check")
    assert outside.runs.count("go.one") == 1


def test_a_waiver_or_attestation_of_a_reference_is_for_the_original(world: World) -> None:
    """There is one waiver and one result, whichever button was pressed."""
    add_references(world)
    release_id = world.start()
    world.act(check.waive, MANAGER, release_id, CheckId("prep.once"), "known")
    assert "already" in world.act(check.waive, MANAGER, release_id, ONE, "again")
    assert [row["check_id"] for row in world.rows("SELECT check_id FROM waivers")] == ["go.one"]
    world.act(check.attest, PRODUCT, release_id, CheckId("prep.by_hand"), "looked at it")
    assert world.outcome(release_id, "prep.person") is Outcome.PASS
    assert world.last_fields() == {"check": "prep.person", "note": "looked at it", "evidence": digest_of_newest(world)}
