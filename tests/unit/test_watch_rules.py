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
    AlarmKind,
    Next,
    ProbeFinding,
    ProbeStatus,
    Reading,
    Watch,
    WatchState,
    after_poll,
    clock_step,
    findings_to_raise,
    is_answered,
    judge,
    next_poll,
    recovered_alarms,
    silence_finding,
    unwatched_time,
    verdict_at_end,
)
from bot.texts.watch import alarm_title
from checks.contract import Answer, Evidence, Outcome
from tests.unit.factories import NOW, QUINN, WATCH, ago, make_alarm, make_reading, make_watch

LATE = timedelta(minutes=1)
OVER: dict[str, Any] = {"ends_at": ago(1), "readings": (make_reading(asked_at=NOW),)}
ACKNOWLEDGED_ALARM = make_alarm(id=6, acknowledged_by=QUINN)
PROBE = Probe(id=CheckId("watch.health"), title="Health check", kind="http_json")
BLIND = make_reading(status=ProbeStatus.CANNOT_TELL, asked_at=NOW)
BAD = make_reading(status=ProbeStatus.REGRESSED, blames=("4711",), asked_at=NOW)


def answer(outcome: Outcome, retry_after: float | None = None, **data: Any) -> Answer:
    """The answer of a probe's kind."""
    return Answer(outcome, f"it is {outcome}", Evidence("", "", ""), data, retry_after=retry_after)


def polls(*outcomes: Outcome, probe: Probe = PROBE) -> list[Reading]:
    """The readings of successive polls, a minute apart."""
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
            (make_watch(**OVER, alarms=(ACKNOWLEDGED_ALARM,)), Next.CLOSE),
            (make_watch(**OVER, alarms=(ACKNOWLEDGED_ALARM, make_alarm())), Next.WAIT_FOR_PEOPLE),
            (make_watch(ends_at=ago(1), readings=(BLIND,)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(make_reading(asked_at=NOW), BLIND)), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(BAD,)), Next.EXTEND),
            (
                make_watch(ends_at=ago(1), readings=(BAD,), alarms=(replace(ACKNOWLEDGED_ALARM, covers=("4712",)),)),
                Next.EXTEND,
            ),
            (make_watch(ends_at=ago(1), readings=(BAD,), alarms=(ACKNOWLEDGED_ALARM,)), Next.CLOSE),
            (make_watch(ends_at=ago(1), readings=()), Next.EXTEND),
            (make_watch(ends_at=ago(1), readings=(make_reading(asked_at=ago(0.1)),)), Next.EXTEND),
            (make_watch(ends_at=NOW, readings=(make_reading(asked_at=NOW),)), Next.EXTEND),
        ],
    )
    def test_after_a_poll(self, watch: Watch, expected: Next) -> None:
        """What happens after a poll: the watch continues, closes, waits for people or is extended."""
        assert after_poll(watch, NOW, LATE) is expected

    @given(
        st.lists(st.tuples(st.sampled_from(ProbeStatus), st.integers(-5, 5), st.booleans()), max_size=4),
        st.integers(-5, 5),
        st.booleans(),
    )
    def test_a_watch_closes_only_if_it_is_clean(
        self, poll_facts: list[tuple[ProbeStatus, int, bool]], overtime: int, alarm: bool
    ) -> None:
        """Its time is over, no alarm is open, and each probe is acknowledged or clean late after the end (promise P2)."""
        readings = [
            make_reading(
                f"p{number}",
                verdict,
                asked_at=ago(minutes),
                blames=() if verdict is ProbeStatus.CLEAN else (f"{number}",),
            )
            for number, (verdict, minutes, _) in enumerate(poll_facts)
        ]
        covers = tuple(f"{number}" for number, (_, _, is_acknowledged) in enumerate(poll_facts) if is_acknowledged)
        watch = make_watch(
            ends_at=ago(overtime),
            readings=tuple(readings),
            alarms=(replace(ACKNOWLEDGED_ALARM, covers=covers), *((make_alarm(),) if alarm else ())),
        )
        fine = [
            minutes + 1 <= overtime if verdict is ProbeStatus.CLEAN else is_acknowledged
            for verdict, minutes, is_acknowledged in poll_facts
        ]
        may_close = overtime >= 0 and not alarm and bool(poll_facts) and all(fine)
        assert (after_poll(watch, NOW, LATE) is Next.CLOSE) == may_close

    @pytest.mark.parametrize(
        ("seconds_left", "due"),
        [(600, 30), (-50, 10), (-60, 30), (-3600, 30)],
        ids=["early", "settling", "settled", "extended"],
    )
    def test_the_time_of_the_next_poll(self, seconds_left: int, due: int) -> None:
        """A watch polls at its usual interval, and once at the moment when the last events must have arrived."""
        watch = make_watch(ends_at=NOW + timedelta(seconds=seconds_left))
        assert (next_poll(watch, NOW, WATCH) - NOW).total_seconds() == due

    @pytest.mark.parametrize(
        ("alarms", "state"),
        [
            ((), WatchState.CLEAN),
            ((ACKNOWLEDGED_ALARM,), WatchState.ACCEPTED),
            ((make_alarm(kind="silent", acknowledged_by=SYSTEM),), WatchState.CLEAN),
        ],
    )
    def test_a_watch_with_acknowledged_alarms_is_not_clean(self, alarms: Any, state: WatchState) -> None:
        """A watch is accepted if people acknowledged an alarm, and clean if an alarm ended by itself."""
        assert verdict_at_end(make_watch(alarms=alarms)) is state

    def test_the_remaining_time_is_never_negative(self) -> None:
        """The remaining time is zero after the end."""
        assert make_watch().remaining(NOW).total_seconds() == 300
        assert make_watch(ends_at=ago(5)).remaining(NOW).total_seconds() == 0


