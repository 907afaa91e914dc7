"""Stripe: the account of the product, and its errors by class and status."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import AnyHttpUrl, Field, SecretStr

from clients.errors import SERVER_ERRORS, ClientError, status_hint
from clients.http import is_loopback
from clients.packages import load
from clients.settings import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stripe import StripeClient

LIVE_KEYS = ("sk_live_", "rk_live_")  # how Stripe keys of live mode begin


class StripeSettings(Section):
    """The payment provider."""

    url: AnyHttpUrl = Field(default=AnyHttpUrl("https://api.stripe.com/"))
    api_key: SecretStr | None = None
    webhook_secret: SecretStr | None = None

    @property
    def live(self) -> bool:
        """Is the key of live mode, where real money moves? Stripe shows each key the objects of its own mode only."""
        return self.api_key is not None and self.api_key.get_secret_value().startswith(LIVE_KEYS)


def stripe_client(url: str, key: str, timeout: float) -> tuple[StripeClient, Callable[[], None]]:
    """Stripe's API, and what closes it. ``timeout``: seconds for one answer. Use ``client.v1``."""
    load("requests", "stripe")
    import requests
    import stripe

    session = requests.Session()
    session.trust_env = not is_loopback(url)
    client = stripe.StripeClient(
        key,
        base_addresses={"api": url.rstrip("/")},
        max_network_retries=1,
        http_client=stripe.RequestsClient(timeout=timeout, session=session),
    )
    return client, session.close


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
