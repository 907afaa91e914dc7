"""Builders of releases and of all that is known of them. Every argument that a test does not name has a sound value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.domain.actions import StepSpec
from bot.domain.checklist import Check, Checklist, Section
from bot.domain.ids import CheckId, ReleaseId, StepId, UserId
from bot.domain.mitigation import Mitigation, MitigationState
from bot.domain.plan import PlanKind, Step, StepState
from bot.domain.policy import Policy, Role
from bot.domain.posts import read_subject
from bot.domain.release import Release, ReleaseState
from bot.domain.results import CheckView, Result, RunState, Waiver
from bot.domain.signoff import Purpose, SignOff, Verdict
from bot.domain.view import Freeze, ReleaseView
from bot.domain.watch import Alarm, ProbeStatus, Reading, Watch, WatchState, WatchTimes
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.render import render
from checks.contract import Outcome

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
RITA = UserId("U0RITA0001")
QUINN = UserId("U0QUINN001")
PAT = UserId("U0PAT00001")
SIGNERS = {Role.RELEASE_MANAGER: RITA, Role.QA: QUINN, Role.PRODUCT: PAT}
WATCH = WatchTimes(
    length=timedelta(minutes=15),
    interval=timedelta(seconds=30),
    settle_time=timedelta(minutes=1),
    no_answer_limit=timedelta(minutes=5),
)


def ago(minutes: float) -> datetime:
    """The moment that many minutes before NOW."""
    return NOW - timedelta(minutes=minutes)


def make_check(check_id: str = "go.backup", **changes: Any) -> Check:
    """A check of the checklist."""
    values = {
        "title": f"Check of {check_id}",
        "kind": "sql_verify",
        "action": "SELECT * FROM billing.verify_billing_schema()",
        "expected": "All PASS",
    }
    return Check(**{"id": CheckId(check_id), **values, **changes})


def make_checklist(
    sections: Sequence[Section] | None = None,
    deploy: Sequence[StepSpec] | None = None,
    rollback: Sequence[StepSpec] | None = None,
) -> Checklist:
    """A checklist with one section before the gate, ten checks that decide, and one section after the deploy."""
    standard = (
        Section(
            id="migrations", title="Migrations", checks=(make_check("migrations.billing"), make_check("migrations.rls"))
        ),
        Section(id="go", title="Go/No-Go", gate=True, checks=tuple(make_check(f"go.check_{n}") for n in range(1, 11))),
        Section(
            id="after",
            title="Post-Deployment",
            phase="after",
            checks=(make_check("after.health"), make_check("after.grafana", kind="attest")),
        ),
    )
    return Checklist(
        id="solvereign",
        title="SOLVEREIGN",
        runbook="https://example.com/runbook",
        sections=tuple(sections or standard),
        deploy=tuple(
            deploy
            or (
                StepSpec(id=StepId("deploy.tag"), title="Create release tag", action={"do": "attest"}),
                StepSpec(id=StepId("deploy.backend"), title="Deploy backend", action={"do": "set_image"}),
                StepSpec(
                    id=StepId("deploy.logs"), title="Verify backend logs", action={"do": "check", "kind": "pod_logs"}
                ),
            )
        ),
        rollback=tuple(
            rollback
            or (StepSpec(id=StepId("rollback.backend"), title="Restore backend", action={"do": "restore_backend"}),)
        ),
    )


def referring_checklist() -> Checklist:
    """`make_checklist` with a line in the first section that shows the result of a check that decides."""
    sections = list(make_checklist().sections)
    line = Check(id=CheckId("migrations.again"), title="Seen there too", same_as=CheckId("go.check_1"))
    sections[0] = sections[0].model_copy(update={"checks": (*sections[0].checks, line)})
    return make_checklist(sections=sections)


def make_release(state: ReleaseState = ReleaseState.OPEN, **changes: Any) -> Release:
    """A release in ``state`` with the deployer and the times that belong to that state."""
    release = Release(
        id=ReleaseId(12),
        environment="production",
        version="v4.8.0",
        state=state,
        manager=RITA,
        notes_url="https://example.com/notes",
        commit="c0ffee" * 6 + "c0ff",
        image="ghcr.io/solvereign/api",
        digest="sha256:" + "ab" * 32,
        checklist_digest="1" * 64,
        policy_digest="2" * 64,
        channel="C0RELEASES1",
        started_at=ago(60),
        pinned_at=ago(60),
        confirmed_at=NOW,
    )
    if state not in {ReleaseState.OPEN, ReleaseState.ABORTED}:
        release = replace(release, deployer=QUINN)
    if state in {ReleaseState.WATCHING, ReleaseState.DONE, ReleaseState.ROLLED_BACK}:
        release = replace(release, deployed_at=ago(10))
    if state in {ReleaseState.DONE, ReleaseState.ROLLED_BACK, ReleaseState.ABORTED}:
        release = replace(release, closed_at=NOW)
    return replace(release, **changes)


def make_result(check_id: str = "go.backup", outcome: Outcome = Outcome.PASS, **changes: Any) -> Result:
    """A stored result of a check that finished three minutes ago."""
    result = Result(
        id=1,
        check=CheckId(check_id),
        outcome=outcome,
        summary="5 of 5 PASS" if outcome is Outcome.PASS else "2 of 5 did not pass",
        asked="SELECT * FROM billing.verify_billing_schema()",
        expected="All PASS",
        seen="plans_exist PASS",
        attachment="",
        attachment_name="",
        attachment_length=0,
        hint="",
        started_at=ago(4),
        finished_at=ago(3),
        by=RITA,
    )
    return replace(result, **changes)


def make_waiver(check_id: str = "go.backup", **changes: Any) -> Waiver:
    """A waiver by the release manager."""
    return replace(Waiver(CheckId(check_id), RITA, "the drill of yesterday counts", ago(2)), **changes)


def make_check_view(
    check_id: str = "go.backup",
    result: Result | None = None,
    waiver: Waiver | None = None,
    running: RunState = RunState.IDLE,
    progress: str = "",
) -> CheckView:
    """A check with its latest result; by default it has never run."""
    return CheckView(CheckId(check_id), running, progress, result, waiver)


def make_signoff(role: Role = Role.RELEASE_MANAGER, verdict: Verdict = Verdict.APPROVE, **changes: Any) -> SignOff:
    """A sign-off; give it a ``fingerprint``, or use `with_signoffs`, to make it valid."""
    signoff = SignOff(
        id=7,
        role=role,
        by=SIGNERS[role],
        verdict=verdict,
        purpose=Purpose.DEPLOY,
        reason="" if verdict is Verdict.APPROVE else "not on a Friday",
        fingerprint="0" * 64,
        at=ago(1),
        permalink="https://example.com/p1",
    )
    return replace(signoff, **changes)


def make_steps(plan: PlanKind, checklist: Checklist, states: Iterable[StepState]) -> tuple[Step, ...]:
    """The steps of a plan in these states, in order; the remaining steps are pending."""
    specs = checklist.deploy if plan is PlanKind.DEPLOY else checklist.rollback
    all_states = [*states, *[StepState.PENDING] * len(specs)]
    steps = []
    for ordinal, (spec, state) in enumerate(zip(specs, all_states, strict=False), start=1):
        has_begun = state not in {StepState.PENDING, StepState.TO_ATTEST}
        is_over = has_begun and state is not StepState.RUNNING
        steps.append(
            Step(
                row=100 + ordinal if plan is PlanKind.DEPLOY else 200 + ordinal,
                plan=plan,
                ordinal=ordinal,
                id=spec.id,
                state=state,
                summary="did not become ready" if state is StepState.FAILED else "3 of 3 pods ready" if is_over else "",
                progress="2 of 3 pods ready" if state is StepState.RUNNING else "",
                before={"image": "ghcr.io/solvereign/api@sha256:" + "cd" * 32, "revision": 41} if has_begun else {},
                started_at=ago(12) if has_begun else None,
                finished_at=ago(11) if is_over else None,
                by=RITA if state is StepState.ATTESTED else None,
                note="pushed by hand" if state is StepState.ATTESTED else "",
            )
        )
    return tuple(steps)


def make_alarm(**changes: Any) -> Alarm:
    """An alarm that nobody has acknowledged."""
    alarm = Alarm(
        id=5,
        issue="4711",
        short_id="API-17",
        title="KeyError: 'plan_id'",
        permalink="https://sentry.example.com/issues/4711/",
        kind="new",
        at=ago(2),
        probe="watch.issues",
        covers=("4711",),
    )
    return replace(alarm, **changes)


def make_reading(probe: str = "watch.issues", status: ProbeStatus = ProbeStatus.CLEAN, **changes: Any) -> Reading:
    """The latest reading of a probe, half a minute old and clean by default."""
    reading = Reading(probe, status, "no new issue in the release", asked_at=ago(0.5), last_answer_at=ago(0.5))
    return replace(reading, **changes)


def make_watch(state: WatchState = WatchState.RUNNING, **changes: Any) -> Watch:
    """A watch that has run for ten of its fifteen minutes, last poll clean."""
    watch = Watch(
        state=state,
        started_at=ago(10),
        ends_at=ago(-5),
        polls=20,
        last_poll_at=ago(0.5),
        readings=(make_reading(),),
    )
    return replace(watch, **changes)


def make_view(
    release: Release | None = None,
    checklist: Checklist | None = None,
    checks: Mapping[Any, CheckView] | None = None,
    **changes: Any,
) -> ReleaseView:
    """A release whose checks before the deploy have passed, except those given in ``checks``; nobody has signed."""
    checklist = checklist or make_checklist()
    passed_checks = {
        check.id: make_check_view(check.id, make_result(check.id) if section.phase == "before" else None)
        for section in checklist.sections
        for check in section.checks
    }
    others = {CheckId(check_id): check_view for check_id, check_view in (checks or {}).items()}
    others |= {
        line.id: others[line.canonical_id] for line in checklist.checks if line.same_as and line.canonical_id in others
    }
    view = ReleaseView(
        release=release or make_release(),
        checklist=checklist,
        policy=Policy(),
        checks={**passed_checks, **others},
        signoffs=(),
        steps=(),
        watch=None,
        freeze=None,
        now=NOW,
    )
    return replace(view, **changes)


def with_signoffs(view: ReleaseView, *roles: Role) -> ReleaseView:
    """A copy of ``view`` with a valid sign-off by each of ``roles``."""
    return replace(
        view, signoffs=tuple(make_signoff(role, id=7 + n, fingerprint=view.fingerprint) for n, role in enumerate(roles))
    )


def make_mitigation(**changes: Any) -> Mitigation:
    """A mitigation that has been in force for half an hour without a reminder."""
    mitigation = Mitigation(
        id=3,
        release_id=ReleaseId(12),
        step=201,
        state=MitigationState.SET,
        what="MODE=off",
        owner=PAT,
        reason="invoices are wrong",
        begun_at=ago(30),
        due_at=ago(-210),
    )
    return replace(mitigation, **changes)


def make_freeze(**changes: Any) -> Freeze:
    """A freeze without an end."""
    return replace(Freeze(by=PAT, reason="incident under way", until=None, id=3), **changes)


def in_state(state: ReleaseState) -> ReleaseView:
    """A typical release in ``state``: with sign-offs, and with the steps and the watch of that state."""
    checklist = make_checklist()
    attested_state, done_state = StepState.ATTESTED, StepState.DONE
    deploy = {
        ReleaseState.OPEN: None,
        ReleaseState.ABORTED: None,
        ReleaseState.DEPLOYING: [attested_state, StepState.RUNNING],
        ReleaseState.DEPLOY_FAILED: [attested_state, StepState.FAILED],
    }.get(state, [attested_state, done_state, done_state])
    rollback = {
        ReleaseState.ROLLING_BACK: [StepState.RUNNING],
        ReleaseState.ROLLBACK_FAILED: [StepState.FAILED],
        ReleaseState.ROLLED_BACK: [done_state],
    }.get(state)
    watch = {
        ReleaseState.WATCHING: make_watch(),
        ReleaseState.DONE: make_watch(WatchState.CLEAN, ends_at=ago(1)),
        ReleaseState.ROLLING_BACK: make_watch(WatchState.STOPPED),
        ReleaseState.ROLLED_BACK: make_watch(WatchState.STOPPED),
    }.get(state)
    reasons = {ReleaseState.ABORTED: "superseded by v4.8.1", ReleaseState.ROLLED_BACK: "errors after the deploy"}
    steps = make_steps(PlanKind.DEPLOY, checklist, deploy) if deploy is not None else ()
    steps += make_steps(PlanKind.ROLLBACK, checklist, rollback) if rollback is not None else ()
    view = make_view(make_release(state, reason=reasons.get(state, "")), checklist, steps=steps, watch=watch)
    return with_signoffs(view, Role.RELEASE_MANAGER, Role.QA)


def render_stored(kind: str, subject: str, view: ReleaseView) -> Rendered:
    """Render the message of the post that is stored with ``kind`` and ``subject``."""
    return render(read_subject(kind, subject), view)
