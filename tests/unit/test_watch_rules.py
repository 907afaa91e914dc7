"""What a poll means, whom it alarms, and when a watch goes on, waits, is extended or closes."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.checklist import Probe
from bot.domain.ids import SYSTEM, CheckId
from bot.domain.watch import (
    Finding,
    Kind,
    Next,
    Reading,
    Seen,
    Watch,
    WatchState,
    after_poll,
    clock_step,
    covered,
    judge,
    next_poll,
    silence,
    spoken_again,
    to_raise,
    unwatched,
    verdict_at_end,
)
from checks.contract import Answer, Evidence, Outcome
from tests.unit.factories import NOW, QUINN, WATCH, ago, make_alarm, make_reading, make_watch

LATE = timedelta(minutes=1)
OVER: dict[str, Any] = {"ends_at": ago(1), "readings": (make_reading(asked_at=NOW),)}
LOOKED = make_alarm(id=6, acknowledged_by=QUINN)
PROBE = Probe(id=CheckId("watch.health"), title="Health check", kind="http_json")
BLIND = make_reading(seen=Seen.CANNOT_TELL, asked_at=NOW)
BAD = make_reading(seen=Seen.REGRESSED, blames=("4711",), asked_at=NOW)


def answer(outcome: Outcome, retry_after: float | None = None, **data: Any) -> Answer:
    """What a probe's kind said."""
    return Answer(outcome, f"it is {outcome}", Evidence("", "", ""), data, retry_after=retry_after)


def polls(*outcomes: Outcome, probe: Probe = PROBE) -> list[Reading]:
    """The readings of a row of polls, a minute apart."""
    readings: list[Reading] = []
    for number, outcome in enumerate(outcomes):
        before = readings[-1] if readings else None
        readings.append(judge(probe, before, answer(outcome), NOW + number * LATE)[0])
    return readings


class TestTheEnd:
    """When a watch closes."""

    @pytest.mark.parametrize(
        ("watch", "expected"),
        [
            (make_watch(), Next.CONTINUE),
            (make_watch(alarms=(make_alarm(),)), Next.CONTINUE),
            (make_watch(**OVER), Next.CLOSE),
            (make_watch(**OVER, alarms=(LOOKED,)), Next.CLOSE),
            (make_watch(**OVER, alarms=(LOOKED, make_alarm())), Next.WAIT_FOR_PEOPLE),
            (make_watch(ends_at=ago(1), readings=(BLIND,)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(make_reading(asked_at=NOW), BLIND)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(BAD,)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(BAD,), alarms=(replace(LOOKED, covers=("4712",)),)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(BAD,), alarms=(LOOKED,)), Next.CLOSE),
            (make_watch(ends_at=ago(1), readings=()), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(make_reading(asked_at=ago(0.1)),)), Next.EXTEND),
            (make_watch(ends_at=NOW, readings=(make_reading(asked_at=NOW),)), Next.EXTEND),
        ],
    )
    def test_after_a_poll(self, watch: Watch, expected: Next) -> None:
        """The table of the watch."""
        assert after_poll(watch, NOW, LATE) is expected

    @given(
        st.lists(st.tuples(st.sampled_from(Seen), st.integers(-5, 5), st.booleans()), max_size=4),
        st.integers(-5, 5),
        st.booleans(),
    )
    def test_it_closes_only_clean(self, said: list[tuple[Seen, int, bool]], ends: int, alarm: bool) -> None:
        """Time over, no alarm open, and each probe acknowledged or clean late after the end (promise P2)."""
        readings = [
            make_reading(f"p{number}", seen, asked_at=ago(minutes), blames=() if seen is Seen.CLEAN else (f"{number}",))
            for number, (seen, minutes, _) in enumerate(said)
        ]
        looked = tuple(f"{number}" for number, (_, _, acknowledged) in enumerate(said) if acknowledged)
        watch = make_watch(
            ends_at=ago(ends),
            readings=tuple(readings),
            alarms=(replace(LOOKED, covers=looked), *((make_alarm(),) if alarm else ())),
        )
        fine = [minutes + 1 <= ends if seen is Seen.CLEAN else known for seen, minutes, known in said]
        wanted = ends >= 0 and not alarm and bool(said) and all(fine)
        assert (after_poll(watch, NOW, LATE) is Next.CLOSE) == wanted

    @pytest.mark.parametrize(
        ("left", "due"),
        [(600, 30), (-50, 10), (-60, 30), (-3600, 30)],
        ids=["early", "settling", "settled", "extended"],
    )
    def test_when_the_next_poll_is(self, left: int, due: int) -> None:
        """As often as usual, and at the moment when the last events must have arrived."""
        watch = make_watch(ends_at=NOW + timedelta(seconds=left))
        assert (next_poll(watch, NOW, WATCH) - NOW).total_seconds() == due

    @pytest.mark.parametrize(
        ("alarms", "state"),
        [
            ((), WatchState.CLEAN),
            ((LOOKED,), WatchState.ACCEPTED),
            ((make_alarm(kind="silent", acknowledged_by=SYSTEM),), WatchState.CLEAN),
        ],
    )
    def test_what_people_acknowledged_is_not_called_clean(self, alarms: Any, state: WatchState) -> None:
        """A silence that ended by itself is nothing that anybody accepted."""
        assert verdict_at_end(make_watch(alarms=alarms)) is state

    def test_remaining(self) -> None:
        """Never negative."""
        assert make_watch().remaining(NOW).total_seconds() == 300
        assert make_watch(ends_at=ago(5)).remaining(NOW).total_seconds() == 0


