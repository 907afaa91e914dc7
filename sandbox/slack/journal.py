"""What the bot did: every call it made, and every rule of Slack that it broke."""

import time
from collections import Counter, deque
from typing import Any

from sandbox.slack.shapes import Json, MethodError

KEPT_CALLS = 5_000
# Refusals that show a mistake of the bot, by kind. Others (message_not_found, say) are ordinary life.
_KIND_OF_ERROR = {
    "invalid_blocks": "block",
    "invalid_blocks_format": "block",
    "invalid_attachments": "block",
    "invalid_arguments": "block",
    "msg_blocks_too_long": "limit",
    "msg_too_long": "limit",
    "no_text": "limit",
    "view_too_large": "limit",
    "push_limit_reached": "limit",
    "too_many_attachments": "limit",
    "expired_trigger_id": "limit",
    "exchanged_trigger_id": "limit",
    "invalid_trigger_id": "limit",
    "used_url": "limit",
    "expired_url": "limit",
    "missing_scope": "scope",
    "not_allowed_token_type": "scope",
}


class CallLog:
    """The log that tests read. It lives as long as the process."""

    def __init__(self) -> None:
        self.calls: deque[Json] = deque(maxlen=KEPT_CALLS)
        self.violations: list[Json] = []
        self.counts: Counter[str] = Counter()

    def call(self, method: str, args: Json, error: str | None) -> None:
        """Note one call of a Web API method (or `response_url`). Tokens must already be out of `args`."""
        self.counts[method] += 1
        self.calls.append({"method": method, "at": time.time(), "ok": error is None, "error": error, "args": args})

    def refusal(self, method: str, error: MethodError) -> None:
        """Note a refusal as a violation when it shows a mistake of the bot."""
        kind = _KIND_OF_ERROR.get(error.code)
        if kind is None:
            return
        if not error.problems:
            self.violation(kind, method, error.code)
        for problem in error.problems:
            self.violation(kind, method, error.code, pointer=problem.pointer, rule=problem.code, text=problem.message)

    def violation(self, kind: str, method: str, code: str, **details: Any) -> None:
        """Note one broken rule. `kind` is block, limit, scope, rate or ack."""
        self.violations.append({"kind": kind, "method": method, "code": code, "at": time.time(), **details})
