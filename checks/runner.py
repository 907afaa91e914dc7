"""Runs one check: refuses what must not run here, keeps its time, turns any exception into ERROR, cuts and redacts."""

from __future__ import annotations

import logging
import re
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from checks.call import DidNotStop, ThreadCall
from checks.contract import Answer, CheckError, Evidence, Outcome
from checks.outcome import CheckResult
from clients.errors import ClientError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from checks.contract import CheckContext, Kind, Params, UndoLedger
    from clients.target import Target

logger = logging.getLogger(__name__)

LINE_LIMIT = 300  # characters of a summary or hint: they stand in one line of a message
_WORD_PARTS = re.compile(r"[a-z]+")
_PRODUCTION = {"prod", "production", "live"}  # a word of a name that no test system has
SEEN_LIMIT = 2000  # characters of each text of the evidence: they stand in a modal


def run_check(
    kind: Kind,
    params: Params,
    ctx: CheckContext,
    *,
    redact: Callable[[str], str],
    held: ExitStack | None = None,
    limit: int = 20_000,
) -> CheckResult:
    """Run the kind once and return its answer. Never raises for what a kind does.

    ``redact`` takes secrets out of a text, before anything is cut; ``limit``: characters of the attachment. An answer that
    comes within the kind's grace after the deadline is used. A kind that goes on for longer is given up: ERROR, and
    ``stopped`` is false. Then ``held``, what the run has in use, is empty: its thread lets go of that when it ends.
    """
    started = time.monotonic()
    stopped = True
    call: ThreadCall[Answer] = ThreadCall(f"check {ctx.check} ({kind.name})", held if held is not None else ExitStack())
    ledger = _RevocableLedger(kind, ctx.undo, call.given_up)
    heard = replace(ctx, undo=ledger, progress=_unless(call.given_up, ctx.progress))
    try:
        refuse_if_forbidden(kind, ctx.target)
        answer = call.result(
            lambda: _ask(kind, params, heard), deadline=ctx.deadline, grace=kind.grace, cancelled=ctx.cancelled
        )
    except DidNotStop:
        stopped = False
        answer = _error(kind, ctx, f"didn't finish within {time.monotonic() - started:.0f} s", _not_stopped(kind), "")
    except ClientError as exc:
        answer = replace(_error(kind, ctx, exc.summary, exc.hint, exc.seen), retry_after=exc.retry_after)
    # The one seam: whatever else a kind or a vendor's package throws means "could not find out" (promise P2).
    except Exception as exc:
        logger.exception("check %s (%s) on %s failed unexpectedly", ctx.check, kind.name, ctx.target.name)
        summary = f"unexpected {type(exc).__name__}: {exc}"
        answer = _error(kind, ctx, summary, "This is a bug in the check: see the bot's log.", "")
    seconds = time.monotonic() - started
    presented = _presentable(answer, redact, limit)
    return CheckResult(check=ctx.check, kind=kind.name, answer=presented, seconds=seconds, stopped=stopped)


def _ask(kind: Kind, params: Params, ctx: CheckContext) -> Answer:
    answer = kind.run(params, replace(ctx, clients=ctx.clients.bound_to(kind.declared(params))))
    if not isinstance(answer, Answer):  # a plugin need not be type-checked
        raise TypeError(f"run() returned {type(answer).__name__}, not an Answer")
    return answer


def _not_stopped(kind: Kind) -> str:
    """What to do about one that was given up."""
    used = (*kind.touches, *kind.reads)
    if not kind.mutates and not used:
        return f"Run it again. If it hangs again, report the bug to the author of the kind {kind.name}."
    uses = f" Until then no other check can use the {' and '.join(used)}." if used else ""
    back = " and puts back what it changed" if kind.mutates else ""
    return f"Restart the bot: that ends it{back}.{uses}"


def _unless(given_up: threading.Event, progress: Callable[[str], None]) -> Callable[[str], None]:
    """The same, but nothing is heard any more of a check that was given up."""
    return lambda line: None if given_up.is_set() else progress(line)


class _RevocableLedger:
    """The UndoLedger of a run that may be given up: from then on it changes nothing more, and only undoes."""

    def __init__(self, kind: Kind, ledger: UndoLedger, given_up: threading.Event) -> None:
        self._kind, self._ledger, self._given_up = kind, ledger, given_up

    def record(self, what: str, payload: Mapping[str, Any]) -> str:
        """Raises CheckError for a kind that has not declared that it changes data, and once nobody waits for the run any more."""
        if not self._kind.mutates:
            hint = "Its needs() must return Changes(…) too."
            raise CheckError(
                f"{what} isn't changed: kind {self._kind.name} does not declare that it changes data", hint=hint
            )
        if self._given_up.is_set():
            raise CheckError(f"{what} isn't changed: the check was stopped")
        return self._ledger.record(what, payload)

    def settle(self, undo_id: str) -> None:
        """Mark the undo as done."""
        self._ledger.settle(undo_id)


def refuse_if_forbidden(kind: Kind, target: Target) -> None:
    """A kind that mutates runs on test systems only (promise P11). Raises CheckError that says why this is none."""
    if not kind.mutates:
        return
    if not target.mutable:
        raise CheckError(
            f"refused: {kind.name} changes data, but {target.name} isn't mutable",
            hint=f"Point the check at a test system, or set targets.{target.name}.mutable there.",
        )
    for name in (target.name, target.environment):
        if _PRODUCTION & set(_WORD_PARTS.findall(name.casefold())):
            raise CheckError(
                f"refused: {kind.name} changes data and {name} is production by its name",
                hint="Point the check at a test system; no setting allows this.",
            )
    if target.stripe is not None and target.stripe.live:
        raise CheckError(
            f"refused: {kind.name} changes data and the Stripe key of {target.name} is a live one",
            hint="Set stripe.api_key to a test key (sk_test_… or rk_test_…).",
        )


def _error(kind: Kind, ctx: CheckContext, summary: str, hint: str, seen: str) -> Answer:
    evidence = Evidence(asked=f"{kind.name} on {ctx.target.name}", expected="an answer", seen=seen or summary)
    return Answer(outcome=Outcome.ERROR, summary=summary, evidence=evidence, hint=hint)


def _presentable(answer: Answer, redact: Callable[[str], str], limit: int) -> Answer:
    evidence = answer.evidence

    def text(value: str, most: int = SEEN_LIMIT) -> str:
        return _cut(redact(value), most)

    def line(value: str) -> str:
        return _cut(" ".join(redact(value).split()), LINE_LIMIT)

    return replace(
        answer,
        summary=line(answer.summary),
        hint=line(answer.hint),
        data=redact_values(dict(answer.data), redact),
        evidence=replace(
            evidence,
            asked=text(evidence.asked),
            expected=text(evidence.expected),
            seen=text(evidence.seen),
            attachment=text(evidence.attachment, limit),
        ),
    )


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    # The note needs room too: the number is at most as long as the text's own length.
    keep = most - len(f"… cut, {len(text)} more characters")
    return f"{text[:keep]}… cut, {len(text) - keep} more characters"


def redact_values(value: Any, redact: Callable[[str], str]) -> Any:
    """A JSON value with every text in it redacted, at any depth; keys stay as they are."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_values(item, redact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_values(item, redact) for item in value]
    return value
