"""What a kind or a step has not declared, its clients refuse: before anything is sent, in plugins too, and by name."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from bot.domain.actions import DeployCronJob, Migrate, RestoreCronJob, SetImage, StepSpec, Tag, VercelDeploy
from bot.domain.ids import StepId
from bot.steps.registry import HANDLERS, bound_clients
from checks.contract import Answer, CheckContext, Evidence, Kind, Outcome, Params
from checks.registry import Registry
from clients.cluster import KubeClients
from clients.connections import Clients
from clients.declared import NeedGuard, NotDeclared
from clients.github import Commit
from clients.needs import (
    API,
    CHANGE_DEPLOYMENT,
    LIST_BACKUPS,
    LOG_IN,
    READ_CONTENTS,
    READ_LOGS,
    Changes,
    Need,
    Setting,
    sentry,
)
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.fix_checks import RecordingUndo, run

REGISTRY = Registry.load()
PASSWORD = "long enough"
Use = Callable[[Clients], object]
PARTS = {
    "sentry": {"token": "t", "organization": "o", "project": "p", "dsn": "http://key@127.0.0.1:9/1"},
    "grafana": {"token": "t"},
    "stripe": {"api_key": "sk_test_1"},
    "github": {"repository": "o/r", "token": "t"},
    "vercel": {"token": "t", "project": "prj"},
}
CHANGE = Changes("something")


def target_of(url: str) -> Target:
    """A Target all of whose sections are at ``url``."""
    values: dict[str, Any] = {name: {"url": url, **part} for name, part in PARTS.items()}
    databases = dict.fromkeys(
        ("database_url", "restore_database_url", "migrate_database_url"), "postgresql://u@127.0.0.1:9/d"
    )
    login = {"email": "qa@example.org", "password": PASSWORD}
    bucket = {"namespace": "n", "bucket": "b", "endpoint_url": url, "access_key_id": "k", "secret_access_key": "s"}
    return Target.model_validate(
        {"name": "staging", "mutable": True, "api_url": url, "login": login, "backup": bucket, **values, **databases}
    )


def write(clients: Clients) -> None:
    """Open a transaction that may write."""
    with clients.postgres(read_only=False):
        raise AssertionError


def scratch(clients: Clients) -> None:
    """Open a connection to the server on which databases are made."""
    with clients.scratch_server():
        raise AssertionError


def url_of(clients: Clients) -> str:
    """The address of the API."""
    return str(clients._target.api_url)


@pytest.mark.parametrize(
    ("act", "declares", "missing"),
    [
        (lambda clients: clients.http().get(url_of(clients)), (), "Setting(setting='api_url')"),
        (lambda clients: clients.http().post(url_of(clients), json={}), (API,), "Changes(…)"),
        (lambda clients: clients.http().request("delete", url_of(clients)), (API,), "Changes(…)"),
        (lambda clients: clients.http().put("http://127.0.0.1:9/elsewhere"), (API,), "Changes(…)"),
        (lambda clients: clients.http().post(url_of(clients), json={"x": PASSWORD}), (API, CHANGE), "Spends(name='login'"),
        (lambda clients: clients.login(), (API, CHANGE, Setting("login")), "Spends(name='login'"),
        (write, (Setting("database_url"),), "Changes(…)"),
        (write, (CHANGE,), "Setting(setting='database_url')"),
        (scratch, (Setting("restore_database_url"),), "Changes(…)"),
        (lambda clients: clients.migrate_server(options=""), (CHANGE,), "Setting(setting='migrate_database_url')"),
        (lambda clients: clients.sentry().event("e"), sentry("event:read"), "right='project:read'"),
        (lambda clients: next(clients.sentry().issues({})), sentry("project:read"), "right='event:read'"),
        (lambda clients: clients.sentry().send({}, "dsn"), (Setting("sentry.dsn"),), "Changes(…)"),
        (lambda clients: clients.grafana().dashboard("d"), (), "right='dashboards:read'"),
        (lambda clients: clients.grafana().query([], "now-1m", "x"), (), "right='datasources:query'"),
        (lambda clients: clients.stripe().webhook_endpoints(), (), "right='webhook endpoints: read'"),
        (lambda clients: clients.github().pull_requests(Commit("c", "")), (READ_CONTENTS,), "right='pull requests: read'"),
        (lambda clients: clients.github().create_tag("v1", "c", ""), (READ_CONTENTS, CHANGE), "right='contents: write'"),
        (lambda clients: clients.vercel().live(), (), "Setting(setting='vercel.token')"),
        (lambda clients: clients.vercel().promote("dpl"), (Setting("vercel.token"),), "Changes(…)"),
        (lambda clients: clients.s3().get_object(Bucket="b", Key="k"), (LIST_BACKUPS,), "right='s3:GetObject'"),
        (lambda clients: clients.s3().delete_object(Bucket="b", Key="k"), (LIST_BACKUPS, CHANGE), "right='s3:DeleteObject'"),
        (lambda clients: clients.s3().get_paginator("list_objects_v2"), (CHANGE,), "right='s3:ListBucket'"),
    ],
)  # fmt: skip
def test_an_undeclared_use_of_a_client_is_rejected(act: Use, declares: tuple[Need, ...], missing: str) -> None:
    """The error names the user of the clients and the missing declaration, and nothing is sent."""
    with Replies({}) as server, Clients(target_of(server.url)) as clients:
        guarded_clients = clients.bound_to(NeedGuard("kind mine", declares))
        with pytest.raises(NotDeclared) as error:
            act(guarded_clients)

    assert error.value.summary.startswith("kind mine isn't allowed to ")
    assert missing in error.value.hint
    assert server.requests == []


class CallRecorder:
    """The API groups of a Kubernetes client, which only note what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.calls.append(name)


