"""The plot of an alarm: errors a minute before and after the deploy, with the deploy, the rate before and the limit."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import ceil, floor, log10
from typing import Any

from bot.images.canvas import BLUE, FAINT, GREEN, INK, RED, SOFT, Canvas

WIDTH, HEIGHT = 720, 300
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 20, 84, 56  # margins of the plot
MINUTE = 60.0
TIME_BEFORE = 30 * MINUTE  # of the plot, before the deploy
LINES = 4  # of the grid, at most

Series = Mapping[str, Any]  # as the kind sentry_rate hands it on: began, interval, points, baseline, limit


def error_rate(title: str, subtitle: str, series: Series) -> bytes:
    """Return the plot as PNG. ``series`` needs at least one point; times are Unix seconds, rates are errors per minute."""
    canvas = Canvas(WIDTH, HEIGHT)
    began, baseline, limit = float(series["began"]), float(series["baseline"]), float(series["limit"])
    bars = minutes(series)
    first, last = min(bars, default=began), max(bars, default=began) + MINUTE
    last = max(last, began + 5 * MINUTE)
    step = nice(max([*bars.values(), limit, baseline, 1.0]) / LINES)
    top = step * ceil(max([*bars.values(), limit, baseline, 1.0]) * 1.05 / step)

    def x(at: float) -> float:
        return MARGIN_LEFT + (at - first) / (last - first) * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT)

    def y(rate: float) -> float:
        return HEIGHT - MARGIN_BOTTOM - rate / top * (HEIGHT - MARGIN_TOP - MARGIN_BOTTOM)

    canvas.text(20, 22, canvas.fit(title, WIDTH - 40, size=16, bold=True), size=16, bold=True)
    canvas.text(20, 43, canvas.fit(subtitle, WIDTH - 40, size=12), size=12, color=SOFT)
    _grid(canvas, y, step, top)
    width = x(first + MINUTE) - x(first)
    for start, rate in bars.items():
        color = BLUE if start < began else RED if series["rose"] and rate > limit else GREEN
        if rate > 0:
            canvas.bar(x(start) + width * 0.1, y(rate), x(start) + width * 0.9, y(0), color)
    canvas.line((MARGIN_LEFT, y(0)), (WIDTH - MARGIN_RIGHT, y(0)), INK, width=1)
    _clock(canvas, x, y, first, last)
    if baseline:
        canvas.line((MARGIN_LEFT, y(baseline)), (WIDTH - MARGIN_RIGHT, y(baseline)), SOFT, dash=3)
    _legend(canvas, baseline, rose=bool(series["rose"]))
    canvas.line((x(began), MARGIN_TOP - 18), (x(began), y(0)), INK, width=1.5, dash=4)
    words = f"deploy {_time(began)}"
    fits_right_of_line = x(began) + 6 + canvas.length(words, size=12, bold=True) < WIDTH - MARGIN_RIGHT
    canvas.text(
        x(began) + (6 if fits_right_of_line else -6), MARGIN_TOP - 16, words,
        size=12, bold=True, anchor="left" if fits_right_of_line else "right"
    )  # fmt: skip
    return canvas.png()


def minutes(series: Series) -> dict[float, float]:
    """Return the errors of each minute by its start, counted from the deploy; a minute that is not over is extrapolated."""
    began, interval = float(series["began"]), float(series["interval"])
    counts: dict[float, list[float]] = {}
    for at, count in series["points"]:
        start = began + floor((at - began) / MINUTE) * MINUTE
        if start >= began - TIME_BEFORE:
            counts.setdefault(start, []).append(float(count))
    return {
        start: sum(counts_of_minute) * MINUTE / (len(counts_of_minute) * interval)
        for start, counts_of_minute in sorted(counts.items())
    }


def nice(step: float) -> float:
    """Round ``step`` up to 1, 2, 5, 10, 20, 50 and so on, for the lines of a grid."""
    scale = 10 ** floor(log10(max(step, 1.0)))
    return float(next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= step))


def _grid(canvas: Canvas, y: Any, step: float, top: float) -> None:
    for number in range(round(top / step) + 1):
        rate = number * step
        if number:
            canvas.line((MARGIN_LEFT, y(rate)), (WIDTH - MARGIN_RIGHT, y(rate)), FAINT)
        canvas.text(MARGIN_LEFT - 8, y(rate), f"{rate:g}", size=11, color=SOFT, anchor="right")


def _legend(canvas: Canvas, baseline: float, *, rose: bool) -> None:
    y, x = HEIGHT - 16.0, float(MARGIN_LEFT)
    for color, words in ((BLUE, "before the deploy"), (GREEN, "after it"), (RED, "after it, too many")):
        if color is RED and not rose:
            continue
        canvas.bar(x, y - 5, x + 10, y + 5, color, radius=2)
        canvas.text(x + 15, y, words, size=11, color=SOFT)
        x += 15 + canvas.length(words, size=11) + 18
    canvas.line((x, y), (x + 16, y), SOFT, dash=3)
    canvas.text(x + 21, y, f"average before, {baseline:.2g} a minute", size=11, color=SOFT)


def _clock(canvas: Canvas, x: Any, y: Any, first: float, last: float) -> None:
    """A mark each five minutes (ten, thirty…, so that there are at most ten), with the time of day."""
    every = next(m for m in (5, 10, 15, 30, 60, 120, 360, 1440, 10**6) if (last - first) / (m * MINUTE) <= 10) * MINUTE  # noqa: PLR2004  marks
    at = ceil(first / every) * every
    while at <= last:
        canvas.line((x(at), y(0)), (x(at), y(0) + 4), INK)
        canvas.text(x(at), y(0) + 14, _time(at), size=11, color=SOFT, anchor="middle")
        at += every
    canvas.text(WIDTH - MARGIN_RIGHT, HEIGHT - 16, "UTC", size=11, color=SOFT, anchor="right")


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")
