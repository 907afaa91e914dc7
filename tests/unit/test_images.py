"""Pictures: what is drawn where, and that a PNG comes out of it whatever the rows hold."""

import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.release import ReleaseState
from bot.images.canvas import Canvas
from bot.images.error_rate import error_rate, minutes, nice
from bot.images.release_timeline import release_timeline
from bot.images.timeline import LABEL, Axis
from tests.unit.factories import NOW, ago, in_state, make_alarm, make_view, make_watch

BEGAN = NOW.timestamp()


def size(png: bytes | None) -> tuple[int, int]:
    """The width and height in the header of a PNG."""
    assert png is not None
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


class TestErrorRate:
    """The plot of the error rate in an alarm."""

    def test_buckets_are_summed_by_minute_from_the_deploy_on(self) -> None:
        """No minute spans the deploy, and a partial minute is scaled up."""
        points = [
            [BEGAN - 30, 2],
            [BEGAN - 15, 1],
            [BEGAN, 0],
            [BEGAN + 15, 1],
            [BEGAN + 30, 2],
            [BEGAN + 45, 3],
            [BEGAN + 60, 1],
        ]
        series = {"began": BEGAN, "interval": 15, "points": points}
        assert minutes(series) == {BEGAN - 60: 6, BEGAN: 6, BEGAN + 60: 4}

    def test_only_the_last_half_hour_before_the_deploy_is_shown(self) -> None:
        """The plot shows half an hour before the deploy, however long the baseline is."""
        series = {"began": BEGAN, "interval": 60, "points": [[BEGAN - 60 * n, 1] for n in range(1, 61)]}
        assert min(minutes(series)) == BEGAN - 1800

    @pytest.mark.parametrize(("step", "expected"), [(0.2, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (11, 20), (260, 500)])
    def test_the_grid_has_round_numbers(self, step: float, expected: float) -> None:
        """The steps of the grid are one, two, five and their multiples of ten."""
        assert nice(step) == expected

    @pytest.mark.parametrize("interval", [5, 60])
    @pytest.mark.parametrize("after", [[], [0], [1, 40, 900_000]])
    def test_a_plot_is_drawn_for_any_series(self, interval: int, after: list[int]) -> None:
        """A plot is drawn in the first seconds, without any errors and with very many."""
        points = [[BEGAN - interval * n, n % 3] for n in range(1, 40)] + [
            [BEGAN + interval * n, v] for n, v in enumerate(after)
        ]
        series = {
            "began": BEGAN,
            "interval": interval,
            "points": points,
            "baseline": 0.4,
            "limit": 0.8,
            "rose": bool(after),
        }
        assert size(error_rate("Errors – überall " * 20, "", series)) == (1440, 600)


class TestAxis:
    """The horizontal position of a time."""

    def test_a_long_pause_is_shortened(self) -> None:
        """A long pause is drawn short, and times before and after it keep their proportions."""
        axis = Axis([(ago(120), ago(110)), (ago(10), ago(0))], 0, 1000)
        assert [round(length / timedelta(minutes=1)) for _, length in axis.pauses] == [100]
        first, second, third, last = (axis.x(ago(minutes)) for minutes in (120, 110, 10, 0))
        assert (first, last) == (0, 1000)
        assert second - first == pytest.approx(last - third)
        assert third - second == pytest.approx(34)

    def test_a_short_pause_is_not_shortened(self) -> None:
        """A pause of less than five minutes keeps its length."""
        axis = Axis([(ago(8), ago(7)), (ago(3), ago(2))], 0, 600)
        assert axis.pauses == []
        assert axis.x(ago(5)) == pytest.approx(300)

    @given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 300)), min_size=1, max_size=12))
    def test_a_later_time_is_never_further_left(self, spans: list[tuple[int, int]]) -> None:
        """Positions are in the order of time and within the picture."""
        moments = [(ago(begin + length), ago(begin)) for begin, length in spans]
        axis = Axis(moments, 0, 1000)
        every = sorted(moment for pair in moments for moment in pair)
        places = [axis.x(moment) for moment in every]
        assert places == sorted(places)
        assert 0 <= places[0] <= places[-1] <= 1000.001


class TestTimeline:
    """The timeline of a release."""

    @pytest.mark.parametrize(
        "state", [ReleaseState.OPEN, ReleaseState.DEPLOY_FAILED, ReleaseState.DONE, ReleaseState.ROLLED_BACK]
    )
    def test_a_timeline_is_drawn_in_each_state(self, state: ReleaseState) -> None:
        """A picture of the usual width is drawn from whatever has happened so far."""
        assert size(release_timeline(in_state(state)))[0] == 1920

    def test_a_release_without_events_has_no_timeline(self) -> None:
        """Without a result or a sign-off there is no picture."""
        view = make_view()
        idle = {check: replace(check_view, result=None) for check, check_view in view.checks.items()}
        assert release_timeline(replace(view, checks=idle)) is None

    def test_alarms_are_drawn_on_the_watch(self) -> None:
        """The picture of a watch with an alarm differs from one without."""
        calm = in_state(ReleaseState.WATCHING)
        view_with_alarm = replace(calm, watch=make_watch(alarms=(make_alarm(),)))
        assert release_timeline(calm) != release_timeline(view_with_alarm)


def test_text_is_cut_to_its_width() -> None:
    """A text that is too wide ends with an ellipsis, and the font has every letter of European languages."""
    canvas = Canvas(400, 50)
    assert canvas.fit("kurz", 200) == "kurz"
    assert canvas.fit("ein viel zu langer Titel für diesen Platz", 100).endswith("…")
    assert canvas.length(canvas.fit("Donaudampfschifffahrt " * 9, 120)) <= 120
    assert canvas.length("19:59", size=11) < LABEL
    width_of_missing_glyph = canvas.length("\U0001f680")
    assert all(canvas.length(char) != width_of_missing_glyph for char in "äöüÄÖÜßéžł→–…")
