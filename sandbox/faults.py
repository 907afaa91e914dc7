"""The switches, each of which breaks one thing in the simulated world, and their state."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.persist import Snapshot


@dataclass(frozen=True)
class FaultSwitch:
    """One switch: its name in the control API, what a person reads beside it, and the group it is shown in."""

    name: str
    title: str
    description: str
    group: str


EVERYWHERE = "product"  # group of the switches that act on staging and on production

CATALOGUE: tuple[FaultSwitch, ...] = (
    FaultSwitch(
        "verify_fails",
        "A migration check fails",
        "billing.verify_billing_schema() on staging returns a FAIL row",
        "staging",
    ),
    FaultSwitch(
        "verify_missing",
        "A verify function is missing",
        "billing.verify_billing_schema() is not there on staging, as if its migration had not run",
        "staging",
    ),
    FaultSwitch(
        "verify_empty",
        "A verify function gives no rows",
        "billing.verify_billing_schema() on staging returns nothing",
        "staging",
    ),
    FaultSwitch(
        "verify_no_rights",
        "The bot lacks a database right",
        "The bot's database role on staging may not read auth.legal_documents any more, nor the billing tables",
        "staging",
    ),
    FaultSwitch(
        "hardening_complete",
        "All 17 hardening tests run",
        "The owner of verify_final_hardening() on staging sees the schema core: 17 rows instead of 12",
        "staging",
    ),
    FaultSwitch(
        "migration_missing",
        "A migration was not applied",
        "The last migration of the release is not recorded on staging",
        "staging",
    ),
    FaultSwitch(
        "migration_changed",
        "A migration was changed afterwards",
        "One migration on staging was recorded with the checksum of another file",
        "staging",
    ),
    FaultSwitch(
        "migrations_unrecorded",
        "Migrations are not recorded by file",
        "schema_migrations on staging holds version numbers only",
        "staging",
    ),
    FaultSwitch(
        "boot_table_missing",
        "The API could not start again",
        "A table that the API needs at its start is missing in the staging database, and so in its backup",
        "staging",
    ),
    FaultSwitch(
        "app_log_errors",
        "Errors in the application log",
        "The pods of the API on staging log ERROR lines",
        "staging",
    ),
    FaultSwitch(
        "app_crash_loop",
        "One pod crash-loops",
        "One staging pod crash-loops beside a healthy one",
        "staging",
    ),
    FaultSwitch(
        "webhook_error",
        "The webhook handler fails",
        'The Stripe webhook on staging answers 200 with status "error"',
        "staging",
    ),
    FaultSwitch(
        "webhook_no_row",
        "The webhook handler cannot store",
        'The Stripe webhook on staging answers 200 with status "error" and writes no row, as the released code does',
        "staging",
    ),
    FaultSwitch(
        "webhook_ignores",
        "No handler for the event",
        'The Stripe webhook on staging answers 200 with status "ignored" to invoice.paid',
        "staging",
    ),
    FaultSwitch(
        "webhook_customer_unknown",
        "The webhook does not know the customer",
        "The Stripe webhook on staging answers 200 processed with the error customer_not_found inside",
        "staging",
    ),
    FaultSwitch(
        "webhook_secret_differs",
        "Another webhook secret",
        "The Stripe webhook on staging was started with another secret, so it answers 400 to every event",
        "staging",
    ),
    FaultSwitch(
        "webhook_duplicates",
        "The webhook processes events twice",
        "The same Stripe event is processed again and leaves a second row",
        "staging",
    ),
    FaultSwitch(
        "gating_open",
        "Billing gating is not wired",
        "A past_due tenant gets 404 where 402 is expected",
        "staging",
    ),
    FaultSwitch(
        "gating_detail",
        "Gating wraps its answer",
        'The 402 of staging is wrapped in {"detail": …}, which is allowed too',
        "staging",
    ),
    FaultSwitch(
        "legal_page_missing",
        "A legal page is missing",
        "/legal/imprint answers 404",
        "staging",
    ),
    FaultSwitch(
        "product_down",
        "The staging API is down",
        "The staging API answers 503 to everything",
        "staging",
    ),
    FaultSwitch(
        "stripe_missing",
        "The stripe package is missing",
        "The webhook answers 503: the image was built without the stripe package",
        EVERYWHERE,
    ),
    FaultSwitch(
        "webhook_unmounted",
        "The webhook is not mounted",
        "The webhook answers 404: one of the two Stripe settings is missing",
        EVERYWHERE,
    ),
    FaultSwitch(
        "webhook_not_started",
        "The billing service did not start",
        "The webhook answers 503 although the stripe package is there",
        EVERYWHERE,
    ),
    FaultSwitch(
        "not_ready",
        "The product is not ready",
        "/health/ready answers 200 with status not_ready",
        EVERYWHERE,
    ),
    FaultSwitch("login_error", "Log-in fails", "POST /api/auth/login answers 500", EVERYWHERE),
    FaultSwitch(
        "login_locked", "The test user is locked", "POST /api/auth/login answers 403 ACCOUNT_LOCKED", EVERYWHERE
    ),
    FaultSwitch("login_limited", "Too many logins", "POST /api/auth/login answers 429 RATE_LIMITED", EVERYWHERE),
    FaultSwitch(
        "login_no_cookie", "Log-in sets no cookie", "POST /api/auth/login answers 200 without a cookie", EVERYWHERE
    ),
    FaultSwitch("session_lost", "Sessions are refused", "Every request with a session answers 401", EVERYWHERE),
    FaultSwitch("backup_fails", "The backup job fails", "The backup Job exits with 1", "backup"),
    FaultSwitch("backup_truncated", "The backup is cut short", "The dump in S3 lacks its end", "backup"),
    FaultSwitch(
        "backup_unencrypted", "The backup is not encrypted", "The dump in S3 has no encryption at rest", "backup"
    ),
    FaultSwitch("backup_tiny", "The backup is too small", "The dump in S3 is shorter than 100 bytes", "backup"),
    FaultSwitch(
        "backup_unwritten", "The backup writes nothing", "The backup Job succeeds and stores no object", "backup"
    ),
    FaultSwitch("s3_down", "S3 is down", "The S3 endpoint answers 503 to everything", "backup"),
    FaultSwitch(
        "sentry_drops_events",
        "Sentry drops events",
        "The ingest answers 200, but the event never appears",
        "vendors",
    ),
    FaultSwitch(
        "sentry_new_issue",
        "A new issue in production",
        "A new Sentry issue appears in production now, and again each time this is switched on",
        "vendors",
    ),
    FaultSwitch(
        "sentry_error_rate",
        "More errors in production",
        "A known error happens in production again and again, several times a second",
        "vendors",
    ),
    FaultSwitch(
        "sentry_late_events",
        "Events arrive late",
        "Sentry holds back new events until this is switched off; then they show with the time at which they happened",
        "vendors",
    ),
    FaultSwitch("sentry_down", "Sentry is down", "Sentry answers 503 to everything", "vendors"),
    FaultSwitch(
        "sentry_rate_limited",
        "Sentry limits the rate",
        "Sentry's web API answers 429 to everything and asks to wait three seconds",
        "vendors",
    ),
    FaultSwitch(
        "grafana_empty_panel",
        "A dashboard panel is empty",
        'The panel "Request Rate" has no data',
        "vendors",
    ),
    FaultSwitch(
        "grafana_no_exporters",
        "Exporters are not scraped",
        "Panels of database, backup age, CPU and memory have no data, as in the product's own set-up",
        "vendors",
    ),
    FaultSwitch(
        "grafana_no_traffic",
        "Nobody uses the product",
        'The panel "Success Rate (5m)" has NaN for every moment',
        "vendors",
    ),
    FaultSwitch(
        "metrics_stale",
        "Metrics do not flow",
        "Prometheus no longer scrapes the product in production: its counters stand still",
        "vendors",
    ),
    FaultSwitch("grafana_down", "Grafana is down", "Grafana answers 503 to everything", "vendors"),
    FaultSwitch("stripe_down", "Stripe is down", "The Stripe API answers 503 to everything", "vendors"),
    FaultSwitch(
        "stripe_endpoint_disabled",
        "The webhook endpoint is disabled",
        "Stripe has disabled the endpoints of the product",
        "vendors",
    ),
    FaultSwitch(
        "stripe_endpoint_lacks_event",
        "The webhook endpoint lacks an event",
        "Stripe does not send invoice.payment_failed to the product",
        "vendors",
    ),
    FaultSwitch("github_down", "GitHub is down", "The GitHub API answers 503 to everything", "vendors"),
    FaultSwitch(
        "commit_checks_fail",
        "The commit is not green",
        "A check run of every commit on GitHub says failure",
        "vendors",
    ),
    FaultSwitch("vercel_down", "Vercel is down", "The Vercel API answers 503 to everything", "vendors"),
    FaultSwitch(
        "vercel_no_auto_deploy",
        "Vercel does not deploy by itself",
        "A new release tag does not make Vercel build the frontend",
        "vendors",
    ),
    FaultSwitch(
        "vercel_build_fails", "The frontend does not build", "Builds on Vercel that end now end with ERROR", "vendors"
    ),
    FaultSwitch("registry_down", "The registry is down", "The image registry answers 503 to everything", "vendors"),
    FaultSwitch(
        "tag_moved",
        "An image tag was moved",
        "Every tag in the registry points at another image than before",
        "vendors",
    ),
    FaultSwitch(
        "image_never_ready",
        "The new image never gets ready",
        "Pods of a new image in production run but never become ready",
        "production",
    ),
    FaultSwitch(
        "image_crash_loop",
        "The new image crashes",
        "Pods of a new image in production crash at every start",
        "production",
    ),
    FaultSwitch(
        "health_error",
        "Production is unhealthy",
        '/health in production answers 200 with status "error"',
        "production",
    ),
    FaultSwitch(
        "smoke_error",
        "The smoke request fails",
        "GET /api/v1/roster/plans in production answers 500",
        "production",
    ),
    FaultSwitch(
        "secret_empty",
        "A secret is empty",
        "SOLVEREIGN_SENTRY_DSN in the Secret of the API in production is empty",
        "production",
    ),
    FaultSwitch(
        "enforcement_off",
        "Billing enforcement is off",
        "SOLVEREIGN_BILLING_ENFORCEMENT=off on the Deployment in production",
        "production",
    ),
    FaultSwitch(
        "enforcement_unset",
        "Billing enforcement is not set",
        "The Deployment in production has no SOLVEREIGN_BILLING_ENFORCEMENT",
        "production",
    ),
    FaultSwitch(
        "backup_keys_missing",
        "The backup has no key",
        "The CronJob in production refers to an AWS key that its Secret does not have",
        "production",
    ),
)

_NAMES = frozenset(fault.name for fault in CATALOGUE)


class UnknownFault(KeyError):
    """No switch has this name."""


class Faults:
    """The state of all switches. With a snapshot, it outlives the process.

    Use it from the thread of the event loop. A listener is called for every `set`, also when the switch already had
    that position, since some switches act again each time they are switched on.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self._listeners: list[Callable[[str, bool], None]] = []
        names = snapshot.load() if snapshot is not None else None
        self._on: set[str] = set(names or ()) & _NAMES

    @staticmethod
    def catalogue() -> list[FaultSwitch]:
        """All switches, in the order in which they are shown."""
        return list(CATALOGUE)

    def on(self, name: str) -> bool:
        """Whether the switch is on. Raises UnknownFault for a name that is not in the catalogue."""
        self._require(name)
        return name in self._on

    def set(self, name: str, on: bool) -> None:
        """Move one switch and tell every listener. Raises UnknownFault for a name that is not in the catalogue."""
        self._require(name)
        if on:
            self._on.add(name)
        else:
            self._on.discard(name)
        if self._snapshot is not None:
            self._snapshot.save(sorted(self._on))
        for listener in self._listeners:
            listener(name, on)

    def subscribe(self, callback: Callable[[str, bool], None]) -> None:
        """Have `callback(name, on)` called after each `set`, in the order of subscription."""
        self._listeners.append(callback)

    def flush(self) -> None:
        """Write the state to the snapshot now."""
        if self._snapshot is not None:
            self._snapshot.flush()

    @staticmethod
    def _require(name: str) -> None:
        if name not in _NAMES:
            raise UnknownFault(name)


class Scope:
    """The switches of one environment, for a part that exists in each: a switch of another group reads as off."""

    def __init__(self, faults: Faults, group: str) -> None:
        self._faults = faults
        self._names = frozenset(fault.name for fault in CATALOGUE if fault.group in {group, EVERYWHERE})

    def on(self, name: str) -> bool:
        """Whether the switch acts on this environment and is on. Raises UnknownFault for a name that is not in the catalogue."""
        return self._faults.on(name) and name in self._names
