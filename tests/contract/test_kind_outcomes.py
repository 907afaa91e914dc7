"""Every kind, those of plugins too: green, red, and never a PASS or FAIL where it could not find out.

What needs no switch of the sandbox is asked side by side, once, when the first test wants an answer.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from checks.contract import Answer, Outcome, Subject
from checks.registry import BUILT_IN, Registry
from checks.runner import run_check
from clients.connections import Clients
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.contract.kind_cases import CASES, OUTCOMES, Case, Word
from tests.fix_checks import context, run, target_of, with_changes, with_vendor_at
from tests.fix_kube import eventually
from tests.fix_sandbox import Sandbox

REGISTRY = Registry.load()
ALL = [(kind, word, case) for kind, cases in CASES.items() for word, case in cases.items() if isinstance(case, Case)]
MESSAGES: dict[Word, str] = {  # how each kind of trouble is told; it must not be taken for another one
    "down": r"refused|[Cc]annot reach|no connection|Could not connect|needs names no check|there is no release",
    "slow": r"in time|time-?out|timed out|no connection",
    "rights": r"40[13]|permission denied|[Rr]efused",
}
IMPATIENT = 0.5  # seconds for an answer that never comes


class ForbiddingVendor(Replies):
    """A vendor that accepts the credentials and allows nothing."""

    def answer(self, request: Request) -> Reply:
        """Answer 403 to every request."""
        message = f"{request.path} is forbidden"
        error = {"type": "invalid_request_error", "message": message}  # as Stripe says it, the rest as Kubernetes does
        return Reply(403, {"kind": "Status", "code": 403, "reason": "Forbidden", "message": message, "error": error})


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Asker:
    """Runs the cases; those that touch the same thing of the sandbox wait for each other."""

    def __init__(self, sandbox: Sandbox, folder: Path, stranger: str, exits: contextlib.ExitStack) -> None:
        self._sandbox, self._folder, self._stranger = sandbox, folder, stranger
        self._closed, self._silent = closed_port_url(), exits.enter_context(silent_server())
        self._forbidding = exits.enter_context(ForbiddingVendor({})).url
        github = sandbox.facts["github"]
        newest = f"{github['url']}/repos/{github['repository']}/commits/main"
        bearer = {"Authorization": f"Bearer {github['token']}"}
        self._commit = str(httpx.get(newest, headers=bearer, trust_env=False).json()["sha"])
        self._locks: dict[str, threading.Lock] = {}
        self._answers: dict[tuple[str, Word], Future[Answer]] = {}
        self._pool = exits.enter_context(ThreadPoolExecutor(len(ALL)))
        for kind, word, case in ALL:
            if not case.fault:
                self._answers[kind, word] = self._pool.submit(self.ask, kind, case)

    def answer(self, kind: str, word: Word, case: Case) -> Answer:
        """The answer of the kind; one that needs a fault is asked after all others."""
        if not case.fault:
            return self._answers[kind, word].result(60)
        for other in self._answers.values():
            other.exception(60)
        with self._sandbox.fault(case.fault):
            return self.ask(kind, case)

    def ask(self, name: str, case: Case) -> Answer:
        """Run the kind as the bot does, with little patience for vendors."""
        kind = REGISTRY.get(name)
        needs = dict(case.needs)
        if case.after_backup:
            needs["go.backup"] = self._answers["backup_job", "green"].result(60).data
        params = case.params() if callable(case.params) else case.params
        with contextlib.ExitStack() as locks:
            target = self._target(case, locks)
            if not (case.down or case.slow or case.forbidding):
                for resource in kind.touches:
                    locks.enter_context(self._locks.setdefault(resource, threading.Lock()))
            subject = Subject()
            if case.version:
                subject = Subject(case.version, case.commit or self._commit, announced=case.announcement)
            patience = IMPATIENT if case.slow else 10.0
            with Clients(target, http_timeout=patience) as clients:
                ctx = context(target, clients, needs=needs, deadline=time.monotonic() + case.seconds, subject=subject)
                return run_check(kind, kind.params.model_validate(params), ctx, redact=lambda text: text).answer

    def _target(self, case: Case, locks: contextlib.ExitStack) -> Target:
        target = target_of(self._sandbox.facts, case.on)
        if case.routes:
            own_url = locks.enter_context(Replies(case.routes)).url
            target = with_vendor_at(target, case.server_for, own_url, self._folder)
        if case.down:
            target = with_vendor_at(target, case.down, self._closed, self._folder)
        if case.slow:
            target = with_vendor_at(target, case.slow, self._silent, self._folder)
        if case.forbidding == "database":
            assert target.database_url is not None
            url = make_conninfo(target.database_url.get_secret_value(), user=self._stranger)
            target = target.model_validate({**dict(target), "database_url": url})
        elif case.forbidding:
            target = with_vendor_at(target, case.forbidding, self._forbidding, self._folder)
        return with_changes(target, **case.change) if case.change else target


@pytest.fixture(scope="module")
def asker(running_sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Asker]:
    """An `Asker` that has started every case without a fault."""
    role = f"stranger_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        with contextlib.ExitStack() as exits:
            yield Asker(running_sandbox, tmp_path_factory.mktemp("kinds"), role, exits)
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("name", REGISTRY.names())
def test_every_kind_has_its_cases(name: str) -> None:
    """Each kind has a case for green, red, vendor down, time-out, missing rights and INCONCLUSIVE, or a reason why not."""
    assert name in CASES, f"add {name} to tests/contract/kind_cases.py"
    outcomes = {"green", "red", "down", "slow", "rights"}
    if "Outcome.INCONCLUSIVE" in inspect.getsource(sys.modules[type(REGISTRY.get(name)).__module__]):
        outcomes.add("unclear")
    assert set(CASES[name]) == outcomes
    reasons = [case for case in CASES[name].values() if isinstance(case, str)]
    assert all(reasons)
    files = [word for reason in reasons for word in reason.split() if word.startswith("tests/")]
    assert [file for file in files if not Path(file).exists()] == []


def test_every_case_is_for_a_kind_that_exists() -> None:
    """The cases are for the built-in kinds and those of the sample plugin."""
    assert set(CASES) == set(REGISTRY.names())
    assert set(REGISTRY.names()) - set(BUILT_IN) == {"queue_depth", "queue_drain", "queue_pause"}


def test_a_kind_that_never_ends_is_abandoned() -> None:
    """A kind of the sample plugin ignores its deadline: ERROR, and its late answer is dropped."""
    queue_length = [3]
    with Replies({"GET /api/queue": lambda _: Reply(200, {"waiting": queue_length[0]})}) as product:
        result = run("queue_drain", {}, Target(name="staging", api_url=product.url), seconds=0.1)
        assert (result.outcome, result.stopped) == (Outcome.ERROR, False)
        assert result.answer.summary.startswith("didn't finish within ")
        assert "report the bug to the author of the kind queue_drain" in result.answer.hint
        queue_length[0] = 0
        eventually("its thread to end", lambda: "queue_drain" not in "".join(map(str, threading.enumerate())))


@pytest.mark.parametrize(("kind", "word", "case"), ALL, ids=[f"{kind}-{word}" for kind, word, _ in ALL])
def test_each_case_has_its_outcome(kind: str, word: Word, case: Case, asker: Asker) -> None:
    """Known bad is FAIL, unknown is not, and each answer says what to look at."""
    answer = asker.answer(kind, word, case)
    assert answer.outcome is OUTCOMES[word], f"{answer.summary} | {answer.hint} | {answer.evidence.seen}"
    assert answer.summary
    assert answer.evidence.asked
    assert answer.evidence.seen
    if word != "green":
        assert answer.hint, answer.summary  # what to do about it
    if words := MESSAGES.get(word):
        assert re.search(words, f"{answer.summary} {answer.evidence.seen}"), answer.summary
        assert not answer.summary.startswith("unexpected "), answer.summary
