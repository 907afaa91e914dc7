"""billing_gate: a tenant that has not paid gets 402, and its status is put back whatever happens."""

import psycopg
import pytest

from checks.contract import Outcome
from checks.registry import Registry
from clients.connections import Clients
from clients.errors import ClientError
from clients.target import Target, require
from tests.checks.replies import Replies, Reply, Request, Route
from tests.fix_checks import Pauses, RecordingUndo, context, production_target, run, staging_target, with_changes

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
    """The staging environment, with its test tenant active before and after the test."""
    target = staging_target(sandbox)
    set_status(target, "active")
    yield target
    set_status(target, "active")


def run_against(target: Target, reply: Route, *, undo: RecordingUndo | None = None, tenant: int | None = None):
    """Run against an API that accepts the test user and answers the write with the reply, on the real database."""
    user = {"success": True, "tenant_id": tenant or tenant_of(target)}
    login = Reply(200, user, {"Set-Cookie": "sv_platform_session=abc; Path=/"})
    with Replies({LOGIN: login, PLANS: reply}) as server:
        return run("billing_gate", {}, target=with_changes(target, api_url=server.url), undo=undo)


@pytest.mark.parametrize("status", ["past_due", "canceled", "suspended", "none"])
def test_an_unpaid_tenant_is_refused(target, status):
    """A 402 subscription_required for each status without a right to write is a PASS, and the tenant is active again."""
    result = run("billing_gate", {"status": status}, target=target)

    assert result.outcome is Outcome.PASS
    assert result.answer.summary == f"402 subscription_required while {status}; status put back to active"
    assert get_status(target) == "active"


def test_a_billing_gate_that_does_not_block_fails(sandbox, target):
    """A product that answers 404 to the blocked tenant is a FAIL, and the tenant is active again."""
    with sandbox.fault("gating_open"):
        result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == "no 402, got 404: gating is not wired"
    assert get_status(target) == "active"


@pytest.mark.parametrize("body", [PAST_DUE, {"detail": PAST_DUE}], ids=["middleware", "dependency"])
def test_both_forms_of_the_refusal_pass(target, body):
    """The refusal may be at the top of the body or under detail."""
    assert run_against(target, Reply(402, body)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("reply", "summary"),
    [
        (Reply(200, {"success": True}), "no 402, got 200: gating is not wired"),
        (Reply(422, {"detail": []}), "no 402, got 422: gating is not wired"),
        (Reply(500, "Internal Server Error"), "no 402, got 500: gating is not wired"),
        (Reply(402, "Payment Required"), "402, but not the gate's answer: no error subscription_required in the body"),
        (Reply(402, {"detail": "pay"}), "402, but not the gate's answer: no error subscription_required in the body"),
        (Reply(402, PAST_DUE | {"billing_status": "none"}), "402, but for billing_status none, not past_due"),
    ],
)
def test_any_other_answer_fails(target, reply, summary):
    """Any answer but the gate's own refusal for this status is a FAIL."""
    result = run_against(target, reply)

    assert result.outcome is Outcome.FAIL
    assert result.answer.summary == summary


def test_an_open_gate_creates_nothing(target):
    """No route accepts the body; if one does, the evidence shows what has to be removed."""
    bodies = []

    def take(request: Request) -> Reply:
        bodies.append(request.json())
        return Reply(201, {"success": True, "id": 7})

    result = run_against(target, take)

    assert bodies == [[]]
    assert result.answer.hint.endswith("The request was accepted: the answer in the evidence says what to remove.")
    assert '"id": 7' in result.answer.evidence.seen


def test_status_is_set_while_the_request_runs(target):
    """The undo record is written first, then the tenant is past_due during the request, then the record is closed."""
    undo = RecordingUndo()
    during = []

    def look(request: Request) -> Reply:
        during.append((get_status(target), list(undo.open)))
        return Reply(402, PAST_DUE)

    run_against(target, look, undo=undo)

    assert during == [("past_due", [{"tenant": tenant_of(target), "before": "active", "set": "past_due"}])]
    assert undo.open == []


def test_the_previous_status_is_restored(target):
    """The status that the tenant had before is restored, not a fixed one."""
    set_status(target, "trialing")
    result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.PASS
    assert get_status(target) == "trialing"


@pytest.mark.parametrize(
    "reply",
    [Reply(401, {"detail": "Authentication required"}), Reply(502, ""), Reply(503, "")],
    ids=["401", "502", "503"],
)
def test_an_answer_that_is_not_the_gate_s_is_an_error(target, reply):
    """A session that is not accepted, or a product that does not answer, is an ERROR, and the tenant is active again."""
    result = run_against(target, reply)

    assert result.outcome is Outcome.ERROR
    assert get_status(target) == "active"