class TestThePoll:
    """What the answer of one probe means."""

    @pytest.mark.parametrize(
        ("outcome", "seen"),
        [
            (Outcome.PASS, Seen.CLEAN),
            (Outcome.FAIL, Seen.REGRESSED),
            (Outcome.ERROR, Seen.CANNOT_TELL),
            (Outcome.INCONCLUSIVE, Seen.CANNOT_TELL),
        ],
    )
    def test_three_verdicts(self, outcome: Outcome, seen: Seen) -> None:
        """Only a PASS is clean."""
        assert [reading.seen for reading in polls(outcome)] == [seen]

    def test_a_fault_is_confirmed_before_it_alarms(self) -> None:
        """Until then it cannot tell; no answer in between starts nothing over, a clean one does."""
        fail, error, good = Outcome.FAIL, Outcome.ERROR, Outcome.PASS
        twice = PROBE.model_copy(update={"confirm": 2})
        seen = [reading.seen for reading in polls(fail, error, fail, good, fail, probe=twice)]
        assert seen == [Seen.CANNOT_TELL, Seen.CANNOT_TELL, Seen.REGRESSED, Seen.CLEAN, Seen.CANNOT_TELL]

    def test_each_event_is_a_finding(self) -> None:
        """By its id, with what a person needs to know."""
        events = [{"id": "1", "shortId": "API-1", "title": "boom", "permalink": "https://s/1", "kind": "regressed"}]
        reading, (found,) = judge(PROBE, None, answer(Outcome.FAIL, findings=events), NOW)
        assert found == Finding(
            "watch.health:1", "API-1", "boom", "https://s/1", Kind.REGRESSED, covers=("watch.health:1",)
        )
        assert reading.blames == ("watch.health:1",)

    @pytest.mark.parametrize("odd", [{"id": 1}, "API-1", [{"title": "boom"}], ["API-1"], [None]])
    def test_what_is_no_list_of_events_is_a_condition(self, odd: Any) -> None:
        """A plugin's mistake neither stops the watch nor passes."""
        reading, (found,) = judge(PROBE, None, answer(Outcome.FAIL, findings=odd), NOW)
        assert (reading.seen, found.kind) == (Seen.REGRESSED, Kind.FAULT)

    def test_a_condition_is_one_finding_as_long_as_it_lasts(self) -> None:
        """Also when nobody could tell in between; after it was clean it is another one, as is another episode."""
        fail, error, good = Outcome.FAIL, Outcome.ERROR, Outcome.PASS
        first, _, again, _, anew = polls(fail, error, fail, good, fail)
        assert first.blames == again.blames != anew.blames
        worse, _ = judge(PROBE, anew, answer(fail, episode="2"), NOW)
        assert worse.blames != anew.blames

    def test_what_it_knew_stays(self) -> None:
        """When it could last tell, and the error rate that it saw then."""
        told, _ = judge(PROBE, None, answer(Outcome.PASS, series={"points": []}), NOW)
        blind, _ = judge(PROBE, told, answer(Outcome.ERROR, retry_after=40.0), NOW + LATE)
        assert (blind.told_at, blind.series) == (NOW, {"points": []})
        assert blind.wait_until == NOW + LATE + timedelta(seconds=40)


