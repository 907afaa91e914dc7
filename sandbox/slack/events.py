"""Events for the open pages. None is stored: a page that was offline loads the whole state again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.slack.shapes import Json


class Hub:
    """Passes each event to the listeners it is meant for."""

    def __init__(self) -> None:
        self._listeners: list[tuple[str, asyncio.Queue[Json | None]]] = []

    def publish(self, event: Json, *, user: str | None = None) -> None:
        """Put the event into the queue of every page, or only of the pages of `user`."""
        for listener, queue in self._listeners:
            if user is None or listener == user:
                queue.put_nowait(event)

    @contextmanager
    def listen(self, user: str) -> Iterator["asyncio.Queue[Json | None]"]:
        """A queue of the events for `user` while the context is open; None means that the server stops."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        entry = (user, queue)
        self._listeners.append(entry)
        try:
            yield queue
        finally:
            self._listeners.remove(entry)

    def close(self) -> None:
        """End every stream."""
        for _, queue in self._listeners:
            queue.put_nowait(None)
