"""sentry_rate: a rise is found, chance and noise are not, small counts are judged fairly, and unknown is no pass."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from checks.kinds.sentry_rate import RateComparison, compare
from clients.sentry import Bucket
from clients.settings import SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import run

RATES = "GET /api/0/organizations/solvereign/events-timeseries/"
MINUTE = timedelta(minutes=1)


def production(url: str) -> Target:
    """A target with Sentry only."""
    sentry = SentrySettings(url=url, token="sntryu_x", organization="solvereign", project="api")
    return Target(name="production", sentry=sentry)


def now() -> datetime:
    """The beginning of the current minute."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def series(start: datetime, before: list[int], after: list[int], *, incomplete: int = 1, unit: int = 1000) -> Reply:
    """The counts per minute before and after the deploy; the last ``incomplete`` ones may still grow."""
    first = start - len(before) * MINUTE
    counts = [*before, *after]
    values = [
        {
            "timestamp": (first + number * MINUTE).timestamp() * unit,
            "value": count,
            "incomplete": number >= len(counts) - incomplete,
        }
        for number, count in enumerate(counts)
    ]
    meta = {"valueType": "integer", "valueUnit": None, "interval": 60_000}
    return Reply(200, {"timeSeries": [{"yAxis": "count()", "values": values, "meta": meta}]})


def ask(before: list[int], after: list[int], *, params: dict[str, Any] | None = None, **changes: Any):
    """The result for a deploy that began as many minutes ago as there are counts after it."""
    start = now() - (len(after) - 1) * MINUTE
    with Replies({RATES: series(start, before, after, **changes)}) as server:
        result = run("sentry_rate", {"since": start, **(params or {})}, target=production(server.url))
        return result, server.requests


def comparison(before: float, after: float, minutes: float = 10, dispersion: float = 1.0) -> RateComparison:
    """A comparison of so many errors in the hour before with those in the minutes after."""
    return RateComparison(before, 60, after, minutes, dispersion)


class TestTheRule:
    """The statistical rule."""

    @pytest.mark.parametrize(
        ("before", "after", "minutes", "chance"),
        [
            (0, 1, 60, 0.5),  # one error, and it fell into the second of two equal halves
            (0, 3, 60, 0.125),
            (1, 1, 60, 0.75),
            (10, 0, 60, 1.0),
            (0, 5, 10, (1 / 7) ** 5),
        ],
    )
    def test_the_chance_is_a_binomial_probability(self, before: int, after: int, minutes: int, chance: float) -> None:
        """The values were calculated by hand, with the share of the time after the deploy."""
        assert comparison(before, after, minutes).chance == pytest.approx(chance)

    def test_chance_falls_as_errors_rise(self) -> None:
        """The chance falls as errors rise, down to what cannot be chance."""
        chances = [comparison(12, after).chance for after in (0, 2, 5, 10, 20, 200, 5000, 500_000)]
        assert chances == sorted(chances, reverse=True)
        assert chances[0] == pytest.approx(1.0)
        assert chances[-1] == 0.0

    def test_bursts_before_the_deploy_weaken_a_burst_after_it(self) -> None:
        """Errors that come together say less than errors that come apart."""
        moments = [datetime(2026, 1, 1, tzinfo=UTC) + n * MINUTE for n in range(60)]
        even = compare([Bucket(at, 1) for at in moments], [], 60, 60)
        burst = compare([Bucket(at, 60 if n == 7 else 0) for n, at in enumerate(moments)], [], 60, 60)
        assert (even.before, even.dispersion, burst.before) == (60, 1.0, 60)
        assert burst.dispersion == pytest.approx(59.0)
        assert comparison(60, 30, dispersion=59.0).chance > 0.1 > comparison(60, 30).chance


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        ([0] * 60, [0] * 6, Outcome.PASS),
        ([0] * 60, [0, 1, 0, 0, 0, 0], Outcome.PASS),
        ([0] * 60, [0, 1, 2, 1, 0, 0], Outcome.PASS),  # four are not five
        ([0] * 60, [0, 2, 2, 1, 0, 0], Outcome.FAIL),  # five after none in an hour
        ([1] * 60, [1, 1, 2, 1, 1, 0], Outcome.PASS),
        ([1] * 60, [6, 7, 5, 6, 8, 0], Outcome.FAIL),
        ([100] * 60, [130] * 5 + [0], Outcome.PASS),  # surely more, but not twice as much
        ([100] * 60, [250] * 5 + [0], Outcome.FAIL),
        ([0] * 30 + [60] + [0] * 29, [0, 30, 0, 0, 0, 0], Outcome.PASS),  # such bursts were there before
        ([0] * 60, [0, 0, 0, 0, 0, 90], Outcome.PASS),  # the last bucket is not complete
    ],
    ids=["silent", "one", "four", "five", "noise", "rise", "a third more", "doubled", "burst", "incomplete"],
)
def test_only_a_rise_fails(before: list[int], after: list[int], outcome: Outcome) -> None:
    """A rise fails, noise does not, and the last, incomplete minute does not count."""
    result, _ = ask(before, after)
    assert result.outcome is outcome, result.answer.summary


