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
from bot.domain.results import CheckStatus, Running, check_status
from bot.errors import InvalidInput, NotAllowed, RefusedError, StaleButton, Superseded, UnknownThing
from bot.flows import abort, check
from bot.flows.undo import undo_orphans
from bot.store import posts, releases, work
from bot.store.pool import Store
from checks.contract import Answer, CheckContext, CheckError, Evidence, Kind, Outcome, Params, Subject
from checks.registry import BUILT_IN, Registry
from tests.fix_bot import GUEST, MANAGER, PRODUCT, QA, Outside, World, checklist, die, hanging
from tests.fix_kube import eventually
from tests.unit.factories import QUINN, RITA, make_check

ONE, FIRST, SECOND = CheckId("go.one"), CheckId("prep.first"), CheckId("prep.second")


def with_kind(world: World, kind: str) -> None:
    """Let go.one be of another kind."""
    sections = list(world.deps.checklist.sections)
    sections[0] = sections[0].model_copy(update={"checks": (make_check("go.one", kind=kind), sections[0].checks[1])})
    world.change(checklist=checklist(sections=tuple(sections)))


def test_a_whole_run(world: World, outside: Outside) -> None:
    """Each check answers once, with evidence, on behalf of the person who asked; needed ones come first."""
    outside.answers = {"go.two": "two of five are missing", "prep.first": Outcome.PASS}
    release_id = world.start()
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    assert outside.runs.index("prep.first") < outside.runs.index("prep.second")
    found = world.view(release_id).checks[CheckId("go.two")].result
    assert found is not None
    assert (found.outcome, found.summary, found.by) == (Outcome.FAIL, "two of five are missing", RITA)
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
def test_unknown_is_not_a_pass(world: World, outside: Outside, answer: Outcome | Exception, outcome: Outcome) -> None:
    """Whatever a kind says or throws, only PASS is a pass."""
    outside.answers = {"go.one": answer}
    release_id = world.start()
    world.run("check")
    assert world.outcome(release_id, "go.one") is outcome


def test_texts_that_postgresql_refuses_are_stored_all_the_same(world: World, outside: Outside) -> None:
    """A log may hold NUL bytes and half characters; secrets go as ever."""
    outside.answers = {"go.one": "bad \0 and \ud800 and s3cret"}
    release_id = world.start()
    world.run("check")
    found = world.view(release_id).checks[ONE].result
    assert found is not None
    assert found.summary == "bad ␀ and ? and [redacted]"
    assert found.data == {"text": "bad ␀ and ? and [redacted]"}


def test_a_check_knows_what_was_deployed_before(world: World) -> None:
    """What is new in a release is counted from there."""
    told: list[Subject] = []

    class Curious(Kind):
        name, summary, params = "curious", "looks at its subject", Params

        def run(self, params: Params, ctx: CheckContext) -> Answer:
            told.append(ctx.subject)
            return Answer(Outcome.PASS, "seen", Evidence("the release", "one", "one"))

    world.done("v4.7.0")
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
    (subject,) = told
    assert (subject.version, subject.previous) == ("v4.8.0", "v4.7.0")


def test_a_check_whose_needed_one_fails_is_not_run(world: World, outside: Outside) -> None:
    """It is an ERROR that names the other, and runs by itself once that one passes."""
    outside.answers = {"prep.first": Outcome.FAIL}
    release_id = world.start()
    world.run("check")
    found = world.view(release_id).checks[SECOND].result
    assert found is not None
    assert (found.outcome, found.summary) == (Outcome.ERROR, "not run: it needs prep.first, which is FAIL")
    outside.answers = {}
    world.act(check.rerun, QA, release_id, "prep.first")
    world.run("check")
    assert world.outcome(release_id, "prep.second") is Outcome.PASS
    assert outside.runs.count("prep.second") == 1


def test_run_again_takes_dependents_along(world: World, outside: Outside) -> None:
    """What was built on the old answer is asked again too, on behalf of who asked now."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep.first")
    world.run("check")
    assert outside.runs == ["prep.first", "prep.second"]
    found = world.view(release_id).checks[SECOND].result
    assert found is not None
    assert found.by == QUINN


@pytest.mark.parametrize(
    ("what", "runs"),
    [
        ("all", ["go.one", "go.two", "prep.first", "prep.second"]),
        ("go", ["go.one", "go.two"]),
        ("go.two", ["go.two"]),
    ],
)
def test_run_again(world: World, outside: Outside, what: str, runs: list[str]) -> None:
    """A check, a section or all of them."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, what)
    world.run("check")
    assert sorted(outside.runs) == runs


