"""Pictures: draws the images of a release's messages from its rows, and enqueues each once as a file for Slack."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.domain.ids import ReleaseId
from bot.domain.view import ReleaseView
from bot.flows.deps import Deps, Job
from bot.images.error_rate import error_rate
from bot.images.release_timeline import release_timeline
from bot.store import files, releases, work
from bot.store.files import File
from bot.store.pool import Tx

RATE, TIMELINE = "rate", "timeline"  # kinds; their subjects are the id of an alarm and the state of a release


def ask_for(tx: Tx, release_id: ReleaseId, kind: str, subject: str) -> None:
    """Enqueue a picture; a worker draws it, because that takes half a second in which no lock should be held."""
    work.enqueue(tx, "picture", f"{release_id}:{kind}:{subject}")


def execute(deps: Deps, job: Job) -> None:
    """Draw one picture (key: release, kind and subject) and enqueue it as a file; without data nothing is enqueued."""
    release, kind, subject = job.claim.key.split(":", 2)
    release_id = ReleaseId(int(release))
    with deps.store.transaction() as tx:
        view = releases.view(tx, release_id, deps.clock.now())
    if view is None:
        return
    file = _rate(view, subject) if kind == RATE else _timeline(view)
    if file is None:
        return
    with deps.store.transaction() as tx:
        work.ensure_claim(tx, job.claim)
        files.enqueue_file(tx, release_id, kind, subject, file, parent=None)


def _rate(view: ReleaseView, alarm_id: str) -> File | None:
    """Return the plot of the error rate of an alarm; None if the rate was not known then."""
    alarm = next((alarm for alarm in view.watch.alarms if str(alarm.id) == alarm_id), None) if view.watch else None
    if alarm is None or not alarm.series or not alarm.series["points"]:
        return None
    name = f"{view.checklist.title} {view.release.version}"
    title = f"Errors after the deploy of {name}"
    subtitle = f"Errors a minute in {view.release.environment}, from Sentry, as of {_moment(alarm.at)}"
    error_count = sum(count for at, count in alarm.series["points"] if at >= alarm.series["began"])
    words = f"{title}: {error_count:g} since then; before it {alarm.series['baseline']:.2g} a minute."
    png = error_rate(title, subtitle, alarm.series)
    return File(name=f"errors-{view.release.version}.png", title=title, content=png, alt_text=words)


def _timeline(view: ReleaseView) -> File | None:
    png = release_timeline(view)
    if png is None:
        return None
    title = f"Timeline of {view.checklist.title} {view.release.version}"
    return File(name=f"timeline-{view.release.version}.png", title=title, content=png, alt_text=title)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
