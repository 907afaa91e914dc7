"""Kind ``sentry_rate``: are there more errors in Sentry since the deploy than before it? The Watch asks this."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, fsum, lgamma, log, log1p
from statistics import fmean, pvariance
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from checks.contract import Answer, Evidence, Kind, Outcome
from checks.kit.since import SinceParams, sentry_release
from clients.needs import Need, sentry
from clients.sentry import Bucket, Counts, end_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from checks.contract import CheckContext

MIN_INTERVAL, MAX_INTERVAL = 5, 60  # seconds of a bucket
BUCKETS = 10  # since the deploy, before they are a minute long: so that the first polls see something
EXACT = 10_000  # events up to which the probability is summed up; beyond it the rates themselves are certain


class SentryRateParams(SinceParams):
    """What is compared with what, and how much more is too much."""

    release: str = ""  # after the deploy only events of this release, "this": the one that is deployed; empty: all
    baseline_minutes: int = Field(default=60, ge=5, le=24 * 60)  # how long before the deploy is looked at
    window_minutes: int = Field(default=10, ge=1, le=120)  # how much of the time after the deploy is judged at most
    factor: float = Field(default=2.0, ge=1)  # how many times the rate before is too much
    min_events: int = Field(default=5, ge=1)  # fewer than this in the window are never too much
    doubt: float = Field(default=0.001, gt=0, lt=0.5)  # how likely chance may be


class SentryRate(Kind):
    """FAIL when the rate of errors rose, by a rule that holds for small counts too.

    A ratio of rates alone is useless where a normal minute has no error at all: one error after none is infinitely
    more. So three things must come together: at least ``min_events`` in the window; a rate of at least ``factor`` times
    the one before; and a rise that chance hardly explains. The last is the exact conditional test for two Poisson
    rates (Przyborowski and Wilenski, Biometrika 31, 1940): were the rates equal, each of the n errors would fall into
    the time after the deploy with the probability of its share of the whole time, and the number that did is binomial.
    It needs no minimum of counts and no error before. Errors come in bursts, which makes chance look like a rise, so
    counts are first divided by the index of dispersion (variance by mean) of the time before, where that is above one.

    Buckets that Sentry calls incomplete, and the one in which the deploy began, count for neither side. With no complete
    bucket on one side there is nothing to compare: INCONCLUSIVE.
    """

    name = "sentry_rate"
    summary = "The error rate in Sentry hasn't risen since the deploy"
    params = SentryRateParams
    example: ClassVar[Mapping[str, Any]] = {"since": "2026-01-16T18:00:00Z"}
    timeout = 30.0

    def needs(self, params: SentryRateParams) -> tuple[Need, ...]:
        """To count events."""
        return sentry("org:read")

    def run(self, params: SentryRateParams, ctx: CheckContext) -> Answer:
        """Count before and after, and compare. Raises CheckError when Sentry cannot be asked."""
        sentry = ctx.clients.sentry()
        since = params.start(ctx)
        now = datetime.now(UTC)
        environment = params.where(ctx)
        release = sentry_release(params.release, ctx)
        begin = since - timedelta(minutes=params.baseline_minutes)
        interval = int(min(MAX_INTERVAL, max(MIN_INTERVAL, (now - since).total_seconds() / BUCKETS)))
        whole = sentry.error_counts(environment=environment, start=begin, end=now, interval=interval)
        later = whole
        if release:
            query = f'release:"{release}"'
            later = sentry.error_counts(environment=environment, start=begin, end=now, interval=interval, query=query)
        before = [bucket for bucket in whole.buckets if bucket.start >= begin and end_of(bucket, whole) <= since]
        after = [bucket for bucket in later.buckets if bucket.start >= since]
        start = now - timedelta(minutes=params.window_minutes)
        window = [bucket for bucket in after if bucket.start >= start]
        comparison = compare(before, window, whole.interval, later.interval)
        evidence = Evidence(
            asked=f"errors of {environment} in buckets of {whole.interval:g} s, {params.baseline_minutes} min before "
            f"{since.astimezone(UTC):%H:%M:%S} UTC and up to {params.window_minutes} min now"
            + (f", after it of release {release}" if release else ""),
            expected=f"fewer than {params.min_events}, or less than {params.factor:g} times the rate before",
            seen=comparison.words(),
            attachment="\n".join(f"{bucket.start:%H:%M:%S} {bucket.count:g}" for bucket in [*before, *after]),
            attachment_name="counts.txt",
        )
        rose = bool(before and window) and comparison.rose(params)
        series = _series(since, whole, [*before, *after], comparison)
        data = {"series": series | {"limit": round(comparison.rate_before * params.factor, 4), "rose": rose}}
        if not before or not window:
            side = "before the deploy" if not before else "since the deploy"
            hint = "Sentry counts whole minutes: run it again in a few." if before else "See the rate in Sentry."
            return Answer(Outcome.INCONCLUSIVE, f"no complete count {side} yet", evidence, data, hint)
        if rose:
            hint = "See in Sentry which errors they are, then acknowledge or roll back."
            return Answer(Outcome.FAIL, f"the error rate rose: {comparison.words()}", evidence, data, hint)
        return Answer(Outcome.PASS, comparison.words(), evidence, data)


@dataclass(frozen=True)
class RateComparison:
    """Two counts over two stretches of time (minutes), and how likely chance is to explain the later one."""

    before: float
    before_minutes: float
    after: float
    after_minutes: float
    dispersion: float  # of the counts before: above one they come in bursts

    @property
    def rate_before(self) -> float:
        """Errors a minute."""
        return self.before / self.before_minutes if self.before_minutes else 0.0

    @property
    def rate_after(self) -> float:
        """Errors a minute."""
        return self.after / self.after_minutes if self.after_minutes else 0.0

    @property
    def chance(self) -> float:
        """How likely so many errors or more are after the deploy if the rate had not changed."""
        total, late = int((self.before + self.after) / self.dispersion), int(self.after / self.dispersion)
        share = self.after_minutes / (self.before_minutes + self.after_minutes)
        if total > EXACT:
            return 0.0 if self.rate_after > self.rate_before else 1.0
        return min(1.0, fsum(exp(_log_binomial(total, k, share)) for k in range(late, total + 1)))

    def rose(self, params: SentryRateParams) -> bool:
        """Whether there are more errors than ``params`` allow, by the rule that SentryRate describes."""
        many = self.after >= params.min_events and self.rate_after >= params.factor * self.rate_before
        return many and self.chance <= params.doubt

    def words(self) -> str:
        """Both rates for people."""
        return (
            f"{self.after:g} errors in {self.after_minutes:.3g} min ({self.rate_after:.2g} a minute); before the deploy "
            f"{self.before:g} in {self.before_minutes:.3g} min ({self.rate_before:.2g} a minute)"
        )


def _log_binomial(n: int, k: int, share: float) -> float:
    """The logarithm of the probability that ``k`` of ``n`` fall into ``share``; logarithms, as the factors leave a float."""
    ways = lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
    return ways + k * log(share) + (n - k) * log1p(-share)


def compare(
    before: Sequence[Bucket], after: Sequence[Bucket], interval: float, later_interval: float
) -> RateComparison:
    """The comparison of two stretches of complete buckets; ``interval``: seconds of a bucket before and after."""
    counts = [bucket.count for bucket in before]
    mean = fmean(counts) if counts else 0.0
    return RateComparison(
        before=sum(counts),
        before_minutes=len(before) * interval / 60,
        after=sum(bucket.count for bucket in after),
        after_minutes=len(after) * later_interval / 60,
        dispersion=max(1.0, pvariance(counts) / mean) if mean else 1.0,
    )


def _series(since: datetime, counts: Counts, buckets: Sequence[Bucket], comparison: RateComparison) -> dict[str, Any]:
    """What a plot of it needs: times as Unix seconds, counts a bucket, rates a minute."""
    return {
        "began": since.timestamp(),
        "interval": counts.interval,
        "points": [[bucket.start.timestamp(), bucket.count] for bucket in buckets],
        "baseline": round(comparison.rate_before, 4),
    }