@pytest.mark.parametrize(
    ("group", "call", "declares", "is_allowed"),
    [
        ("core", "read_namespaced_pod_log", (READ_LOGS,), True),
        ("core", "read_namespaced_pod", (READ_LOGS,), False),
        ("core", "read_namespaced_secret", (), False),
        ("apps", "patch_namespaced_deployment", (CHANGE_DEPLOYMENT, CHANGE), True),
        ("apps", "patch_namespaced_deployment", (CHANGE_DEPLOYMENT,), False),
        ("core", "patch_namespaced_deployment", (CHANGE_DEPLOYMENT, CHANGE), False),
        ("core", "connect_get_namespaced_pod_exec", (READ_LOGS, CHANGE), False),
        ("core", "api_client", (READ_LOGS, CHANGE), False),
        ("batch", "delete_collection_namespaced_job", (CHANGE,), False),
    ],
)
def test_calls_to_kubernetes_need_a_declared_right(
    group: str, call: str, declares: tuple[Need, ...], is_allowed: bool
) -> None:
    """A call needs the right of its verb and object, and a call that changes something also a declared change."""
    recorder = CallRecorder()
    kube = KubeClients(recorder, recorder, recorder, recorder, (1, 1)).bound_to(NeedGuard("kind mine", declares))
    if is_allowed:
        getattr(getattr(kube, group), call)("one", "namespace")
    else:
        with pytest.raises(NotDeclared, match=r"^kind mine isn't allowed to "):
            getattr(getattr(kube, group), call)("one", "namespace")

    assert recorder.calls == ([call] if is_allowed else [])


def log_in(self: Kind, params: Any, ctx: CheckContext) -> Answer:
    """A run() that logs in by itself."""
    login = {"email": "qa@example.org", "password": PASSWORD}
    ctx.clients.http().post(f"{ctx.target.api_url}api/auth/login", json=login)
    raise AssertionError


def variant_of(name: str, **changes: Any) -> Kind:
    """A kind of the sample plugin with some of its attributes replaced."""
    kind: Kind = type("Another", (type(REGISTRY.get(name)),), changes)()
    return kind


def changes_if_it_waits(_self: Kind, params: Any) -> tuple[Need, ...]:
    """Needs that declare the change only for some parameters."""
    return (API, CHANGE) if params.seconds else (API,)


REJECTION = "the pause of the work queue isn't changed: kind queue_pause does not declare that it changes data"


