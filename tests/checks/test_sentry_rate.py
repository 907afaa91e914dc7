"""sentry_rate: a rise is found, chance and noise are not, small counts are judged fairly, and unknown is no pass."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from checks.contract import Outcome, Subject
from checks.kinds.sentry_rate import Comparison, compare
from clients.sentry import Bucket, SentrySettings
from clients.target import Target
from tests.checks.replies import Replies, Reply, Request, closed_port_url
from tests.fix_checks import run

RATES = "GET /api/0/organizations/solvereign/events-timeseries/"
MINUTE = timedelta(minutes=1)


def production(url: str) -> Target:
    """A target that has nothing but Sentry."""
    sentry = SentrySettings(url=url, token="sntryu_x", organization="solvereign", project="api")
    return Target(name="production", sentry=sentry)


def now() -> datetime:
    """The beginning of this minute."""
    return datetime.now(UTC).replace(second=0, microsecond=0)


def series(began: datetime, before: list[int], after: list[int], *, incomplete: int = 1, unit: int = 1000) -> Reply:
    """Counts a minute before and after the deploy; the last ones may still grow."""
    first = began - len(before) * MINUTE
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
    """The answer about a deploy that began as many minutes ago as there are counts after it."""
    began = now() - (len(after) - 1) * MINUTE
    with Replies({RATES: series(began, before, after, **changes)}) as server:
        result = run("sentry_rate", {"since": began, **(params or {})}, target=production(server.url))
        return result, server.requests


def comparison(before: float, after: float, minutes: float = 10, dispersion: float = 1.0) -> Comparison:
    """So many errors in the hour before, and in the minutes after."""
    return Comparison(before, 60, after, minutes, dispersion)


class TestTheRule:
    """The comparison itself."""

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
    def test_chance(self, before: int, after: int, minutes: int, chance: float) -> None:
        """By hand: binomial, with the share of the time after the deploy."""
        assert comparison(before, after, minutes).chance == pytest.approx(chance)

    def test_chance_falls_as_errors_rise(self) -> None:
        """More errors after are less and less likely, up to what cannot be chance."""
        chances = [comparison(12, after).chance for after in (0, 2, 5, 10, 20, 200, 5000, 500_000)]
        assert chances == sorted(chances, reverse=True)
        assert chances[0] == pytest.approx(1.0)
        assert chances[-1] == 0.0

    def test_bursts_before_take_weight_from_a_burst_after(self) -> None:
        """Ten errors that came together say less than ten that came apart."""
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
def test_verdict(before: list[int], after: list[int], outcome: Outcome) -> None:
    """A rise fails, noise does not; the last, incomplete minute does not count."""
    result, _ = ask(before, after)
    assert result.outcome is outcome, result.answer.summary


def test_it_says_both_rates_and_hands_on_the_series() -> None:
    """What a person reads, and what the plot is drawn from."""
    result, (request,) = ask([1] * 60, [6, 7, 5, 6, 8, 0])
    assert result.answer.summary == (
        "the error rate rose: 32 errors in 5 min (6.4 a minute); before the deploy 60 in 60 min (1 a minute)"
    )
    found = result.answer.data["series"]
    assert (found["interval"], found["baseline"], found["limit"], len(found["points"])) == (60, 1, 2, 65)
    assert found["points"][60] == [found["began"], 6]
    assert found["rose"] is True
    assert request.query["environment"] == ["production"]
    assert request.query["dataset"] == ["errors"]


def test_only_the_last_minutes_are_judged() -> None:
    """A burst at the beginning of a long deploy is over one day; the rate that counts is that of now."""
    after = [50] * 5 + [0] * 16
    assert ask([0] * 60, after)[0].outcome is Outcome.PASS
    assert ask([0] * 60, after, params={"window_minutes": 30})[0].outcome is Outcome.FAIL


def test_seconds_are_told_from_milliseconds() -> None:
    """The schema does not say which."""
    assert ask([0] * 60, [0, 2, 2, 1, 0, 0], unit=1)[0].outcome is Outcome.FAIL


def test_the_release_narrows_what_is_counted_after_the_deploy() -> None:
    """Before it there were only others; without one there is nothing to name."""
    began = now() - 5 * MINUTE

    def reply(request: Request) -> Reply:
        return series(began, [0] * 60, [0 if request.query["query"][0] else 9] * 6)

    with Replies({RATES: reply}) as server:
        target = production(server.url)
        params = {"since": began, "release": "this"}
        result = run("sentry_rate", params, target=target, subject=Subject(version="v4.8.0"))
        assert (result.outcome, run("sentry_rate", {"since": began}, target=target).outcome) == ("PASS", "FAIL")
        nameless = run("sentry_rate", params, target=target)
    assert [request.query["query"] for request in server.requests[:2]] == [[""], ['release:"solvereign@4.8.0"']]
    assert nameless.answer.summary == "there is no release that `release: this` could mean"


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [1, 1], "no complete count before the deploy yet"),
        ([1] * 60, [5], "no complete count since the deploy yet"),
    ],
)
def test_nothing_to_compare_is_no_verdict(before: list[int], after: list[int], told: str) -> None:
    """In the first minute, and for a product that Sentry has not known before."""
    result, _ = ask(before, after)
    assert (result.outcome, result.answer.summary) == (Outcome.INCONCLUSIVE, told)


@pytest.mark.parametrize(
    ("reply", "told", "wait"),
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
def test_no_answer_is_no_pass(reply: Reply, told: str, wait: float | None) -> None:
    """Refused, limited, broken or odd: ERROR that says which, and for how long to leave it alone."""
    with Replies({RATES: reply}) as server:
        answer = run("sentry_rate", {"since": now()}, target=production(server.url)).answer
    assert (answer.outcome, answer.retry_after) == (Outcome.ERROR, wait)
    assert told in answer.summary


def test_a_rate_limit_that_names_its_end() -> None:
    """As a date, or as Sentry's own header does: the seconds until then."""
    later = datetime.now(UTC) + timedelta(seconds=90)
    for name, value in (
        ("Retry-After", later.strftime("%a, %d %b %Y %H:%M:%S GMT")),
        ("X-Sentry-Rate-Limit-Reset", str(int(later.timestamp()))),
    ):
        with Replies({RATES: Reply(429, {"detail": "x"}, {name: value})}) as server:
            answer = run("sentry_rate", {"since": now()}, target=production(server.url)).answer
        assert answer.retry_after is not None
        assert 80 < answer.retry_after <= 90


def test_nobody_listens_and_no_moment() -> None:
    """A Sentry that cannot be reached is ERROR; so is a question without the moment of the deploy."""
    target = production(closed_port_url())
    assert run("sentry_rate", {"since": now()}, target=target).outcome is Outcome.ERROR
    assert run("sentry_rate", {}, target=target).answer.summary == "nothing says since when"