def test_the_answer_has_both_rates_and_the_series() -> None:
    """The summary has both rates, and the data has the series for the plot."""
    result, (request,) = ask([1] * 60, [6, 7, 5, 6, 8, 0])
    assert result.answer.summary == (
        "the error rate rose: 32 errors in 5 min (6.4 a minute); before the deploy 60 in 60 min (1 a minute)"
    )
    series_data = result.answer.data["series"]
    assert (series_data["interval"], series_data["baseline"], series_data["limit"], len(series_data["points"])) == (
        60,
        1,
        2,
        65,
    )
    assert series_data["points"][60] == [series_data["began"], 6]
    assert series_data["rose"] is True
    assert request.query["environment"] == ["production"]
    assert request.query["dataset"] == ["errors"]


def test_only_the_last_minutes_are_judged() -> None:
    """A burst at the beginning of a long deploy does not count any more in the current window."""
    after = [50] * 5 + [0] * 16
    assert ask([0] * 60, after)[0].outcome is Outcome.PASS
    assert ask([0] * 60, after, params={"window_minutes": 30})[0].outcome is Outcome.FAIL


def test_seconds_are_told_from_milliseconds() -> None:
    """Timestamps in seconds and in milliseconds are both understood."""
    assert ask([0] * 60, [0, 2, 2, 1, 0, 0], unit=1)[0].outcome is Outcome.FAIL


def test_the_release_narrows_the_count_after_the_deploy() -> None:
    """With a release only its errors count after the deploy, and an unknown release is an ERROR."""
    start = now() - 5 * MINUTE

    def reply(request: Request) -> Reply:
        return series(start, [0] * 60, [0 if request.query["query"][0] else 9] * 6)

    with Replies({RATES: reply}) as server:
        target = production(server.url)
        params = {"since": start, "release": "this"}
        result = run("sentry_rate", params, target=target, subject=Subject(version="v4.8.0"))
        assert (result.outcome, run("sentry_rate", {"since": start}, target=target).outcome) == ("PASS", "FAIL")
        nameless = run("sentry_rate", params, target=target)
    assert [request.query["query"] for request in server.requests[:2]] == [[""], ['release:"solvereign@4.8.0"']]
    assert nameless.answer.summary == "there is no release for `release: this`"


@pytest.mark.parametrize(
    ("before", "after", "summary"),
    [
        ([], [1, 1], "no complete count before the deploy yet"),
        ([1] * 60, [5], "no complete count since the deploy yet"),
    ],
)
def test_a_missing_count_is_inconclusive(before: list[int], after: list[int], summary: str) -> None:
    """In the first minute, and for a new product, there is nothing to compare."""
    result, _ = ask(before, after)
    assert (result.outcome, result.answer.summary) == (Outcome.INCONCLUSIVE, summary)


@pytest.mark.parametrize(
    ("reply", "message", "wait"),
    [
        (Reply(403, {"detail": "no"}), "403", None),
        (Reply(500, {"detail": "Internal Error"}), "500", None),
        (Reply(429, {"detail": "too frequently"}, {"Retry-After": "17"}), "429", 17.0),
        (Reply(503, {"detail": "later"}, {"Retry-After": "5"}), "503", 5.0),
        (Reply(429, {"detail": "too frequently"}), "429", None),
        (Reply(429, {"detail": "x"}, {"Retry-After": "soon"}), "429", None),
        (Reply(429, {"detail": "x"}, {"Retry-After": "9" * 30}), "429", 86_400.0),
        (Reply(429, {"detail": "x"}, {"X-Sentry-Rate-Limit-Reset": "9" * 30}), "429", None),
        (Reply(200, {"detail": "something else"}), "no counts", None),
        (
            Reply(200, {"timeSeries": [{"values": [{"timestamp": "x", "value": 1, "incomplete": False}]}]}),
            "no counts",
            None,
        ),
    ],
)
def test_an_unusable_answer_is_an_error(reply: Reply, message: str, wait: float | None) -> None:
    """The ERROR names the problem, and how long Sentry asks to wait."""
    with Replies({RATES: reply}) as server:
        answer = run("sentry_rate", {"since": now()}, target=production(server.url)).answer
    assert (answer.outcome, answer.retry_after) == (Outcome.ERROR, wait)
    assert message in answer.summary


def test_a_rate_limit_may_name_its_end() -> None:
    """The end may be a date or Sentry's own header, and becomes a number of seconds."""
    later = datetime.now(UTC) + timedelta(seconds=90)
    for name, value in (
        ("Retry-After", later.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        ("X-Sentry-Rate-Limit-Reset", str(int(later.timestamp()))),
    ):
        with Replies({RATES: Reply(429, {"detail": "x"}, {name: value})}) as server:
            answer = run("sentry_rate", {"since": now()}, target=production(server.url)).answer
        assert answer.retry_after is not None
        assert 80 < answer.retry_after <= 90


def test_an_unreachable_sentry_and_a_missing_moment_are_errors() -> None:
    """Sentry must be reachable, and the time of the deploy must be known."""
    target = production(closed_port_url())
    assert run("sentry_rate", {"since": now()}, target=target).outcome is Outcome.ERROR
    assert run("sentry_rate", {}, target=target).answer.summary == "the start of the period is unknown"
