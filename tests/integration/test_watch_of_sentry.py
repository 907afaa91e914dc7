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
from bot.domain.watch import Reading, Seen, Watch, WatchState
from bot.flows import watch
from checks.registry import Registry
from clients.http import certificates
from tests.fix_bot import QA, World, checklist
from tests.fix_checks import changed, production_target
from tests.fix_kube import eventually
from tests.fix_sandbox import Sandbox, send_event

KNOWN = "ValueError of old"


class Sentry:
    """The product as it reports to Sentry."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.environment = f"watch-{uuid.uuid4().hex[:8]}"
        self._sandbox, self._sent = sandbox, 0

    def report(self, title: str, *minutes_ago: float, arrives: bool = True) -> None:
        """Errors that happened then; returns once Sentry shows them."""
        for minutes in minutes_ago:
            at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
            send_event(self._sandbox, {"message": title, "environment": self.environment, "timestamp": at})
        self._sent += len(minutes_ago)
        if arrives:
            eventually("the events", lambda: self._shown() >= self._sent)

    def _shown(self) -> int:
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
    """A product with a known error every five minutes for the last hour."""
    product = Sentry(sandbox)
    product.report(KNOWN, *range(12, 72, 5), arrives=False)
    return product


@pytest.fixture
def release(world: World, sandbox: Sandbox, sentry: Sentry) -> ReleaseId:
    """A release that was deployed ten minutes ago and is watched for five minutes more."""
    target = changed(production_target(sandbox), environment=sentry.environment)
    shipped = load_checklist("solvereign", Registry.load())
    world.change(checklist=checklist(watch=shipped.watch), targets={**world.deps.targets, "production": target})
    world.clock.set(minutes=-10)
    release_id = world.deployed()
    world.clock.advance(minutes=10)
    return release_id


@pytest.fixture
def seen(world: World, release: ReleaseId) -> Callable[[], Watch]:
    """The watch as it stands."""

    def look() -> Watch:
        found = world.view(release).watch
        assert found is not None
        return found

    return look


def say(found: Watch, probe: str) -> Reading:
    """What a probe says."""
    reading = found.reading(f"watch.{probe}")
    assert reading is not None
    return reading


def poll(world: World, seen: Callable[[], Watch], **later: float) -> Watch:
    """Another poll, ``later``."""
    world.clock.advance(**later)
    world.poll()
    return seen()


def test_noise_that_was_there_before(
    world: World, sentry: Sentry, seen: Callable[[], Watch], release: ReleaseId
) -> None:
    """A known error goes on happening as before: clean, and done a minute after its time."""
    sentry.report(KNOWN, 7, 2)
    found = poll(world, seen)
    assert {reading.probe: reading.seen for reading in found.readings} == dict.fromkeys(
        ("watch.issues", "watch.rate", "watch.pods", "watch.health"), Seen.CLEAN
    )
    assert say(found, "rate").summary.startswith("2 errors in ")
    assert poll(world, seen, minutes=5).state is WatchState.RUNNING
    assert poll(world, seen, minutes=1).state is WatchState.CLEAN
    assert world.view(release).release.state is ReleaseState.DONE


def test_a_new_issue(world: World, sentry: Sentry, seen: Callable[[], Watch], release: ReleaseId) -> None:
    """One alarm with its link, which holds the watch open until a person says why the release may stay."""
    assert poll(world, seen).verdict is Seen.CLEAN
    sentry.report("KeyError: 'site'", 0)
    found = poll(world, seen, seconds=30)
    (alarm,) = found.alarms
    assert (found.verdict, alarm.kind, alarm.title) == (Seen.REGRESSED, "new", "KeyError: 'site'")
    assert alarm.permalink.startswith("http://127.0.0.1:")
    assert alarm.series is not None, "its plot shows the time before and after"
    found = poll(world, seen, minutes=10)
    assert (len(found.alarms), found.state) == (1, WatchState.RUNNING)
    world.act(watch.acknowledge, QA, alarm.id, "known customer, one request")
    assert poll(world, seen).state is WatchState.ACCEPTED
    assert world.view(release).release.state is ReleaseState.DONE


def test_more_errors_of_a_known_kind(world: World, sentry: Sentry, seen: Callable[[], Watch]) -> None:
    """No new issue, but five times as many: the error rate alarms, and its plot is drawn."""
    sentry.report(KNOWN, *[minutes / 2 for minutes in range(4, 18)])
    found = poll(world, seen)
    assert (say(found, "issues").seen, say(found, "rate").seen) == (Seen.CLEAN, Seen.REGRESSED)
    (alarm,) = found.alarms
    assert alarm.title.startswith("the error rate rose: ")
    assert alarm.series is not None
    assert alarm.series["rose"] is True
    assert len(alarm.series["points"]) == pytest.approx(69, abs=2)
    world.run("picture")
    assert [row["kind"] for row in world.rows("SELECT kind FROM files")] == ["rate"]


def test_events_that_arrive_after_the_end(
    world: World, sandbox: Sandbox, sentry: Sentry, seen: Callable[[], Watch]
) -> None:
    """They happened during the watch, and it waits for them before it says clean."""
    with sandbox.fault("sentry_late_events"):
        sentry.report("KeyError: 'late'", 0, arrives=False)
        found = poll(world, seen, minutes=5)
        assert (found.verdict, found.state) == (Seen.CLEAN, WatchState.RUNNING)
    sentry.report(KNOWN, 0)
    found = poll(world, seen, minutes=1)
    assert ([alarm.title for alarm in found.alarms], found.state) == (["KeyError: 'late'"], WatchState.RUNNING)


def test_sentry_is_away_for_three_polls(world: World, sandbox: Sandbox, seen: Callable[[], Watch]) -> None:
    """Cannot tell, though pods and health are fine; nobody is troubled, and what was missed is asked for afterwards."""
    assert poll(world, seen).verdict is Seen.CLEAN
    with sandbox.fault("sentry_down"):
        polled = [poll(world, seen, seconds=30) for _ in range(3)]
    assert {(found.verdict, say(found, "pods").seen) for found in polled} == {(Seen.CANNOT_TELL, Seen.CLEAN)}
    assert all("503" in say(found, "issues").summary for found in polled)
    assert [found.alarms for found in polled] == [()] * 3
    assert poll(world, seen, seconds=30).verdict is Seen.CLEAN


def test_sentry_is_away_at_the_end(world: World, sandbox: Sandbox, seen: Callable[[], Watch]) -> None:
    """The watch is never clean without it: it goes on, asks people, and needs nobody once Sentry is back."""
    poll(world, seen)
    with sandbox.fault("sentry_down"):
        found = poll(world, seen, minutes=6)
        assert (found.state, found.verdict) == (WatchState.RUNNING, Seen.CANNOT_TELL)
        assert {(alarm.kind, alarm.short_id) for alarm in found.alarms} == {
            ("silent", "No new errors in Sentry (first 15 minutes)"),
            ("silent", "Error rate as before the deploy"),
        }
    found = poll(world, seen, seconds=30)
    assert (found.open_alarms, found.state) == ((), WatchState.CLEAN)


def test_a_rate_limit_is_obeyed(world: World, sandbox: Sandbox, seen: Callable[[], Watch]) -> None:
    """429 is no verdict; Sentry is not asked before the moment it names, the others are."""
    poll(world, seen)
    with sandbox.fault("sentry_rate_limited"):
        found = poll(world, seen, seconds=30)
    limited = world.clock.now()
    assert (found.verdict, say(found, "issues").wait_until) == (Seen.CANNOT_TELL, limited + timedelta(seconds=3))
    found = poll(world, seen, seconds=1)
    assert (say(found, "issues").asked_at, say(found, "pods").asked_at) == (limited, limited + timedelta(seconds=1))
    assert found.verdict is Seen.CANNOT_TELL
    found = poll(world, seen, seconds=2)
    assert (found.verdict, say(found, "issues").wait_until) == (Seen.CLEAN, None)


def test_an_unhealthy_product_is_confirmed_first(world: World, sandbox: Sandbox, seen: Callable[[], Watch]) -> None:
    """The body says so twice: an alarm, which stays when the product is well again."""
    with sandbox.fault("health_error"):
        found = poll(world, seen)
        assert (say(found, "health").seen, found.alarms) == (Seen.CANNOT_TELL, ())
        found = poll(world, seen, seconds=30)
        (alarm,) = found.alarms
        assert (alarm.kind, alarm.short_id) == ("fault", "Health check")
    found = poll(world, seen, seconds=30)
    assert (say(found, "health").seen, found.verdict, len(found.alarms)) == (Seen.CLEAN, Seen.REGRESSED, 1)