def test_asked_for_while_it_waits_is_one_run(world: World, outside: Outside) -> None:
    """A double click is one run, and says so."""
    release_id = world.start()
    assert world.act(check.rerun, QA, release_id, "go.one") == "That is running already."
    assert world.act(check.rerun, QA, release_id, "all") == "That is running already."
    world.run("check")
    assert outside.runs.count("go.one") == 1


def test_asked_for_while_it_runs_is_one_more(world: World, outside: Outside) -> None:
    """A check that runs while its needed one is asked again must not keep the answer that it builds on the old one."""
    release_id = world.start()
    world.run("check")
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep.second")
    seen: list[Running] = []

    def ask_first_again(name: str) -> None:
        if name == "prep.second" and not seen:
            world.act(check.rerun, QA, release_id, "prep.first")
            seen.append(world.view(release_id).checks[SECOND].running)

    outside.during = ask_first_again
    job = world.claim("check")
    assert job is not None
    world.carry_out(job)
    assert seen == [Running.RUNNING]
    assert world.view(release_id).checks[SECOND].running is Running.WAITING
    world.run("check")
    assert outside.runs == ["prep.second", "prep.first", "prep.second"]
    assert world.view(release_id).checks[SECOND].running is Running.IDLE


def test_nobody_without_a_role_runs_checks(world: World) -> None:
    """Guests may look only."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.rerun, GUEST, release_id, "all")


def test_what_does_not_exist_is_named(world: World) -> None:
    """With the sections that there are."""
    release_id = world.start()
    with pytest.raises(UnknownThing, match=r"no check or section 'go\.three'") as refused:
        world.act(check.rerun, QA, release_id, "go.three")
    assert refused.value.hint == "Sections: go, prep, after. Or `/release check all`."


def test_an_attestation_cannot_be_run(world: World) -> None:
    """It is for a person."""
    release_id = world.start()
    with pytest.raises(InvalidInput, match=r"prep\.person is for a person to answer"):
        world.act(check.rerun, QA, release_id, "prep.person")


def test_checks_close_with_the_deploy(world: World, outside: Outside) -> None:
    """Those before the deploy cannot run afterwards, those after it not before."""
    release_id = world.ready()
    with pytest.raises(StaleButton):
        world.act(check.rerun, QA, release_id, "after.health")
    assert "after.health" not in outside.runs
    world.act(abort.abort, MANAGER, release_id, "")
    with pytest.raises(StaleButton):
        world.act(check.rerun, QA, release_id, "go.one")


def test_checks_after_the_deploy_run_then(world: World, outside: Outside) -> None:
    """They are asked for when the deploy is complete; their section gets a message, so people can attest."""
    release_id = world.deployed()
    world.run("check")
    assert outside.runs[-1] == "after.health"
    assert world.outcome(release_id, "after.health") is Outcome.PASS
    assert world.rows("SELECT FROM posts WHERE kind = 'section' AND subject = 'after'") != []
    world.act(check.attest, QA, release_id, CheckId("after.notes"), "published")
    world.act(check.rerun, QA, release_id, "after")
    world.run("check")
    assert outside.runs[-2:] == ["after.health", "after.health"]


def test_the_announcement_is_asked_for_at_the_end_and_by_where_it_stands(world: World) -> None:
    """Not before there can be one; FAIL until the message is in the channel, then PASS with the link. Run again looks in Slack too."""
    told = make_check("after.told", kind="announced", target="production")
    sections = (
        *world.deps.checklist.sections[:2],
        Section(id="after", title="Afterwards", phase="after", checks=(told,)),
    )
    world.change(checklist=checklist(sections=sections))
    release_id = world.deployed()
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
                    tx, post["id"], ts="1.2", permalink=permalink, content="c", pinned=False, at=world.clock.now()
                )
        world.act(check.rerun, QA, release_id, "after.told")
        world.run("check")
        result = world.view(release_id).checks[CheckId("after.told")].result
        assert result is not None
        assert (result.outcome, permalink in result.seen) == (outcome, True)
    assert world.rows("SELECT sent_hash FROM posts WHERE id = %s", post["id"]) == [{"sent_hash": ""}]


def test_a_waiver_needs_a_role_a_reason_and_a_check_that_may_be_waived(world: World) -> None:
    """Each is refused by name."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.waive, QA, release_id, ONE, "because")
    with pytest.raises(InvalidInput):
        world.act(check.waive, MANAGER, release_id, ONE, "  ")
    with pytest.raises(RefusedError, match="can never be waived"):
        world.act(check.waive, MANAGER, release_id, CheckId("go.two"), "because")
    with pytest.raises(UnknownThing):
        world.act(check.waive, MANAGER, release_id, CheckId("go.nine"), "because")
    assert world.recorded_events() == [(RITA, "release.started")]


