"""billing_gate: a tenant that has not paid gets 402, and its status is put back whatever happens."""

import psycopg
import pytest

from checks.contract import Outcome
from checks.registry import Registry
from clients.connections import Clients
from clients.errors import ClientError
from clients.target import Target, require
from tests.checks.replies import Answering, Replies, Reply, Request
from tests.fix_checks import Pauses, RecordingUndo, changed, context, production_target, run, staging_target

LOGIN, PLANS = "POST /api/auth/login", "POST /api/v1/roster/plans"
PAST_DUE = {"error": "subscription_required", "message": "Payment overdue.", "billing_status": "past_due"}


def sql(target: Target, query: str, *values: str) -> psycopg.Cursor:
    """Run a query on the test tenant, whose id is the last value."""
    url = require(target.database_url, target, "database_url").get_secret_value()
    with psycopg.connect(url) as connection:
        return connection.execute(query, (*values, tenant_of(target)))


def tenant_of(target: Target) -> int:
    """The id of the test tenant."""
    return require(target.tenant, target, "tenant").id


def set_status(target: Target, status: str) -> None:
    """Set the test tenant's billing status."""
    sql(target, "UPDATE tenants SET billing_status = %s WHERE id = %s", status)


def get_status(target: Target) -> str:
    """The test tenant's billing status."""
    ((status,),) = sql(target, "SELECT billing_status FROM tenants WHERE id = %s").fetchall()
    return str(status)


@pytest.fixture
def target(sandbox):
    """The staging environment, whose test tenant is active before the test and put back to it after it."""
    target = staging_target(sandbox)
    set_status(target, "active")
    yield target
    set_status(target, "active")


def answering(target: Target, reply: Answering, *, undo: RecordingUndo | None = None, tenant: int | None = None):
    """Run against an API that lets the test user in and answers the write with the reply, over the real database."""
    user = {"success": True, "tenant_id": tenant or tenant_of(target)}
    login = Reply(200, user, {"Set-Cookie": "sv_platform_session=abc; Path=/"})
    with Replies({LOGIN: login, PLANS: reply}) as server:
        return run("billing_gate", {}, target=changed(target, api_url=server.url), undo=undo)


@pytest.mark.parametrize("status", ["past_due", "canceled", "suspended", "none"])
def test_unpaid_tenant_is_refused(target, status):
    """402 subscription_required for each status without a right to write: PASS, and the tenant is active again."""
    result = run("billing_gate", {"status": status}, target=target)

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == f"402 subscription_required while {status}; status put back to active"
    assert get_status(target) == "active"


def test_open_gate_fails(sandbox, target):
    """Gating that is wired to nothing answers 404: FAIL says so, and the tenant is active again."""
    with sandbox.fault("gating_open"):
        result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "no 402, got 404: gating is not wired"
    assert get_status(target) == "active"


@pytest.mark.parametrize("body", [PAST_DUE, {"detail": PAST_DUE}], ids=["middleware", "dependency"])
def test_both_forms_of_the_refusal_pass(target, body):
    """The refusal stands at the top of the body, or under detail."""
    assert answering(target, Reply(402, body)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, {"success": True}), "no 402, got 200: gating is not wired"),
        (Reply(422, {"detail": []}), "no 402, got 422: gating is not wired"),
        (Reply(500, "Internal Server Error"), "no 402, got 500: gating is not wired"),
        (Reply(402, "Payment Required"), "402, but not the gate's answer: no error subscription_required in the body"),
        (Reply(402, {"detail": "pay"}), "402, but not the gate's answer: no error subscription_required in the body"),
        (Reply(402, PAST_DUE | {"billing_status": "none"}), "402, but for billing_status none, not past_due"),
    ],
)
def test_other_answers_fail(target, reply, told):
    """Whatever is not the gate's own refusal for this status is FAIL."""
    result = answering(target, reply)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == told


def test_where_gating_is_open_nothing_is_made(target):
    """The body is JSON that no route can take; if one does all the same, the evidence shows what is to be removed."""
    bodies = []

    def take(request: Request) -> Reply:
        bodies.append(request.json())
        return Reply(201, {"success": True, "id": 7})

    result = answering(target, take)

    assert bodies == [[]]
    assert result.answer.hint.endswith("The request was taken: the answer in the evidence says what to remove.")
    assert '"id": 7' in result.answer.evidence.seen


def test_status_is_set_while_the_request_runs(target):
    """The debt is written down first, then the tenant is past_due while the request is made, then it is paid."""
    undo = RecordingUndo()
    during = []

    def look(request: Request) -> Reply:
        during.append((get_status(target), list(undo.open)))
        return Reply(402, PAST_DUE)

    answering(target, look, undo=undo)

    assert during == [("past_due", [{"tenant": tenant_of(target), "before": "active", "set": "past_due"}])]
    assert undo.open == []