class TestPlugin:
    """The clients reject what a kind of a plugin, whose code the bot does not know, has not declared."""

    @pytest.mark.parametrize(
        ("kind", "params", "summary"),
        [
            (variant_of("queue_pause", needs=lambda *_: (API,)), {}, REJECTION),
            (variant_of("queue_pause", needs=changes_if_it_waits), {"seconds": 0.1}, REJECTION),
            (
                variant_of("queue_depth", run=log_in),
                {},
                "kind queue_depth isn't allowed to use up logins: it doesn't declare that",
            ),
        ],
        ids=["no change declared", "a change for some parameters", "logs in"],
    )
    def test_a_kind_that_declares_too_little_is_an_error(
        self, kind: Kind, params: Mapping[str, Any], summary: str
    ) -> None:
        """The result is an ERROR with the kind and the missing declaration; nothing was sent, and there is nothing to
        undo.
        """
        undo = RecordingUndo()
        with Replies({}) as server:
            result = run(kind, params, target_of(server.url), undo=undo)

        assert result.outcome is Outcome.ERROR
        assert result.answer.summary.startswith(summary)
        assert "needs() must return" in result.answer.hint
        assert (server.requests, undo.records) == ([], {})

    def test_a_kind_that_declares_everything_passes(self) -> None:
        """The kind of the plugin passes with its own needs."""
        routes = {"PUT /api/queue": Reply(200, {}), "GET /api/queue": Reply(200, {"paused": True})}
        with Replies(routes) as server:
            assert run("queue_pause", {}, target_of(server.url)).outcome is Outcome.PASS


def test_a_kind_that_changes_nothing_gets_a_read_only_connection(database_url: str) -> None:
    """A kind without a declared change cannot write to the database."""

    class Writes(Kind):
        """A kind that tries to create a table through its connection."""

        name, summary, params = "writes", "writes", Params

        def needs(self, params: Any) -> tuple[Need, ...]:
            return (Setting("database_url"),)

        def run(self, params: Any, ctx: CheckContext) -> Answer:
            with ctx.clients.postgres() as connection:
                connection.execute("CREATE TABLE t ()")
            return Answer(Outcome.PASS, "written", Evidence("a", "b", "c"))

    result = run(Writes(), {}, Target.model_validate({"name": "staging", "database_url": database_url}))

    assert (result.outcome, "read-only" in result.answer.summary) == (Outcome.ERROR, True)


STEPS = [
    Tag(do="tag"),
    Migrate(do="migrate", files="db"),
    SetImage(do="set_image"),
    VercelDeploy(do="vercel_deploy"),
    DeployCronJob(do="cronjob", name="backup", manifest="backup.yml"),
    RestoreCronJob(do="restore_cronjob"),
]


@pytest.mark.parametrize("action", STEPS, ids=lambda action: action.do)
def test_a_step_can_change_something_only_when_it_acts(action: Any) -> None:
    """The clients of a step have the changes that it declares only while it acts, not while it looks."""
    spec = StepSpec(id=StepId("deploy.one"), title="One", action=action)
    with Clients(Target(name="production")) as clients:
        looking_clients, acting_clients = (bound_clients(clients, spec, acts=acts)._declared for acts in (False, True))

    assert (looking_clients.may_change, acting_clients.may_change) == (False, True)
    assert acting_clients.user == "step deploy.one"


@pytest.mark.parametrize("handler", [handler for action, handler in HANDLERS.items() if action.__name__ != "RunCheck"])
def test_every_step_declares_a_change(handler: Any) -> None:
    """Every step except a check declares a change, because its clients would otherwise reject what it does."""
    action = next(action for action, one in HANDLERS.items() if one is handler)
    spec = {"DeployCronJob": STEPS[4], "Migrate": STEPS[1]}.get(action.__name__)

    assert any(isinstance(need, Changes) for need in handler.needs(spec or STEPS[0]))


def test_kinds_may_use_four_of_the_five_logins_that_the_product_allows() -> None:
    """The fifth login in fifteen minutes is left to people."""
    assert (LOG_IN.uses, LOG_IN.period) == (4, 900)