def test_a_waiver_voids_the_signatures(world: World) -> None:
    """They were for a release without it; the people are told (promise P4)."""
    release_id = world.ready()
    world.act(check.waive, MANAGER, release_id, ONE, " known and harmless ")
    view = world.view(release_id)
    assert list(view.signoffs) == []
    waiver = view.checks[ONE].waiver
    assert waiver is not None
    assert (waiver.by, waiver.reason) == (RITA, "known and harmless")
    ended = world.rows("SELECT ended_by, ended_why FROM signoffs")
    assert ended == [{"ended_by": "system", "ended_why": "Check of go.one was waived"}]
    assert len(world.rows("SELECT FROM posts WHERE kind = 'notice' AND subject LIKE 'voided:%%'")) == 1
    assert [event for _, event in world.recorded_events()[-2:]] == ["signoff.voided", "check.waived"]


def test_waived_twice_is_once(world: World) -> None:
    """The first reason stands."""
    release_id = world.start()
    world.act(check.waive, MANAGER, release_id, ONE, "first")
    assert "already" in world.act(check.waive, MANAGER, release_id, ONE, "second")
    waiver = world.view(release_id).checks[ONE].waiver
    assert waiver is not None
    assert waiver.reason == "first"


def bound(world: World) -> str:
    """The digest of the newest result, as bot/evidence/FORMAT.md says that the record has it."""
    fields = "outcome, summary, asked, expected, seen, attachment, attachment_name, hint"
    (row,) = world.rows(f"SELECT {fields} FROM check_results ORDER BY id DESC LIMIT 1")
    return digest_of(row)


def test_attest_is_a_pass_with_a_name(world: World) -> None:
    """The note is the evidence."""
    release_id = world.start()
    world.act(check.attest, PRODUCT, release_id, CheckId("prep.person"), "looked at it")
    found = world.view(release_id).checks[CheckId("prep.person")].result
    assert found is not None
    assert (found.outcome, found.by, found.attested) == (Outcome.PASS, PRODUCT.user, True)
    assert found.seen == f"attested by {PRODUCT.user}: looked at it"
    assert world.last_fields() == {"check": "prep.person", "note": "looked at it", "evidence": bound(world)}


def test_a_line_of_before_the_deploy_is_closed_with_it(world: World) -> None:
    """Nobody makes good afterwards what the deploy went past: neither in the record nor in the close-out."""
    release_id = world.deployed()
    with pytest.raises(StaleButton, match=r"v4\.8\.0 is WATCHING: these checks are closed"):
        world.act(check.attest, QA, release_id, CheckId("prep.person"), "a backup was there")
    assert world.outcome(release_id, "prep.person") is None
    world.act(check.attest, QA, release_id, CheckId("after.notes"), "published")


def test_what_the_bot_asks_cannot_be_attested(world: World) -> None:
    """Else a click would be worth as much as the check."""
    release_id = world.start()
    with pytest.raises(RefusedError, match="asked by the bot, not by people"):
        world.act(check.attest, MANAGER, release_id, ONE, "trust me")
    with pytest.raises(InvalidInput):
        world.act(check.attest, MANAGER, release_id, CheckId("prep.person"), "")


def test_attesting_lets_those_run_that_waited_for_it(world: World, outside: Outside) -> None:
    """A check that needs a person's answer runs by itself once it is there."""
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


def test_a_check_told_to_stop_has_not_answered(world: World, outside: Outside) -> None:
    """When the process ends, the run is neither FAIL nor ERROR: whoever takes it up asks anew."""
    with_kind(world, "slow")
    release_id = world.start()
    job = world.claim_all("check")[f"{release_id}/go.one"]
    raised: list[BaseException] = []

    def carry_out() -> None:
        try:
            world.carry_out(job)
        except Superseded as error:
            raised.append(error)

    thread = threading.Thread(target=carry_out)
    thread.start()
    assert outside.going.wait(10)
    job.lost.set()
    thread.join(10)
    assert len(raised) == 1
    assert world.outcome(release_id, "go.one") is None


