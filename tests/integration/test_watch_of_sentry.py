"""The shipped watch on the simulated Sentry, cluster and product: each of its verdicts, and that it holds.

Every test has an environment of its own in Sentry, to which nobody else sends anything.
"""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from bot.app import load_checklist
from bot.domain.ids import ReleaseId
from bot.domain.release import ReleaseState
from bot.domain.watch import ProbeStatus, Reading, Watch, WatchState
from bot.flows import watch
from checks.registry import Registry
from clients.http import certificates
from tests.fix_bot import QA, World, checklist
from tests.fix_checks import production_target, with_changes
from tests.fix_kube import eventually
from tests.fix_sandbox import Sandbox, send_event

OLD_ERROR = "ValueError of old"


class Sentry:
    """The product as it reports to Sentry."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.environment = f"watch-{uuid.uuid4().hex[:8]}"
        self._sandbox, self._sent = sandbox, 0

    def report(self, title: str, *minutes_ago: float, arrives: bool = True) -> None:
        """Report errors that happened then, and return once Sentry shows them."""
        for minutes in minutes_ago:
            at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
            send_event(self._sandbox, {"message": title, "environment": self.environment, "timestamp": at})
        self._sent += len(minutes_ago)
        if arrives:
            eventually("the events", lambda: self._count_events() >= self._sent)

    def _count_events(self) -> int:
        facts = self._sandbox["sentry"]
        answer = httpx.get(
            f"{facts['url']}api/0/organizations/solvereign/issues/",
            params={"query": "", "environment": self.environment},
            headers={"Authorization": f"Bearer {facts['token']}"},
            verify=certificates(),
        )
        return sum(int(issue["count"]) for issue in answer.json())


@pytest.fixture
def sentry(sandbox: Sandbox) -> Sentry:
    """A product with an old error every five minutes during the last hour."""
    product = Sentry(sandbox)
    product.report(OLD_ERROR, *range(12, 72, 5), arrives=False)
    return product


@pytest.fixture
def release(world: World, sandbox: Sandbox, sentry: Sentry) -> ReleaseId:
    """A release that was deployed ten minutes ago and is watched for five more minutes."""
    target = with_changes(production_target(sandbox), environment=sentry.environment)
    shipped_checklist = load_checklist("solvereign", Registry.load())
    world.change(
        checklist=checklist(watch=shipped_checklist.watch), targets={**world.deps.targets, "production": target}
    )
    world.clock.set(minutes=-10)
    release_id = world.run_to_watch()
    world.clock.advance(minutes=10)
    return release_id


@pytest.fixture
def current_watch(world: World, release: ReleaseId) -> Callable[[], Watch]:
    """A function that returns the watch as it is now."""

    def look() -> Watch:
        watch_or_none = world.view(release).watch
        assert watch_or_none is not None
        return watch_or_none

    return look


def reading_of(watch_now: Watch, probe: str) -> Reading:
    """The reading of a probe."""
    reading = watch_now.reading(f"watch.{probe}")
    assert reading is not None
    return reading


def poll(world: World, current_watch: Callable[[], Watch], **later: float) -> Watch:
    """Poll once more, after some time, and return the watch."""
    world.clock.advance(**later)
    world.poll()
    return current_watch()


def test_old_errors_are_no_regression(
    world: World, sentry: Sentry, current_watch: Callable[[], Watch], release: ReleaseId
) -> None:
    """An error that happened before the deploy too is clean, and the watch closes in time."""
    sentry.report(OLD_ERROR, 7, 2)
    watch_now = poll(world, current_watch)
    assert {reading.probe: reading.status for reading in watch_now.readings} == dict.fromkeys(
        ("watch.issues", "watch.rate", "watch.pods", "watch.health"), ProbeStatus.CLEAN
    )
    assert reading_of(watch_now, "rate").summary.startswith("2 errors in ")
    assert poll(world, current_watch, minutes=5).state is WatchState.RUNNING
    assert poll(world, current_watch, minutes=1).state is WatchState.CLEAN
    assert world.view(release).release.state is ReleaseState.DONE


def test_a_new_issue_raises_one_alarm(
    world: World, sentry: Sentry, current_watch: Callable[[], Watch], release: ReleaseId
) -> None:
    """The alarm has a link and a plot, and keeps the watch open until a person acknowledges it."""
    assert poll(world, current_watch).verdict is ProbeStatus.CLEAN
    sentry.report("KeyError: 'site'", 0)
    watch_now = poll(world, current_watch, seconds=30)
    (alarm,) = watch_now.alarms
    assert (watch_now.verdict, alarm.kind, alarm.title) == (ProbeStatus.REGRESSED, "new", "KeyError: 'site'")
    assert alarm.permalink.startswith("http://127.0.0.1:")
    assert alarm.series is not None, "its plot shows the time before and after"
    watch_now = poll(world, current_watch, minutes=10)
    assert (len(watch_now.alarms), watch_now.state) == (1, WatchState.RUNNING)
    world.act(watch.acknowledge, QA, alarm.id, "known customer, one request")
    assert poll(world, current_watch).state is WatchState.ACCEPTED
    assert world.view(release).release.state is ReleaseState.DONE


def test_more_old_errors_raise_an_alarm(world: World, sentry: Sentry, current_watch: Callable[[], Watch]) -> None:
    """A rate five times as high raises an alarm with a plot, although there is no new issue."""
    sentry.report(OLD_ERROR, *[minutes / 2 for minutes in range(4, 18)])
    watch_now = poll(world, current_watch)
    assert (reading_of(watch_now, "issues").status, reading_of(watch_now, "rate").status) == (
        ProbeStatus.CLEAN,
        ProbeStatus.REGRESSED,
    )
    (alarm,) = watch_now.alarms
    assert alarm.title.startswith("the error rate rose: ")
    assert alarm.series is not None
    assert alarm.series["rose"] is True
    assert len(alarm.series["points"]) == pytest.approx(69, abs=2)
    world.run("picture")
    assert [row["kind"] for row in world.rows("SELECT kind FROM files")] == ["rate"]


def test_late_events_are_waited_for(
    world: World, sandbox: Sandbox, sentry: Sentry, current_watch: Callable[[], Watch]
) -> None:
    """Events of the watch may arrive after its end, so it waits before it is clean."""
    with sandbox.fault("sentry_late_events"):
        sentry.report("KeyError: 'late'", 0, arrives=False)
        watch_now = poll(world, current_watch, minutes=5)
        assert (watch_now.verdict, watch_now.state) == (ProbeStatus.CLEAN, WatchState.RUNNING)
    sentry.report(OLD_ERROR, 0)
    watch_now = poll(world, current_watch, minutes=1)
    assert ([alarm.title for alarm in watch_now.alarms], watch_now.state) == (["KeyError: 'late'"], WatchState.RUNNING)


def test_a_short_outage_of_sentry_is_unknown(
    world: World, sandbox: Sandbox, current_watch: Callable[[], Watch]
) -> None:
    """Nobody is alarmed, and what was missed is read afterwards."""
    assert poll(world, current_watch).verdict is ProbeStatus.CLEAN
    with sandbox.fault("sentry_down"):
        outage_polls = [poll(world, current_watch, seconds=30) for _ in range(3)]
    assert {(poll_result.verdict, reading_of(poll_result, "pods").status) for poll_result in outage_polls} == {
        (ProbeStatus.CANNOT_TELL, ProbeStatus.CLEAN)
    }
    assert all("503" in reading_of(poll_result, "issues").summary for poll_result in outage_polls)
    assert [poll_result.alarms for poll_result in outage_polls] == [()] * 3
    assert poll(world, current_watch, seconds=30).verdict is ProbeStatus.CLEAN


def test_an_outage_of_sentry_at_the_end_asks_people(
    world: World, sandbox: Sandbox, current_watch: Callable[[], Watch]
) -> None:
    """The watch is not clean without Sentry, and its alarms end by themselves once Sentry is back."""
    poll(world, current_watch)
    with sandbox.fault("sentry_down"):
        watch_now = poll(world, current_watch, minutes=6)
        assert (watch_now.state, watch_now.verdict) == (WatchState.RUNNING, ProbeStatus.CANNOT_TELL)
        assert {(alarm.kind, alarm.short_id) for alarm in watch_now.alarms} == {
            ("silent", "No new errors in Sentry (first 15 minutes)"),
            ("silent", "Error rate as before the deploy"),
        }
    watch_now = poll(world, current_watch, seconds=30)
    assert (watch_now.open_alarms, watch_now.state) == ((), WatchState.CLEAN)


def test_a_rate_limit_of_sentry_is_respected(
    world: World, sandbox: Sandbox, current_watch: Callable[[], Watch]
) -> None:
    """Sentry is not asked before the named moment, and the other probes are."""
    poll(world, current_watch)
    with sandbox.fault("sentry_rate_limited"):
        watch_now = poll(world, current_watch, seconds=30)
    limited_at = world.clock.now()
    assert (watch_now.verdict, reading_of(watch_now, "issues").wait_until) == (
        ProbeStatus.CANNOT_TELL,
        limited_at + timedelta(seconds=3),
    )
    watch_now = poll(world, current_watch, seconds=1)
    assert (reading_of(watch_now, "issues").asked_at, reading_of(watch_now, "pods").asked_at) == (
        limited_at,
        limited_at + timedelta(seconds=1),
    )
    assert watch_now.verdict is ProbeStatus.CANNOT_TELL
    watch_now = poll(world, current_watch, seconds=2)
    assert (watch_now.verdict, reading_of(watch_now, "issues").wait_until) == (ProbeStatus.CLEAN, None)


def test_an_unhealthy_product_is_confirmed_first(
    world: World, sandbox: Sandbox, current_watch: Callable[[], Watch]
) -> None:
    """Two bad answers raise an alarm, which stays when the product is healthy again."""
    with sandbox.fault("health_error"):
        watch_now = poll(world, current_watch)
        assert (reading_of(watch_now, "health").status, watch_now.alarms) == (ProbeStatus.CANNOT_TELL, ())
        watch_now = poll(world, current_watch, seconds=30)
        (alarm,) = watch_now.alarms
        assert (alarm.kind, alarm.short_id) == ("fault", "Health check")
    watch_now = poll(world, current_watch, seconds=30)
    assert (reading_of(watch_now, "health").status, watch_now.verdict, len(watch_now.alarms)) == (
        ProbeStatus.CLEAN,
        ProbeStatus.REGRESSED,
        1,
    )