class TestThePoll:
    """How the answer of one probe is judged."""

    @pytest.mark.parametrize(
        ("outcome", "verdict"),
        [
            (Outcome.PASS, ProbeStatus.CLEAN),
            (Outcome.FAIL, ProbeStatus.REGRESSED),
            (Outcome.ERROR, ProbeStatus.CANNOT_TELL),
            (Outcome.INCONCLUSIVE, ProbeStatus.CANNOT_TELL),
        ],
    )
    def test_only_a_pass_is_clean(self, outcome: Outcome, verdict: ProbeStatus) -> None:
        """PASS is clean, FAIL is a regression, and all others are unknown."""
        assert [reading.status for reading in polls(outcome)] == [verdict]

    def test_a_fault_is_confirmed_before_it_alarms(self) -> None:
        """Until a second FAIL the probe is unknown; an ERROR in between does not restart the count, a PASS does."""
        fail, error, good = Outcome.FAIL, Outcome.ERROR, Outcome.PASS
        twice = PROBE.model_copy(update={"confirm_polls": 2})
        verdicts = [reading.status for reading in polls(fail, error, fail, good, fail, probe=twice)]
        assert verdicts == [
            ProbeStatus.CANNOT_TELL,
            ProbeStatus.CANNOT_TELL,
            ProbeStatus.REGRESSED,
            ProbeStatus.CLEAN,
            ProbeStatus.CANNOT_TELL,
        ]

    def test_each_event_is_a_finding(self) -> None:
        """A finding has the id of its event and what a person needs to know."""
        events = [{"id": "1", "shortId": "API-1", "title": "boom", "permalink": "https://s/1", "kind": "regressed"}]
        reading, (finding,) = judge(PROBE, None, answer(Outcome.FAIL, findings=events), NOW)
        assert finding == ProbeFinding(
            "watch.health:1", "API-1", "boom", "https://s/1", AlarmKind.REGRESSED, covers=("watch.health:1",)
        )
        assert reading.blames == ("watch.health:1",)

    @pytest.mark.parametrize("odd", [{"id": 1}, "API-1", [{"title": "boom"}], ["API-1"], [None]])
    def test_malformed_findings_are_one_condition(self, odd: Any) -> None:
        """Malformed findings of a plugin count as a fault and do not stop the watch."""
        reading, (finding,) = judge(PROBE, None, answer(Outcome.FAIL, findings=odd), NOW)
        assert (reading.status, finding.kind) == (ProbeStatus.REGRESSED, AlarmKind.FAULT)

    def test_a_condition_is_one_finding_while_it_lasts(self) -> None:
        """A condition stays the same finding over an unknown poll, and is a new one after a clean poll or in another
        episode.
        """
        fail, error, good = Outcome.FAIL, Outcome.ERROR, Outcome.PASS
        first, _, again, _, anew = polls(fail, error, fail, good, fail)
        assert first.blames == again.blames != anew.blames
        worse, _ = judge(PROBE, anew, answer(fail, episode="2"), NOW)
        assert worse.blames != anew.blames

    def test_a_reading_keeps_the_last_known_values(self) -> None:
        """An unknown reading keeps the time of the last answer and the error rate of that time."""
        first, _ = judge(PROBE, None, answer(Outcome.PASS, series={"points": []}), NOW)
        blind, _ = judge(PROBE, first, answer(Outcome.ERROR, retry_after=40.0), NOW + LATE)
        assert (blind.last_answer_at, blind.series) == (NOW, {"points": []})
        assert blind.wait_until == NOW + LATE + timedelta(seconds=40)