def test_a_cancelled_run_is_told_to_stop_and_answers_nothing(world: World, outside: Outside) -> None:
    """What runs loses its claim; what was found before stands, and it can be run again at once."""
    with_kind(world, "slow")
    release_id = world.start()
    job = world.claim_all("check")[f"{release_id}/go.one"]
    with ThreadPoolExecutor(1) as runner:
        running = runner.submit(world.carry_out, job)
        assert outside.going.wait(10)
        assert world.act(check.cancel, QA, release_id, "go.one") == "Cancelled go.one."
        with world.store.transaction() as tx:
            assert not work.renew(tx, job.claim)  # by which the process that runs it notices
        job.lost.set()
        assert isinstance(running.exception(timeout=10), Superseded)
    known = world.view(release_id).checks[ONE]
    assert (known.running, known.result) == (Running.IDLE, None)
    assert world.recorded_events()[-1] == (QUINN, "check.cancelled")
    outside.go_on.set()
    world.act(check.rerun, QA, release_id, "go.one")
    world.run("check")
    assert world.outcome(release_id, "go.one") is Outcome.PASS


@pytest.mark.parametrize(
    ("what", "left"),
    [
        ("all", set()),
        ("prep", {"go.one", "go.two"}),
        ("prep.first", {"go.one", "go.two"}),
        ("go.two", {"go.one", "prep.first", "prep.second"}),
    ],
)
def test_cancel_takes_along_what_waits_for_it(world: World, outside: Outside, what: str, left: set[str]) -> None:
    """A check, a section or all; who needs a cancelled one would wait for ever."""
    release_id = world.start()
    world.act(check.cancel, QA, release_id, what)
    world.run("check")
    assert set(outside.runs) == left
    assert all(known.running is Running.IDLE for known in world.view(release_id).checks.values())
    assert world.act(check.cancel, QA, release_id, "all") == "Nothing of that runs or waits."


def test_nobody_without_a_role_cancels_checks(world: World) -> None:
    """Guests may look only."""
    release_id = world.start()
    with pytest.raises(NotAllowed):
        world.act(check.cancel, GUEST, release_id, "all")
    with pytest.raises(UnknownThing):
        world.act(check.cancel, QA, release_id, "go.three")


def test_a_pass_that_has_expired_is_shown_so_at_that_moment(world: World) -> None:
    """A timer row renders the messages anew when the next PASS has expired, one after the other; the gate is closed."""
    sections = list(world.deps.checklist.sections)
    short = sections[0].checks[0].model_copy(update={"max_age": timedelta(minutes=30)})
    sections[0] = sections[0].model_copy(update={"checks": (short, sections[0].checks[1])})
    world.change(checklist=checklist(sections=tuple(sections)))
    release_id = world.ready()
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


def test_expiry_ends_with_the_gate(world: World) -> None:
    """After the deploy nobody asks how old the answers are."""
    world.deployed()
    job = world.claim("expiry")
    assert job is not None
    assert world.carry_out(job) is None


def test_a_killed_run_is_taken_up_by_another_process(
    world: World, outside: Outside, another_process: Callable[[], Store]
) -> None:
    """At once, and its answer counts; who was killed cannot answer any more."""
    release_id = world.start()
    other = another_process()
    with other.transaction() as tx:
        stale = work.claim(tx, "check", other.instance)
    assert stale is not None
    die(other, world.store)
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    assert world.outcome(release_id, stale.key.split("/")[1]) is Outcome.PASS


def test_two_that_touch_the_same_wait_for_each_other(world: World, outside: Outside) -> None:
    """The second comes again in a moment, and is not refused; also after one that only looks, which lets others look."""
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


def test_one_that_is_woken_while_a_worker_looks_at_it_runs_once(world: World, outside: Outside) -> None:
    """A check that ends wakes those that waited for it. Who is about to begin then need not run again."""
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


def test_who_waits_for_one_that_is_cancelled_is_woken(world: World, outside: Outside) -> None:
    """It waits for its end without asking again and again, and looks at once."""
    sections = list(world.deps.checklist.sections)
    both = tuple(make_check(f"go.{name}", kind="tenant") for name in ("one", "two"))
    sections[0] = sections[0].model_copy(update={"checks": both})
    world.change(checklist=checklist(sections=tuple(sections)))
    outside.during = hanging(outside, "go.one")
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


