"""Troubles that tests order from Slack: refused calls, lost replies, errors."""

from dataclasses import dataclass

from sandbox.slack.shapes import Json, invalid_arguments


@dataclass
class _Refusal:
    remaining: int
    error: str = ""
    status: int = 200
    retry_after: int = 1


class SlackFaults:
    """What was ordered, method by method, and how often it still happens."""

    def __init__(self) -> None:
        self._rate_limits: dict[str, _Refusal] = {}
        self._errors: dict[str, _Refusal] = {}
        self._lost_replies: dict[str, int] = {}

    def order(self, order: Json) -> None:
        """Take an order of the control API:

        `{"rate_limit": {method: n, "retry_after": seconds}, "lose_reply": {method: n},
        "error": {method: {"n": n, "error": code, "status": HTTP status}}}`. An order replaces the earlier one for
        the same method. Raises MethodError invalid_arguments.
        """
        try:
            rate_limits = dict(order.get("rate_limit") or {})
            retry_after = int(rate_limits.pop("retry_after", order.get("retry_after", 1)))
            for method, count in rate_limits.items():
                self._rate_limits[method] = _Refusal(int(count), retry_after=retry_after)
            for method, count in (order.get("lose_reply") or {}).items():
                self._lost_replies[method] = int(count)
            for method, error in (order.get("error") or {}).items():
                self._errors[method] = _Refusal(
                    int(error.get("n", 1)), str(error["error"]), int(error.get("status", 200))
                )
        except (TypeError, ValueError, KeyError, AttributeError) as exc:
            raise invalid_arguments(f"cannot understand the order: {exc}") from exc

    def rate_limit(self, method: str) -> int | None:
        """The seconds to ask the caller to wait, when this call is to be refused with 429."""
        refusal = _take(self._rate_limits, method)
        return refusal.retry_after if refusal else None

    def error(self, method: str) -> tuple[str, int] | None:
        """The error and HTTP status for this call, when one was ordered."""
        refusal = _take(self._errors, method)
        return (refusal.error, refusal.status) if refusal else None

    def loses_reply(self, method: str) -> bool:
        """Whether the reply of this call, which was carried out, gets lost on its way."""
        remaining = self._lost_replies.get(method, 0)
        self._lost_replies[method] = max(0, remaining - 1)
        return remaining > 0


def _take(refusals: dict[str, _Refusal], method: str) -> _Refusal | None:
    refusal = refusals.get(method)
    if refusal is None or refusal.remaining < 1:
        return None
    refusal.remaining -= 1
    return refusal
