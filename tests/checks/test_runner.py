"""The runner: refusals, exceptions as ERROR, redaction and cutting."""

import logging
import threading
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params, Subject
from checks.registry import Registry
from checks.runner import run_check
from clients import needs
from clients.connections import Clients
from clients.settings import StripeSettings
from clients.target import Target
from tests.checks.replies import Replies, Reply
from tests.fix_checks import RecordingUndo, context, run

STAGING = Target(name="staging", mutable=True)


class EchoParams(Params):
    """What the kind below answers."""

    summary: str = "fine"
    seen: str = ""
    attachment: str = ""
    data: dict[str, Any] = Field(default={})


class Echo(Kind):
    """A kind that answers with the texts of its parameters."""

    name = "echo"
    summary = "Answers what it is told to."
    params = EchoParams

    def run(self, params, ctx):
        """PASS with the texts of the parameters."""
        evidence = Evidence("asked", "expected", params.seen, params.attachment, "body.txt")
        return Answer(Outcome.PASS, params.summary, evidence, data=params.data)


class Changes(Echo):
    """The kind Echo with a declared change."""

    name = "changes"

    def needs(self, params):
        """The declared change."""
        return (needs.Changes("something"),)


class Raises(Echo):
    """A kind that raises instead of answering."""

    name = "raises"

    def __init__(self, error):
        self.error = error

    def run(self, params, ctx):
        """Raise the error."""
        raise self.error


class Nothing(Echo):
    """A kind that returns no answer."""

    name = "nothing"

    def run(self, params, ctx):
        """Return None."""


def test_a_result_has_the_answer_and_its_circumstances():
    """The result has the kind's answer, the check's id, the kind's name and the duration."""
    result = run(Echo(), {"summary": "5 rows, all PASS"}, STAGING, check="go.migrations")

    assert (
        result.check,
        result.kind,
        result.outcome,
        result.answer.summary,
    ) == ("go.migrations", "echo", Outcome.PASS, "5 rows, all PASS")
    assert 0 <= result.seconds < 5


def test_a_check_error_becomes_an_error():
    """A CheckError becomes ERROR with its summary, hint and evidence, and never FAIL."""
    error = CheckError("Sentry refused: 403", hint="Grant event:read.", seen="Forbidden")
    answer = run(Raises(error), {}, STAGING).answer

    assert (answer.outcome, answer.summary, answer.hint) == (Outcome.ERROR, "Sentry refused: 403", "Grant event:read.")
    assert answer.evidence.seen == "Forbidden"


def test_an_unexpected_exception_becomes_an_error(caplog):
    """Any other exception becomes ERROR too; its traceback is logged and not part of the evidence."""
    with caplog.at_level(logging.ERROR, logger="checks.runner"):
        answer = run(Raises(KeyError("groupID")), {}, STAGING).answer

    assert answer.outcome is Outcome.ERROR
    assert answer.summary == "unexpected KeyError: 'groupID'"
    assert "Traceback" not in answer.evidence.seen
    assert "Traceback" in caplog.text


def test_a_missing_answer_becomes_an_error(caplog):
    """A kind that returns no Answer is an ERROR and no PASS."""
    assert run(Nothing(), {}, STAGING).outcome is Outcome.ERROR


def test_an_interrupt_ends_the_program():
    """Ctrl-C ends the program; only exceptions of the kind become ERROR."""
    with pytest.raises(KeyboardInterrupt):
        run(Raises(KeyboardInterrupt()), {}, STAGING)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (Target(name="staging"), "staging isn't mutable"),
        *(
            (Target(name=name, mutable=True), f"{name} is production by its name")
            for name in ("production", "prod", "Production-EU", "eu_prod2", "live", "shop.live", "non-prod")
        ),
        (Target(name="staging", environment="Prod", mutable=True), "Prod is production by its name"),
        (
            STAGING.model_copy(update={"stripe": StripeSettings(api_key="sk_live_1")}),
            "Stripe key of staging is a live one",
        ),
        (
            STAGING.model_copy(update={"stripe": StripeSettings(api_key="rk_live_1")}),
            "Stripe key of staging is a live one",
        ),
    ],
)
def test_a_change_is_refused_on_production(target, reason):
    """A kind that changes data does not run on a target that is not mutable, on production, or with a live Stripe key."""
    answer = run(Changes(), {}, target).answer

    assert answer.outcome is Outcome.ERROR
    assert reason in answer.summary


@pytest.mark.parametrize("key", ["sk_test_1", "rk_test_1"])
def test_a_kind_may_change_a_test_system(key):
    """A kind that changes data runs on a mutable target with a test key."""
    target = STAGING.model_copy(update={"stripe": StripeSettings(api_key=key)})
    assert run(Changes(), {}, target).outcome is Outcome.PASS


@pytest.mark.parametrize("name", ["staging", "product-test", "reproduction", "olive", "delivery"])
def test_a_change_is_allowed_where_the_name_only_sounds_like_production(name):
    """Only a whole word in the name makes a target production."""
    assert run(Changes(), {}, STAGING.model_copy(update={"name": name})).outcome is Outcome.PASS


def test_a_kind_that_only_reads_may_run_on_production():
    """A kind that changes nothing runs on every target."""
    assert run(Echo(), {}, Target(name="production")).outcome is Outcome.PASS