def test_a_lost_connection_is_an_error(target):
    """If the API disappears during the request the answer is ERROR, and the tenant is active again."""

    def cut(request: Request) -> Reply:
        raise ConnectionAbortedError

    undo = RecordingUndo()
    result = run_against(target, cut, undo=undo)

    assert result.outcome is Outcome.ERROR
    assert get_status(target) == "active"
    assert undo.open == []


def test_a_product_that_is_down_is_an_error(sandbox, target):
    """If the API answers 503 the answer is ERROR before anything is changed."""
    undo = RecordingUndo()
    with sandbox.fault("product_down"):
        result = run("billing_gate", {}, target=target, undo=undo)

    assert result.outcome is Outcome.ERROR
    assert undo.records == {}


def test_a_user_of_another_tenant_is_an_error(target):
    """The gate looks at the user's own tenant, so another tenant proves nothing: ERROR without any change."""
    undo = RecordingUndo()
    result = run_against(target, Reply(402, PAST_DUE), undo=undo, tenant=1)

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary == f"the test user belongs to tenant 1, the test tenant is {tenant_of(target)}"
    assert undo.records == {}


def test_a_tenant_that_is_past_due_already_is_an_error(target):
    """A status that an earlier run or a person left must not become the one to restore: ERROR."""
    set_status(target, "past_due")
    result = run("billing_gate", {}, target=target)

    assert result.outcome is Outcome.ERROR
    assert "is past_due already" in result.answer.summary


def test_an_unknown_tenant_is_an_error(target):
    """A tenant that does not exist, or that the role may not see, is an ERROR."""
    stranger = with_changes(target, tenant={"id": 4711})
    result = run_against(stranger, Reply(402, PAST_DUE))

    assert result.outcome is Outcome.ERROR
    assert result.answer.summary.startswith("no tenant 4711 on staging")


def test_a_role_that_may_not_update_is_an_error(sandbox, target):
    """A database role without UPDATE on tenants is an ERROR, and no undo record stays open."""
    undo = RecordingUndo()
    reader = production_target(sandbox).database_url
    result = run_against(with_changes(target, database_url=reader), Reply(402, PAST_DUE), undo=undo)

    assert result.outcome is Outcome.ERROR
    assert "permission denied" in result.answer.summary
    assert undo.open == []


def test_undo_restores_what_a_killed_run_changed(target):
    """After a killed run undo sets the tenant active again, and a second undo does nothing."""
    set_status(target, "past_due")
    record = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    kind = Registry.load().get("billing_gate")
    with Clients(target) as clients:
        kind.undo(record, context(target, clients))
        kind.undo(record, context(target, clients, cancelled=Pauses()))

    assert get_status(target) == "active"


def test_undo_looks_again_for_a_change_that_is_under_way(target):
    """Undo also finds a change that the server commits after the connection of the run was lost."""
    record = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    url = require(target.database_url, target, "database_url").get_secret_value()
    with Clients(target) as clients, psycopg.connect(url) as connection:
        connection.execute("UPDATE tenants SET billing_status = 'past_due' WHERE id = %s", (record["tenant"],))
        Registry.load().get("billing_gate").undo(record, context(target, clients, cancelled=Pauses(connection.commit)))

    assert get_status(target) == "active"


def test_undo_keeps_a_status_that_somebody_else_set(target):
    """A status that somebody else has set since is not overwritten."""
    set_status(target, "trialing")
    record = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    with Clients(target) as clients:
        Registry.load().get("billing_gate").undo(record, context(target, clients, cancelled=Pauses()))

    assert get_status(target) == "trialing"


def test_undo_without_a_database_raises(target):
    """Undo raises if it cannot reach the database, so that the record stays open."""
    record = {"tenant": tenant_of(target), "before": "active", "set": "past_due"}
    unset = with_changes(target, database_url=None)
    with Clients(unset) as clients, pytest.raises(ClientError, match="has no database_url"):
        Registry.load().get("billing_gate").undo(record, context(unset, clients))


@pytest.mark.parametrize("setting", ["api_url", "database_url", "login", "tenant"])
def test_a_missing_setting_is_named(target, setting):
    """The error names each required setting that is missing."""
    result = run("billing_gate", {}, target=with_changes(target, **{setting: None}))

    assert result.outcome is Outcome.ERROR
    assert setting in result.answer.summary
