"""Stripe: the account of the product, and its errors by class and status."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from clients.answers import reading
from clients.declared import Guarded
from clients.errors import SERVER_ERRORS, ClientError, status_hint
from clients.http import is_loopback
from clients.needs import READ_WEBHOOK_ENDPOINTS
from clients.packages import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe import WebhookEndpoint


class StripeAccount(Guarded):
    """The account that a key belongs to; the client can only read."""

    def __init__(self, url: str, key: str, *, timeout: float) -> None:
        """``timeout``: seconds for one answer."""
        load("requests", "stripe")
        import requests
        import stripe

        self._session = requests.Session()
        self._session.trust_env = not is_loopback(url)
        self._client = stripe.StripeClient(
            key,
            base_addresses={"api": url.rstrip("/")},
            max_network_retries=1,
            http_client=stripe.RequestsClient(timeout=timeout, session=self._session),
        )

    def close(self) -> None:
        """Close its connections."""
        self._session.close()

    def webhook_endpoints(self) -> list[WebhookEndpoint]:
        """All that the key's mode shows. Raises ClientError."""
        self._declared.retry_read(READ_WEBHOOK_ENDPOINTS)
        with stripe_errors("list the webhook endpoints"), reading("Stripe", "a list of webhook endpoints"):
            return list(self._client.v1.webhook_endpoints.list({"limit": 100}).auto_paging_iter())


@contextmanager
def stripe_errors(what: str) -> Iterator[None]:
    """Translate Stripe's errors by class and status; ``what`` completes "cannot …"."""
    load("stripe")
    import stripe

    try:
        yield
    except stripe.APIConnectionError as exc:
        raise ClientError(
            f"cannot {what}: no connection to Stripe", hint="Is stripe.url right and reachable?", outcome_unknown=True
        ) from exc
    except stripe.StripeError as exc:
        raise ClientError(
            f"cannot {what}: {exc.http_status or ''} {exc.user_message or type(exc).__name__}",
            hint=status_hint(exc.http_status or 0),
            status=exc.http_status or 0,
            outcome_unknown=(exc.http_status or 0) >= SERVER_ERRORS,
        ) from exc