class TestAlarms:
    """Who is alarmed of what."""

    def findings(self, number: int) -> tuple[Finding, ...]:
        events = [{"id": f"{n}", "shortId": f"API-{n}"} for n in range(number)]
        return judge(PROBE, None, answer(Outcome.FAIL, findings=events), NOW)[1]

    def test_none_twice(self) -> None:
        """What an alarm stands for is not raised again."""
        known = make_alarm(covers=("watch.health:0", "watch.health:2"))
        assert [found.short_id for found in to_raise(self.findings(4), [known], PROBE)] == ["API-1", "API-3"]

    def test_no_flood(self) -> None:
        """More than five at once are one alarm that stands for all of them."""
        assert len(to_raise(self.findings(5), [], PROBE)) == 5
        (found,) = to_raise(self.findings(50), [], PROBE)
        assert found.title == "50 at once, among them API-0, API-1, API-2, API-3, API-4"
        assert set(found.covers) == {item.key for item in self.findings(50)}

    def test_a_condition_waits_for_its_open_alarm(self) -> None:
        """The second restart of a pod is no second alarm before somebody has looked at the first."""
        _, found = judge(PROBE, None, answer(Outcome.FAIL, episode="2"), NOW)
        first = make_alarm(kind="fault", probe=PROBE.id, covers=("watch.health:spell 1#1",))
        assert to_raise(found, [first], PROBE) == ()
        assert to_raise(found, [replace(first, acknowledged_by=QUINN)], PROBE) == found

    def test_silence_asks_people_once_their_patience_is_over(self) -> None:
        """Counted from the last time that it could tell, or from the beginning; acknowledged it holds up nothing."""
        blind = polls(Outcome.PASS, Outcome.ERROR)[-1]
        assert silence(PROBE, blind, make_watch(), NOW + timedelta(minutes=4), WATCH.patience) is None
        question = silence(PROBE, blind, make_watch(), NOW + timedelta(minutes=5), WATCH.patience)
        assert question is not None
        assert (question.kind, question.title) == (Kind.SILENT, "cannot tell: it is ERROR")
        assert not covered(blind, [])
        assert covered(blind, [make_alarm(acknowledged_by=QUINN, covers=question.covers)])
        never = polls(Outcome.ERROR)[0]
        assert silence(PROBE, never, make_watch(started_at=NOW - WATCH.patience), NOW, WATCH.patience) is not None

    def test_a_silence_that_is_over_asks_nobody(self) -> None:
        """Its alarm ends by itself; any other waits for people."""
        silent = make_alarm(id=1, kind="silent", probe="watch.issues")
        alarms = (silent, make_alarm(id=2))
        assert spoken_again(make_watch(alarms=alarms)) == (silent,)
        assert spoken_again(make_watch(alarms=alarms, readings=(BLIND,))) == ()

    @pytest.mark.parametrize(
        ("readings", "alarms", "verdict"),
        [
            ((), (), None),
            ((make_reading(),), (), Seen.CLEAN),
            ((make_reading(), BLIND), (), Seen.CANNOT_TELL),
            ((BLIND, BAD), (), Seen.REGRESSED),
            ((make_reading(),), (make_alarm(),), Seen.REGRESSED),
            ((make_reading(),), (make_alarm(kind="silent"),), Seen.CANNOT_TELL),
            ((BAD,), (LOOKED,), Seen.CLEAN),
        ],
    )
    def test_verdict(self, readings: Any, alarms: Any, verdict: Seen | None) -> None:
        """Regressed before cannot tell before clean; what is acknowledged no longer counts."""
        assert make_watch(readings=readings, alarms=alarms).verdict is verdict


@pytest.mark.parametrize(
    ("wall", "steady", "step"),
    [(30, 30.0, 0), (33, 30.0, 0), (3630, 30.0, 3600), (-3570, 30.0, -3600), (300, 300.0, 0)],
)
def test_a_clock_that_was_set_is_told_from_time_that_passed(wall: int, steady: float, step: int) -> None:
    """A pause of the bot is none: both clocks went on."""
    assert clock_step(timedelta(seconds=wall), steady) == timedelta(seconds=step)


@pytest.mark.parametrize(("wall", "step"), [(0, 0), (30, 0), (90, 0), (94, 0), (7200, 7110), (-7200, -7200), (-3, 0)])
def test_what_only_the_clock_says_counts_for_as_long_as_polls_are_apart(wall: int, step: int) -> None:
    """More than that is a clock that was set, or a time when nobody watched; neither makes the watch shorter."""
    assert unwatched(timedelta(seconds=wall), WATCH.apart) == timedelta(seconds=step)