class TestAlarms:
    """Which findings raise an alarm."""

    def make_findings(self, number: int) -> tuple[ProbeFinding, ...]:
        events = [{"id": f"{n}", "shortId": f"API-{n}"} for n in range(number)]
        return judge(PROBE, None, answer(Outcome.FAIL, findings=events), NOW)[1]

    def test_a_finding_with_an_alarm_raises_no_second_one(self) -> None:
        """Findings that an alarm covers are not raised again."""
        alarm = make_alarm(covers=("watch.health:0", "watch.health:2"))
        assert [finding.short_id for finding in findings_to_raise(self.make_findings(4), [alarm], PROBE)] == [
            "API-1",
            "API-3",
        ]

    def test_many_findings_are_one_alarm(self) -> None:
        """More than five findings at once are one alarm that covers all of them."""
        assert len(findings_to_raise(self.make_findings(5), [], PROBE)) == 5
        (alarm,) = findings_to_raise(self.make_findings(50), [], PROBE)
        assert alarm_title(alarm) == "50 at once, among them API-0, API-1, API-2, API-3, API-4"
        assert set(alarm.covers) == {item.key for item in self.make_findings(50)}

    def test_a_condition_raises_no_alarm_while_its_first_one_is_open(self) -> None:
        """A new episode raises an alarm only after people acknowledged the first one."""
        _, condition = judge(PROBE, None, answer(Outcome.FAIL, episode="2"), NOW)
        first = make_alarm(kind="fault", probe=PROBE.id, covers=("watch.health:spell 1#1",))
        assert findings_to_raise(condition, [first], PROBE) == ()
        assert findings_to_raise(condition, [replace(first, acknowledged_by=QUINN)], PROBE) == condition

    def test_a_silent_probe_raises_an_alarm_after_some_patience(self) -> None:
        """Patience counts from the last answer or from the beginning, and an acknowledged alarm holds up nothing."""
        blind = polls(Outcome.PASS, Outcome.ERROR)[-1]
        assert silence_finding(PROBE, blind, make_watch(), NOW + timedelta(minutes=4), WATCH.no_answer_limit) is None
        question = silence_finding(PROBE, blind, make_watch(), NOW + timedelta(minutes=5), WATCH.no_answer_limit)
        assert question is not None
        assert (question.kind, alarm_title(question)) == (AlarmKind.SILENT, "no answer: it is ERROR")
        assert not is_answered(blind, [])
        assert is_answered(blind, [make_alarm(acknowledged_by=QUINN, covers=question.covers)])
        never = polls(Outcome.ERROR)[0]
        assert (
            silence_finding(
                PROBE, never, make_watch(started_at=NOW - WATCH.no_answer_limit), NOW, WATCH.no_answer_limit
            )
            is not None
        )

    def test_the_alarm_of_a_silent_probe_ends_by_itself(self) -> None:
        """An alarm for silence ends when the probe answers again, and any other waits for people."""
        silent = make_alarm(id=1, kind="silent", probe="watch.issues")
        alarms = (silent, make_alarm(id=2))
        assert recovered_alarms(make_watch(alarms=alarms)) == (silent,)
        assert recovered_alarms(make_watch(alarms=alarms, readings=(BLIND,))) == ()

    @pytest.mark.parametrize(
        ("readings", "alarms", "verdict"),
        [
            ((), (), None),
            ((make_reading(),), (), ProbeStatus.CLEAN),
            ((make_reading(), BLIND), (), ProbeStatus.CANNOT_TELL),
            ((BLIND, BAD), (), ProbeStatus.REGRESSED),
            ((make_reading(),), (make_alarm(),), ProbeStatus.REGRESSED),
            ((make_reading(),), (make_alarm(kind="silent"),), ProbeStatus.CANNOT_TELL),
            ((BAD,), (ACKNOWLEDGED_ALARM,), ProbeStatus.CLEAN),
        ],
    )
    def test_the_verdict_is_that_of_the_worst_probe(
        self, readings: Any, alarms: Any, verdict: ProbeStatus | None
    ) -> None:
        """Regressed comes before unknown and unknown before clean, and acknowledged findings do not count."""
        assert make_watch(readings=readings, alarms=alarms).verdict is verdict


@pytest.mark.parametrize(
    ("wall", "steady", "step"),
    [(30, 30.0, 0), (33, 30.0, 0), (3630, 30.0, 3600), (-3570, 30.0, -3600), (300, 300.0, 0)],
)
def test_a_clock_that_was_set_is_told_from_time_that_passed(wall: int, steady: float, step: int) -> None:
    """A pause of the bot is no change of the clock, as both clocks advance."""
    assert clock_step(timedelta(seconds=wall), steady) == timedelta(seconds=step)


@pytest.mark.parametrize(("wall", "step"), [(0, 0), (30, 0), (90, 0), (94, 0), (7200, 7110), (-7200, -7200), (-3, 0)])
def test_a_gap_between_polls_extends_the_watch(wall: int, step: int) -> None:
    """A gap that is longer than two polls are apart is a changed clock or an outage, and does not shorten the watch."""
    assert unwatched_time(timedelta(seconds=wall), WATCH.longest_gap) == timedelta(seconds=step)
