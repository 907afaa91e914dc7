"""The switches that break one thing of the simulated world at a time, and who is told when one is moved."""

from collections.abc import Callable
from dataclasses import dataclass

from sandbox.persist import Snapshot


@dataclass(frozen=True)
class Fault:
    """One switch: its name in the control API, what a person reads beside it, and the group it is shown in."""

    name: str
    title: str
    description: str
    group: str


CATALOGUE: tuple[Fault, ...] = (
    Fault(
        "verify_fails",
        "A migration check fails",
        "billing.verify_billing_schema() on staging returns a FAIL row",
        "staging",
    ),
    Fault(
        "app_log_errors",
        "Errors in the application log",
        "The pods of the API on staging log ERROR lines",
        "staging",
    ),
    Fault(
        "app_crash_loop",
        "One pod crash-loops",
        "One staging pod crash-loops beside a healthy one",
        "staging",
    ),
    Fault(
        "webhook_error",
        "The webhook handler fails",
        'The Stripe webhook on staging answers 200 with status "error"',
        "staging",
    ),
    Fault(
        "webhook_duplicates",
        "The webhook forgets what it has seen",
        "The same Stripe event is processed again and leaves a second row",
        "staging",
    ),
    Fault(
        "gating_open",
        "Billing gating is not wired",
        "A past_due tenant gets 404 where 402 is expected",
        "staging",
    ),
    Fault(
        "legal_page_missing",
        "A legal page is missing",
        "/legal/imprint answers 404",
        "staging",
    ),
    Fault(
        "product_down",
        "The staging API is down",
        "The staging API answers 503 to everything",
        "staging",
    ),
    Fault("backup_fails", "The backup job fails", "The backup Job exits with 1", "backup"),
    Fault("backup_truncated", "The backup is cut short", "The dump in S3 lacks its end", "backup"),
    Fault("s3_down", "S3 is down", "The S3 endpoint answers 503 to everything", "backup"),
    Fault(
        "sentry_drops_events",
        "Sentry drops events",
        "The ingest answers 200, but the event never appears",
        "vendors",
    ),
    Fault(
        "sentry_new_issue",
        "A new issue in production",
        "A new Sentry issue appears in production now, and again each time this is switched on",
        "vendors",
    ),
    Fault(
        "sentry_error_rate",
        "More errors in production",
        "A known error happens in production again and again, several times a second",
        "vendors",
    ),
    Fault(
        "sentry_late_events",
        "Events arrive late",
        "Sentry holds back new events until this is switched off; then they show with the time at which they happened",
        "vendors",
    ),
    Fault("sentry_down", "Sentry is down", "Sentry answers 503 to everything", "vendors"),
    Fault(
        "sentry_rate_limited",
        "Sentry limits the rate",
        "Sentry's web API answers 429 to everything and asks to wait three seconds",
        "vendors",
    ),
    Fault(
        "grafana_empty_panel",
        "A dashboard panel is empty",
        'The panel "Request Rate" has no data',
        "vendors",
    ),
    Fault("grafana_down", "Grafana is down", "Grafana answers 503 to everything", "vendors"),
    Fault("stripe_down", "Stripe is down", "The Stripe API answers 503 to everything", "vendors"),
    Fault("github_down", "GitHub is down", "The GitHub API answers 503 to everything", "vendors"),
    Fault(
        "commit_checks_fail",
        "The commit is not green",
        "A check run of every commit on GitHub says failure",
        "vendors",
    ),
    Fault("vercel_down", "Vercel is down", "The Vercel API answers 503 to everything", "vendors"),
    Fault(
        "vercel_no_auto_deploy",
        "Vercel does not deploy by itself",
        "A new release tag does not make Vercel build the frontend",
        "vendors",
    ),
    Fault(
        "vercel_build_fails", "The frontend does not build", "Builds on Vercel that end now end with ERROR", "vendors"
    ),
    Fault("registry_down", "The registry is down", "The image registry answers 503 to everything", "vendors"),
    Fault(
        "tag_moved",
        "An image tag was moved",
        "Every tag in the registry points at another image than before",
        "vendors",
    ),
    Fault(
        "image_never_ready",
        "The new image never gets ready",
        "Pods of a new image in production run but never become ready",
        "production",
    ),
    Fault(
        "image_crash_loop",
        "The new image crashes",
        "Pods of a new image in production crash at every start",
        "production",
    ),
    Fault(
        "health_error",
        "Production is unhealthy",
        '/health in production answers 200 with status "error"',
        "production",
    ),
    Fault(
        "smoke_error",
        "The smoke request fails",
        "GET /api/v1/roster/plans in production answers 500",
        "production",
    ),
)

_NAMES = frozenset(fault.name for fault in CATALOGUE)


class UnknownFault(KeyError):
    """There is no switch with this name."""


class Faults:
    """The state of all switches. With a snapshot, it outlives the process.

    Use it from the thread of the event loop. A listener is called for every `set`, also when the switch already had
    that position, since some switches act again each time they are switched on.
    """

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self._listeners: list[Callable[[str, bool], None]] = []
        saved = snapshot.load() if snapshot is not None else None
        self._on: set[str] = set(saved or ()) & _NAMES

    @staticmethod
    def catalogue() -> list[Fault]:
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
        """Write what is still owed to the snapshot."""
        if self._snapshot is not None:
            self._snapshot.flush()

    @staticmethod
    def _require(name: str) -> None:
        if name not in _NAMES:
            raise UnknownFault(name)


class Scope:
    """The switches of one group, for a part that exists once per group: a switch of any other group reads as off."""

    def __init__(self, faults: Faults, group: str) -> None:
        self._faults = faults
        self._names = frozenset(fault.name for fault in CATALOGUE if fault.group == group)

    def on(self, name: str) -> bool:
        """Whether the switch is in this group and on. Raises UnknownFault for a name that is not in the catalogue."""
        return self._faults.on(name) and name in self._names