class Hangs(Echo):
    """A kind that ignores its deadline and a cancellation until it is released, and then undoes and changes once more."""

    name, mutates, grace = "hangs", True, 0.1

    def __init__(self):
        self.let_go, self.put_back, self.refused = threading.Event(), [], None

    def run(self, params, ctx):
        """PASS once the kind is released."""
        with self.undo_after("one thing", {"thing": 1}, ctx):
            assert self.let_go.wait(20)
            ctx.progress("it goes on")
        try:
            with self.undo_after("another thing", {"thing": 2}, ctx):
                raise AssertionError
        except CheckError as error:
            self.refused = str(error)
        return super().run(params, ctx)

    def undo(self, payload, ctx):
        """Remember the record that was undone."""
        self.put_back.append(payload)


def cancelled_event():
    """An event that is already set."""
    event = threading.Event()
    event.set()
    return event


@pytest.mark.parametrize("changes", [{"seconds": 0.1}, {"cancelled": cancelled_event()}], ids=["deadline", "cancelled"])
def test_a_kind_that_does_not_stop_is_abandoned(changes, caplog):
    """Some time after the deadline or a cancellation the result is ERROR, and resources stay locked until the kind
    ends. It undoes its change, changes nothing more, and its answer is dropped.
    """
    kind, undo, free, resources = Hangs(), RecordingUndo(), threading.Event(), ExitStack()
    lines: list[str] = []
    resources.callback(free.set)
    with caplog.at_level(logging.WARNING, logger="checks.call"):
        result = run(kind, {}, STAGING, undo=undo, held=resources, progress=lines.append, **changes)

    assert (result.outcome, result.stopped) == (Outcome.ERROR, False)
    assert result.answer.summary == "didn't finish within 0 s"
    assert result.answer.hint == "Restart the bot: that ends it and puts back what it changed."
    assert not free.is_set()
    assert undo.open == [{"thing": 1}]
    kind.let_go.set()
    assert free.wait(10)
    assert (kind.put_back, undo.open, len(undo.records)) == ([{"thing": 1}], [], 1)
    assert kind.refused == "another thing isn't changed: the check was stopped"
    assert lines == []
    assert "check test.check (hangs) has stopped after it was given up; its answer is dropped" in caplog.text


def redacted_answer(params, *, limit=20_000):
    """The answer of Echo after redaction of the secret hunter2."""
    with Clients(STAGING) as clients:
        ctx = context(STAGING, clients)
        return run_check(
            Echo(), EchoParams(**params), ctx, redact=lambda text: text.replace("hunter2", "•••"), limit=limit
        ).answer


def test_secrets_are_redacted_everywhere():
    """No text of an answer contains a secret: summary, evidence, attachment and data for other checks."""
    secret = {"summary": "a hunter2", "seen": "b hunter2", "attachment": "c hunter2"}
    answer = redacted_answer({**secret, "data": {"rows": [{"url": "d hunter2", "count": 3}]}})

    assert "hunter2" not in repr(answer)
    assert answer.data == {"rows": [{"url": "d •••", "count": 3}]}


@pytest.mark.parametrize(("kind", "status"), [("repo_file", 500), ("stripe_probe", 418)])
@pytest.mark.parametrize("before", [97, 1997])
def test_a_vendor_s_answer_is_redacted_before_it_is_cut(kind, status, before):
    """Half of a secret would not be recognised, so kinds hand on the whole answer."""
    body = Reply(status, "x" * before + "hunter2" + "y" * 3000)
    with Replies({"GET /repos/o/r/contents/f": body, "POST /api/billing/webhook": body}) as server:
        target = Target.model_validate(
            {"name": "t", "api_url": server.url, "github": {"url": server.url, "repository": "o/r"}}
        )
        with Clients(target) as clients:
            builtin = Registry.load().get(kind)
            params = builtin.params.model_validate({"path": "f", "text": "t"} if kind == "repo_file" else {})
            ctx = context(target, clients, subject=Subject(version="v1.0.0"))
            answer = run_check(builtin, params, ctx, redact=lambda text: text.replace("hunter2", "•••")).answer

    assert "hun" not in f"{answer.summary} {answer.evidence.seen}"
    assert "x" * 90 in answer.evidence.seen


def test_a_secret_is_redacted_before_a_text_is_cut():
    """A secret across the cut does not leave its first half."""
    answer = redacted_answer({"attachment": "x" * 49 + "hunter2" + "y" * 100}, limit=80)

    assert "hunt" not in answer.evidence.attachment


def test_long_texts_are_cut_visibly():
    """A text that is too long says how much is missing and stays within the limit."""
    answer = redacted_answer({"summary": "s" * 1000, "seen": "e" * 5000, "attachment": "a" * 900}, limit=500)

    lengths = (len(answer.summary), len(answer.evidence.seen), len(answer.evidence.attachment))
    assert all(length <= most for length, most in zip(lengths, (300, 2000, 500), strict=True))
    kept_length = answer.evidence.attachment.count("a", 0, answer.evidence.attachment.index("…"))
    assert answer.evidence.attachment.endswith(f"… cut, {900 - kept_length} more characters")


def test_a_summary_is_one_line():
    """Line breaks in a vendor's message do not reach the summary."""
    assert redacted_answer({"summary": "no answer\n  from the server"}).summary == "no answer from the server"