def test_old_status_is_remembered(target):
    """What was there before is put back, not a fixed value."""
    set_status(target, "trialing")
    result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.PASS
    assert get_status(target) == "trialing"


@pytest.mark.parametrize(
    "reply",
    [Reply(401, {"detail": "Authentication required"}), Reply(502, ""), Reply(503, "")],
    ids=["401", "502", "503"],
)
def test_no_answer_of_the_gate_is_no_verdict(target, reply):
    """A session that was not taken, or a product that did not answer: ERROR, and the tenant is active again."""
    result = answering(target, reply)

    assert result.outcome is Outcome.ERROR
    assert get_status(target) == "active"


def test_lost_connection_is_no_verdict(target):
    """The API goes away in the middle of the request: ERROR, and the tenant is active again."""

    def cut(request: Request) -> Reply:
        raise ConnectionAbortedError

    undo = RecordingUndo()
    result = answering(target, cut, undo=undo)

    assert result.outcome is Outcome.ERROR
    assert get_status(target) == "active"
    assert undo.open == []


def test_product_down(sandbox, target):
    """The API answers 503 to everything: ERROR before anything is changed."""
    undo = RecordingUndo()
    with sandbox.fault("product_down"):
        result = run("billing_gate", {}, target=target, undo=undo)

    assert result.outcome is Outcome.ERROR
    assert undo.recorded == {}


def test_user_of_another_tenant_is_no_verdict(target):
    """The gate looks at the user's own tenant, another one's status proves nothing: ERROR, nothing is changed."""
    undo = RecordingUndo()
    result = answering(target, Reply(402, PAST_DUE), undo=undo, tenant=1)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"the test user belongs to tenant 1, the test tenant is {tenant_of(target)}"
    assert undo.recorded == {}


def test_tenant_that_is_past_due_already_is_no_verdict(target):
    """What an earlier run left, or a person set, must not become the status to put back: ERROR."""
    set_status(target, "past_due")
    result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.ERROR
    assert "is past_due already" in result.answer.summary


def test_unknown_tenant_is_no_verdict(target):
    """A tenant that is not there, or not to be seen: ERROR."""
    stranger = changed(target, tenant={"id": 4711})
    result = answering(stranger, Reply(402, PAST_DUE))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("no tenant 4711 on staging")


def test_role_that_may_not_update_is_no_verdict(sandbox, target):
    """A database role without UPDATE on tenants: ERROR that says so, and no debt stays open."""
    undo = RecordingUndo()
    reader = production_target(sandbox).database_url
    result = answering(changed(target, database_url=reader), Reply(402, PAST_DUE), undo=undo)

    assert result.outcome is Outcome.ERROR
    assert "permission denied" in result.answer.summary
    assert undo.open == []


def test_undo_puts_back_what_a_killed_run_changed(target):
    """A run that was killed left past_due: undo puts active back, and a second undo does nothing."""
    set_status(target, "past_due")
    debt = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    kind = Registry.load().get("billing_gate")
    with Clients(target) as clients:
        kind.undo(debt, context(target, clients))
        kind.undo(debt, context(target, clients, cancelled=Pauses()))

    assert get_status(target) == "active"


def test_undo_looks_again_for_a_change_that_is_under_way(target):
    """The connection of a run was lost at its commit: the server is still at it when undo looks first."""
    debt = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    url = require(target.database_url, target, "database_url").get_secret_value()
    with Clients(target) as clients, psycopg.connect(url) as lost:
        lost.execute("UPDATE tenants SET billing_status = 'past_due' WHERE id = %s", (debt["tenant"],))
        Registry.load().get("billing_gate").undo(debt, context(target, clients, cancelled=Pauses(lost.commit)))

    assert get_status(target) == "active"


def test_undo_leaves_what_somebody_else_set(target):
    """A status that was changed by somebody else since is not overwritten."""
    set_status(target, "trialing")
    debt = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    with Clients(target) as clients:
        Registry.load().get("billing_gate").undo(debt, context(target, clients, cancelled=Pauses()))

    assert get_status(target) == "trialing"


def test_undo_that_cannot_reach_the_database_says_so(target):
    """Undo without a database raises, so that the debt stays open."""
    debt = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    lost = changed(target, database_url=None)
    with Clients(lost) as clients, pytest.raises(ClientError, match="has no database_url"):
        Registry.load().get("billing_gate").undo(debt, context(lost, clients))


@pytest.mark.parametrize("lacking", ["api_url", "database_url", "login", "tenant"])
def test_missing_setting_is_named(target, lacking):
    """Each part that is needed is named when it is missing."""
    result = run("billing_gate", {}, target=changed(target, **{lacking: None}))

    assert result.outcome is Outcome.ERROR
    assert lacking in result.answer.summary
