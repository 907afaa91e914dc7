"""A timeline: groups of rows with bars and marks over time. Long stretches in which nothing happens are drawn short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.images.canvas import FAINT, GREY, INK, PAPER, SOFT, Canvas

WIDTH = 960
NAMES, WORDS, SIDE = 270, 150, 20  # room for the names at the left, the words at the right, and margins
HEAD, FOOT, ROW, GAP = 104, 64, 22, 12
PAUSE = 34.0  # how wide a stretch in which nothing happens is drawn
LONG = 0.2  # share of the busy time from which an idle stretch is drawn short,
SHORTEST = timedelta(minutes=5)  # if it is at least as long as this
LABEL = 44  # the width of a time of day with some air


@dataclass(frozen=True)
class Span:
    """A bar from one moment to another."""

    begin: datetime
    end: datetime
    color: str


@dataclass(frozen=True)
class Mark:
    """Something that happened at one moment."""

    at: datetime
    color: str


@dataclass(frozen=True)
class Sign:
    """What a colour means."""

    color: str
    words: str


@dataclass(frozen=True)
class TimelineRow:
    """One line: a name, what happened, and a few words about it."""

    name: str
    spans: tuple[Span, ...] = ()
    marks: tuple[Mark, ...] = ()
    words: str = ""

    @property
    def moments(self) -> list[tuple[datetime, datetime]]:
        """Begin and end of everything that happened in the row."""
        return [(span.begin, span.end) for span in self.spans] + [(mark.at, mark.at) for mark in self.marks]


@dataclass(frozen=True)
class Group:
    """Rows under a heading."""

    title: str
    rows: tuple[TimelineRow, ...]


class Axis:
    """Maps times to x. Busy stretches keep their proportions; each long pause between them has the same small width."""

    def __init__(self, moments: Sequence[tuple[datetime, datetime]], min_x: float, max_x: float) -> None:
        """Stretch ``moments`` (at least one) from ``min_x`` to ``max_x``."""
        busy: list[list[datetime]] = []
        for begin, end in sorted(moments):
            if busy and begin <= busy[-1][1]:
                busy[-1][1] = max(busy[-1][1], end)
            else:
                busy.append([begin, end])
        whole = sum((end - begin for begin, end in busy), timedelta(0)) or timedelta(minutes=1)
        self.parts: list[list[datetime]] = []
        for part in busy:
            if self.parts and part[0] - self.parts[-1][1] < max(whole * LONG, SHORTEST):
                self.parts[-1][1] = part[1]
            else:
                self.parts.append(list(part))
        room = max_x - min_x - PAUSE * (len(self.parts) - 1)
        # Each part gets a little at least, so that a single moment between two pauses can be seen.
        least = room * 0.05
        spare = room - least * len(self.parts)
        total = sum((end - begin for begin, end in self.parts), timedelta(0)) or timedelta(minutes=1)
        self.places: list[tuple[float, float]] = []
        at = min_x
        for begin, end in self.parts:
            width = least + spare * ((end - begin) / total)
            self.places.append((at, at + width))
            at += width + PAUSE
        if len(self.parts) == 1:
            self.places = [(min_x, max_x)]

    def x(self, moment: datetime) -> float:
        """Return the x of a moment."""
        for number, (begin, end) in enumerate(self.parts):
            min_x, max_x = self.places[number]
            if moment <= end or number == len(self.parts) - 1:
                share = (moment - begin) / (end - begin) if end > begin else 0.5
                return min_x + min(1.0, max(0.0, share)) * (max_x - min_x)
        raise AssertionError("the last part takes every later moment")

    @property
    def pauses(self) -> list[tuple[float, timedelta]]:
        """The x of the middle and the length of each pause."""
        gaps = []
        for number in range(len(self.parts) - 1):
            middle = (self.places[number][1] + self.places[number + 1][0]) / 2
            gaps.append((middle, self.parts[number + 1][0] - self.parts[number][1]))
        return gaps


def timeline(title: str, subtitle: str, groups: Sequence[Group], legend: Sequence[Sign]) -> bytes:
    """Return the picture as PNG. At least one row must have a span or a mark."""
    rows = sum(len(group.rows) for group in groups)
    height = HEAD + rows * ROW + len(groups) * (ROW + GAP) + FOOT
    canvas = Canvas(WIDTH, height)
    moments = [moment for group in groups for row in group.rows for moment in row.moments]
    min_x, max_x = SIDE + NAMES, WIDTH - SIDE - WORDS
    axis = Axis(moments, min_x, max_x)
    canvas.text(SIDE, 24, canvas.fit(title, WIDTH - 2 * SIDE, size=17, bold=True), size=17, bold=True)
    canvas.text(SIDE, 46, canvas.fit(subtitle, WIDTH - 2 * SIDE, size=12), size=12, color=SOFT)
    _clock(canvas, axis, height - FOOT + 4)
    y = float(HEAD)
    for group in groups:
        canvas.text(SIDE, y, group.title, size=12, bold=True, color=SOFT)
        y += ROW
        for row in group.rows:
            _row(canvas, axis, row, y)
            y += ROW
        y += GAP
    x = float(min_x)
    for sign in legend:
        canvas.dot(x + 5, height - 18, 4.5, sign.color)
        canvas.text(x + 15, height - 18, sign.words, size=11, color=SOFT)
        x += 15 + canvas.length(sign.words, size=11) + 18
    return canvas.png()


def _row(canvas: Canvas, axis: Axis, row: TimelineRow, y: float) -> None:
    canvas.text(SIDE + 10, y, canvas.fit(row.name, NAMES - 24, size=12), size=12)
    for span in row.spans:
        begin = axis.x(span.begin)
        canvas.bar(begin, y - 6, max(axis.x(span.end), begin + 3), y + 6, span.color, radius=2)
    for mark in row.marks:
        canvas.dot(axis.x(mark.at), y, 5, mark.color)
    words = canvas.fit(row.words, WORDS - 14, size=11)
    canvas.text(WIDTH - SIDE - WORDS + 14, y, words, size=11, color=SOFT)


def _clock(canvas: Canvas, axis: Axis, bottom: float) -> None:
    """Draw the time of day at the ends of each busy stretch, and between them if there is room; and the length of each pause."""
    label_ends: list[float] = []
    moments = [moment for part in axis.parts for moment in part]
    between = [moment for begin, end in axis.parts for moment in _marks(axis, begin, end)]
    short = max(moments) - min(moments) < SHORTEST
    for moment in [*moments, *between]:
        x = axis.x(moment)
        canvas.line((x, HEAD - 18), (x, bottom), FAINT)
        if all(abs(x - other) >= LABEL * (1.5 if short else 1) for other in label_ends):
            canvas.text(x, bottom + 12, _time(moment, seconds=short), size=11, color=SOFT, anchor="middle")
            label_ends.append(x)
    canvas.line((axis.places[0][0], bottom), (axis.places[-1][1], bottom), INK)
    canvas.text(WIDTH - SIDE, bottom + 12, "UTC", size=11, color=SOFT, anchor="right")
    for x, length in axis.pauses:
        canvas.bar(x - PAUSE / 2 + 3, HEAD - 18, x + PAUSE / 2 - 3, bottom, FAINT)
        canvas.text(x, HEAD - 28, _length(length), size=10, color=SOFT, anchor="middle")
        canvas.bar(x - 6, bottom - 1, x + 6, bottom + 2, PAPER)
        for shift in (-4, 0, 4):
            canvas.dot(x + shift, bottom + 0.5, 0.8, GREY)


def _marks(axis: Axis, begin: datetime, end: datetime) -> list[datetime]:
    """Return round times of day between two moments, as many as there is room for."""
    room = axis.x(end) - axis.x(begin)
    minutes = (end - begin) / timedelta(minutes=1)
    every = next((m for m in (1, 2, 5, 10, 15, 30, 60, 120, 360) if minutes / m * LABEL * 1.5 <= room), None)
    if every is None or room <= 0:
        return []
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    first = int((begin - midnight) / timedelta(minutes=every)) + 1
    marks = [midnight + number * timedelta(minutes=every) for number in range(first, first + int(minutes / every) + 1)]
    return [mark for mark in marks if mark < end]


def _time(moment: datetime, *, seconds: bool) -> str:
    return moment.astimezone(UTC).strftime("%H:%M:%S" if seconds else "%H:%M")


def _length(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    hours, rest = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    return f"{hours} h {rest:02}" if hours else f"{minutes} min" if minutes else f"{length.total_seconds():.0f} s"
