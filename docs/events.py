"""The page docs/reference/events.md: every event of the record, as its class in bot/domain/events.py declares it."""  # noqa: INP001  beside a script

from __future__ import annotations

import inspect

from bot.domain.events import EVENTS, Event

HEAD = """# Events of the record

<!-- Written by docs/generate.py from bot/domain/events.py. Do not edit. -->

The record has one row for each event: when, who, on which release, and these fields. Every row also has `event_version`, and in
`rows` the rows of the release that the event has changed, each with its digest:
[Evidence pack](../../bot/evidence/FORMAT.md). How to add one: [Add an event](../howto/add-an-event.md).

| event | what has happened | fields |
|---|---|---|
"""


def page() -> str:
    """The page."""
    return HEAD + "".join(_line(EVENTS[name]) for name in sorted(EVENTS))


def _line(event: type[Event]) -> str:
    words = inspect.cleandoc(event.__doc__ or "").replace("``", "`")
    version = f" (version {event.event_version})" if event.event_version > 1 else ""
    return f"| `{event.event_name}`{version} | {words} | {', '.join(f'`{name}`' for name in event.model_fields)} |\n"