def test_what_is_requested_while_it_runs_runs_again(world: World, outside: Outside) -> None:
    """Its answer may be about what was before the request."""
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


def test_one_that_does_not_stop_holds_up_nobody(world: World, outside: Outside) -> None:
    """ERROR after its time, and the run ends. What it has in use stays so until it ends, and is put back; then it is free.

    A check that needs the same waits for as long as it may take itself, then it says who is to blame and what to do.
    """
    sections = list(world.deps.checklist.sections)
    first, other = (make_check(f"go.{name}", kind="tenant", timeout=0.1) for name in ("one", "two"))
    sections[0] = sections[0].model_copy(update={"checks": (first, other)})
    world.change(checklist=checklist(sections=tuple(sections)))
    outside.during = hanging(outside, "go.one")
    release_id = world.start()
    jobs = world.claim_all("check")

    assert world.carry_out(jobs.pop(f"{release_id}/go.one")) is None
    result = world.view(release_id).checks[ONE].result
    assert result is not None
    assert (result.outcome, result.summary) == (Outcome.ERROR, "did not stop within 0 s")
    assert undo_orphans(world.deps) == 0
    assert outside.tenant == "past_due"  # nobody puts back what it may change again

    assert world.carry_out(jobs.pop(f"{release_id}/go.two")) is not None
    waiting = world.view(release_id).checks[CheckId("go.two")]
    assert (waiting.running, waiting.progress) == (Running.WAITING, "waits for go.one, which did not stop in time")
    world.act(check.rerun, QA, release_id, "go.one")
    world.clock.advance(minutes=1)
    for job in jobs.values():
        world.carry_out(job)
    world.run("check")
    known = world.view(release_id).checks
    assert all(view.running is Running.IDLE for view in known.values())
    told = {name: view.result.summary for name, view in known.items() if view.result and name.startswith("go.")}
    assert told == {
        "go.one": "not run: its last run did not stop, and still has in use what it needs",
        "go.two": "not run: go.one did not stop, and still has in use what this check needs",
    }
    blamed = known[CheckId("go.two")].result
    assert blamed is not None
    assert blamed.hint == "Restart the bot: that ends go.one, and what it changed is put back. Then run this again."
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


def referring(world: World) -> None:
    """Let two lines of the section prep show go.one, and one the check that a person answers."""
    sections = list(world.deps.checklist.sections)
    more = [
        Check(id=CheckId(f"prep.{name}"), title=name, same_as=CheckId(original))
        for name, original in (("once", "go.one"), ("twice", "go.one"), ("by_hand", "prep.person"))
    ]
    sections[1] = sections[1].model_copy(update={"checks": (*sections[1].checks, *more)})
    world.change(checklist=checklist(sections=tuple(sections)))


def test_what_two_lines_show_is_asked_once(world: World, outside: Outside) -> None:
    """Both show the one result, and so does the second run that a click on either asks for."""
    referring(world)
    release_id = world.start()
    world.run("check")
    assert sorted(outside.runs) == ["go.one", "go.two", "prep.first", "prep.second"]
    known = world.view(release_id).checks
    assert known[CheckId("prep.once")] == known[CheckId("prep.twice")] == known[ONE]
    outside.runs.clear()
    assert world.act(check.rerun, QA, release_id, "prep.once") == "Running go.one again."
    world.run("check")
    assert outside.runs == ["go.one"]
    outside.runs.clear()
    world.act(check.rerun, QA, release_id, "prep")
    world.run("check")
    assert outside.runs.count("go.one") == 1


def test_waiving_or_attesting_a_second_place_is_about_the_original(world: World) -> None:
    """One waiver and one result, wherever the button stood."""
    referring(world)
    release_id = world.start()
    world.act(check.waive, MANAGER, release_id, CheckId("prep.once"), "known")
    assert "already" in world.act(check.waive, MANAGER, release_id, ONE, "again")
    assert [row["check_id"] for row in world.rows("SELECT check_id FROM waivers")] == ["go.one"]
    world.act(check.attest, PRODUCT, release_id, CheckId("prep.by_hand"), "looked at it")
    assert world.outcome(release_id, "prep.person") is Outcome.PASS
    assert world.last_fields() == {"check": "prep.person", "note": "looked at it", "evidence": bound(world)}
